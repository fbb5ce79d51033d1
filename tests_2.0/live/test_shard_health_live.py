"""The health of models as they are published: whatever happens to a file is found, on a copy in a cache of the test's own.

On minted models. With MLXK2_ISSUE27_MODEL (for the shards rather MLXK2_ISSUE27_INDEX_MODEL) and MLXK2_VISION_MODEL on those
models of the user's cache (MLXK2_USER_HF_HOME, else HF_HOME), which is only read. MLXK2_COPY_STRATEGY=index_subset, or
MLXK2_SUBSET_COUNT, copies a part; MLXK2_BOOTSTRAP_INDEX=1 fetches a part from the Hub where the user has no such model.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from qualification.mint import store
from qualification.plugin import mutations
from qualification.plugin.isolation import copies_in_part

pytestmark = [pytest.mark.live, pytest.mark.issue27]
SHARDED, SEEING = "mint/phi3-tiny", "mint/qwen2-vl-tiny"


def copy_of(isolated_cache, minted: str, *variables: str) -> Path:
    """The snapshot of a copy: of the user's model that the first of these variables names, else of a minted one."""
    named = next((os.environ[name] for name in variables if os.environ.get(name)), None)
    if named is not None:
        return isolated_cache.of_user(named)
    made = store.ensure([minted])[0]
    folder, _ = isolated_cache.copy_subset(made.folder) if copies_in_part() else isolated_cache.copy_model(made.folder)
    return folder / "snapshots" / made.revision


def inherent(snapshot: Path) -> set[str]:
    """What a copy of a part lacks before anything is done to it."""
    index = snapshot / "model.safetensors.index.json"
    wanted = json.loads(index.read_bytes())["weight_map"].values() if index.is_file() else ()
    return {"shard_missing" for shard in wanted if not (snapshot / shard).exists()}


def problems_of(snapshot: Path, isolated_cache, mlxk) -> set[str]:
    name = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/")
    data = mlxk("health", name, "--json", environment=isolated_cache.environment()).envelope["data"]
    return {problem["code"] for entry in data["healthy"] + data["unhealthy"] for problem in entry["problems"]}


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (None, None),
        (mutations.delete_indexed_shard, "shard_missing"),
        (mutations.truncate_indexed_shard, "weights_truncated"),
        (mutations.lfsify_indexed_shard, "lfs_pointer"),
        (mutations.remove_index, "index_missing"),
    ],
    ids=["untouched", "deleted", "truncated", "pointer", "no-index"],
)
def test_what_happens_to_a_shard_is_found(isolated_cache, mlxk, mutate, code):
    snapshot = copy_of(isolated_cache, SHARDED, "MLXK2_ISSUE27_INDEX_MODEL", "MLXK2_ISSUE27_MODEL")
    allowed = inherent(snapshot)
    if mutate is not None:
        mutate(snapshot)
    found = problems_of(snapshot, isolated_cache, mlxk)

    assert code in found if code else found == allowed


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (None, None),
        (mutations.remove_preprocessor, "preprocessor_missing"),
        (mutations.inject_invalid_preprocessor, "preprocessor_invalid"),
        (mutations.remove_tokenizer_json, "tokenizer_missing"),
    ],
    ids=["untouched", "no-preprocessor", "invalid-preprocessor", "no-tokenizer"],
)
def test_what_happens_to_a_model_with_eyes_is_found(isolated_cache, mlxk, mutate, code):
    snapshot = copy_of(isolated_cache, SEEING, "MLXK2_VISION_MODEL")
    allowed = inherent(snapshot)
    if mutate is not None:
        mutate(snapshot)
    found = problems_of(snapshot, isolated_cache, mlxk)

    assert code in found if code else found == allowed
