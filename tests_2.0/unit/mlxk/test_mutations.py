"""Whatever goes wrong with the files of a real model is found, by its code, and only that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from qualification.mint import store
from qualification.plugin import mutations

SHARDED, WHOLE = "mint/phi3-tiny", "mint/llama-tiny"


@pytest.fixture(scope="module")
def minted():
    return {model.model_id: model for model in store.ensure([WHOLE, SHARDED])}


@pytest.fixture
def copied(minted, isolated_cache):
    """Copies a minted model into the test's cache, and gives the snapshot of the copy."""

    def copy(model_id: str) -> Path:
        folder, _ = isolated_cache.copy_model(minted[model_id].folder)
        return folder / "snapshots" / minted[model_id].revision

    return copy


def health(cache, model_id: str) -> dict:
    command = [sys.executable, "-m", "mlxk", "health", model_id, "--json"]
    done = subprocess.run(command, env=cache.environment(), capture_output=True, text=True, timeout=60, check=True)
    data = json.loads(done.stdout)["data"]

    assert data["summary"]["total"] == 1
    return (data["healthy"] + data["unhealthy"])[0]


def reads_images(snapshot: Path) -> None:
    """Make a copy declare that it reads images, with all that a model which does must have."""
    config = json.loads((snapshot / "config.json").read_bytes())
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text(json.dumps(config | {"vision_config": {"depth": 1}}), encoding="utf-8")
    (snapshot / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}', encoding="utf-8")


@pytest.mark.parametrize("model_id", [WHOLE, SHARDED])
def test_a_minted_model_as_it_was_made_is_healthy(copied, isolated_cache, model_id):
    copied(model_id)

    assert health(isolated_cache, model_id)["problems"] == []


@pytest.mark.parametrize(
    ("mutate", "model_id", "codes"),
    [
        (mutations.remove_config, WHOLE, ["config_missing"]),
        (mutations.inject_invalid_config, WHOLE, ["config_invalid"]),
        (mutations.truncate_weight, WHOLE, ["weights_truncated"]),
        (mutations.remove_snapshot, WHOLE, ["no_snapshot"]),
        (mutations.add_partial_tmp, WHOLE, ["partial_file"]),
        (mutations.delete_indexed_shard, SHARDED, ["shard_missing"]),
        (mutations.truncate_indexed_shard, SHARDED, ["weights_truncated"]),
        (mutations.lfsify_indexed_shard, SHARDED, ["lfs_pointer"]),
        (mutations.remove_index, SHARDED, ["index_missing"]),
        (mutations.remove_tokenizer_json, WHOLE, ["tokenizer_missing"]),
        (mutations.inject_invalid_tokenizer_config, WHOLE, ["tokenizer_invalid"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_mutation_is_found(copied, isolated_cache, mutate, model_id, codes):
    touched = mutate(copied(model_id))
    found = health(isolated_cache, model_id)

    assert [problem["code"] for problem in found["problems"]] == codes
    assert {problem["path"] for problem in found["problems"]} <= {*touched, None}


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (mutations.remove_preprocessor, "preprocessor_missing"),
        (mutations.inject_invalid_preprocessor, "preprocessor_invalid"),
        (mutations.remove_tokenizer_json, "tokenizer_missing"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_mutation_of_a_model_that_reads_images_is_found(copied, isolated_cache, mutate, code):
    snapshot = copied(WHOLE)
    reads_images(snapshot)
    before = health(isolated_cache, WHOLE)
    mutate(snapshot)
    after = health(isolated_cache, WHOLE)

    assert (before["problems"], [problem["code"] for problem in after["problems"]]) == ([], [code])


def test_of_files_dropped_at_random_every_one_that_is_needed_is_reported(copied, isolated_cache):
    dropped = set(mutations.drop_random_files(copied(SHARDED)))
    needed = {name for name in dropped if name.endswith(".safetensors") or name in ("config.json", "tokenizer.json")}
    found = health(isolated_cache, SHARDED)["problems"]

    assert needed
    assert {problem["path"] for problem in found} & dropped == needed


def test_of_a_copy_with_a_part_of_the_shards_exactly_the_others_are_missing(minted, isolated_cache):
    model = minted[SHARDED]
    folder, _ = isolated_cache.copy_subset(model.folder)
    copied = {path.name for path in (folder / "snapshots" / model.revision).glob("*.safetensors")}
    shards = {blob.name for blob in model.blobs if blob.name.endswith(".safetensors")}
    found = health(isolated_cache, SHARDED)["problems"]

    assert len(copied) == 1
    assert {(problem["code"], problem["path"]) for problem in found} == {("shard_missing", name) for name in shards - copied}


def test_all_that_is_wrong_is_reported_and_not_the_first_thing_only(copied, isolated_cache):
    snapshot = copied(SHARDED)
    for mutate in (
        mutations.remove_config,
        mutations.delete_indexed_shard,
        mutations.lfsify_indexed_shard,
        mutations.add_partial_tmp,
        mutations.remove_tokenizer_json,
    ):
        mutate(snapshot)
    codes = sorted(problem["code"] for problem in health(isolated_cache, SHARDED)["problems"])

    assert codes == ["config_missing", "lfs_pointer", "partial_file", "shard_missing", "tokenizer_missing"]


def test_a_download_that_did_not_finish_is_named_where_files_are_missing(copied, isolated_cache):
    snapshot = copied(SHARDED)
    (snapshot.parents[1] / "blobs" / "0123abcd.incomplete").write_bytes(b"x")
    whole = health(isolated_cache, SHARDED)
    mutations.delete_indexed_shard(snapshot)
    broken = health(isolated_cache, SHARDED)

    assert whole["problems"] == []
    assert [problem["path"] for problem in broken["problems"]][1] == "blobs/0123abcd.incomplete"


def test_a_mutation_of_a_copy_leaves_the_minted_model_as_it_was(minted, copied):
    mutations.truncate_weight(copied(WHOLE))
    original = minted[WHOLE].snapshot / "model.safetensors"

    assert original.stat().st_size == next(blob.size_bytes for blob in minted[WHOLE].blobs if blob.name == "model.safetensors")
