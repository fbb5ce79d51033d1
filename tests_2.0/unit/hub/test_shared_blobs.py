"""rm frees what only the removed model uses of the client's shared store, and nothing that anybody else does.

The client itself makes the caches: two models with the same weights, fetched by Xet.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

PUBLISH = """
import sys
from huggingface_hub import HfApi
for name in ("acme/one", "acme/two"):
    HfApi().create_repo(name)
    HfApi().upload_folder(repo_id=name, folder_path=sys.argv[1])
"""
FETCH = """
from huggingface_hub import snapshot_download
for name in ("acme/one", "acme/two"):
    snapshot_download(name, max_workers=1)  # several at once sometimes leave one out of the store
"""


@pytest.fixture
def cache(local_hub, person, model):
    """Two models whose weights are in the shared store, once."""
    variables = {**person.environment(), "HF_TOKEN": "hf_local_write"}
    for script in (PUBLISH, FETCH):
        subprocess.run([sys.executable, "-c", script, str(model)], env=variables, check=True, timeout=120, capture_output=True)
    linked = [path for path in person.hub.glob("models--*/blobs/*") if path.is_symlink()]
    assert len(linked) == 4, "the client has not shared the two shards of both models"
    return person.hub


def stored(hub) -> int:
    return sum(path.stat().st_size for path in hub.glob("blobs/*/*") if len(path.name) == 64)


def test_the_last_model_that_uses_it_frees_it(cache, person, model):
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    at_first = stored(cache)
    first = person.run("rm", "acme/one", "--force", "--json").data["freed_bytes"]
    between = stored(cache)
    second = person.run("rm", "acme/two", "--force", "--json").data["freed_bytes"]

    assert (at_first, between, stored(cache)) == (weights, weights, 0)
    assert first < weights < second
    assert list(cache.glob("blobs/*/*.refs")) == []


def test_a_snapshot_frees_it_too_and_another_keeps_it(cache, person, model):
    repository = cache / "models--acme--one"
    commit = next((repository / "snapshots").iterdir())
    other = commit.with_name("f" * 40)
    other.mkdir()
    (other / "config.json").symlink_to((commit / "config.json").readlink())
    shutil.rmtree(cache / "models--acme--two")  # as somebody does who knows nothing of the store
    assert person.run("rm", f"acme/one@{commit.name}", "--force", "--json").data["action"] == "deleted"

    assert stored(cache) == 0
    assert (other / "config.json").read_bytes() == (model / "config.json").read_bytes()


def test_what_no_list_speaks_for_stays(cache, person):
    for listed in cache.glob("blobs/*/*.refs"):
        listed.unlink()
    before = stored(cache)
    for name in ("acme/one", "acme/two"):
        person.run("rm", name, "--force")

    assert stored(cache) == before > 0
