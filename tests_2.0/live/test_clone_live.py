"""A clone is a workspace that runs, is clean, and knows nothing of the cache.

Against a local hub; with MLXK2_LIVE_CLONE=1, and MLXK2_LIVE_CLONE_MODEL, against the Hub itself. The workspace is made at
MLXK2_LIVE_CLONE_WORKSPACE where that is set, and then stays there.
"""

from __future__ import annotations

import os

import pytest

pytestmark = [pytest.mark.live, pytest.mark.live_clone]


def test_a_cloned_model_is_clean_and_runs_from_its_folder(remote, mlxk, tmp_path):
    before = sorted(remote.cache.hub.rglob("*"))
    target = os.environ.get("MLXK2_LIVE_CLONE_WORKSPACE") or str(tmp_path / "mine")
    cloned = mlxk("clone", remote.model, target, "--json", environment=remote.environment).envelope["data"]
    shown = mlxk("show", target, "--json", environment=remote.environment).envelope["data"]["model"]
    run = mlxk("run", target, "What color is the sky?", "--max-tokens", "8", "--json", environment=remote.environment)

    assert (cloned["clone_status"], cloned["health"]) == ("success", "healthy")
    assert (shown["origin"], shown["clean"], shown["runtime_compatible"]) == (remote.model, True, True)
    assert (run.code, bool(run.envelope["data"]["response"])) == (0, True)
    assert sorted(remote.cache.hub.rglob("*")) == before
