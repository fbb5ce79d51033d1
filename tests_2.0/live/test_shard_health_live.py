"""The health of a sharded model: whatever happens to a shard or its index is found, on a copy in a cache of the test's own.

On a minted model; with MLXK2_ISSUE27_MODEL on that model of the user's cache (MLXK2_USER_HF_HOME, else HF_HOME), which is
only read. Where MLXK2_SUBSET_COUNT is set, the copy has no more than that many shards, the smallest.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qualification.mint import store
from qualification.plugin import mutations

pytestmark = [pytest.mark.live, pytest.mark.issue27]
MINTED = "mint/phi3-tiny"
IN_PART = "MLXK2_SUBSET_COUNT" in os.environ


@pytest.fixture
def snapshot(isolated_cache) -> Path:
    """The snapshot of a copy."""
    copy = isolated_cache.copy_subset if IN_PART else isolated_cache.copy_model
    named = os.environ.get("MLXK2_ISSUE27_MODEL")
    if named is None:
        minted = store.ensure([MINTED])[0]
        folder, _ = copy(minted.folder)
        return folder / "snapshots" / minted.revision
    home = Path(os.environ["MLXK2_USER_HF_HOME"])  # the fixture sets it to what HF_HOME was
    folder, _ = copy(home / "hub" / f"models--{named.replace('/', '--')}")
    return folder / "snapshots" / (folder / "refs" / "main").read_text(encoding="utf-8").strip()


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
def test_what_happens_to_a_shard_is_found(snapshot, isolated_cache, mlxk, mutate, code):
    if mutate is not None:
        mutate(snapshot)
    name = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/")
    data = mlxk("health", name, "--json", environment=isolated_cache.environment()).envelope["data"]
    problems = [problem["code"] for entry in data["healthy"] + data["unhealthy"] for problem in entry["problems"]]

    assert (code in problems) if code else set(problems) <= ({"shard_missing"} if IN_PART else set())
