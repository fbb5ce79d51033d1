"""A workspace goes to the Hub and comes back the same; what has not changed makes no commit.

Against a local hub, by Xet as the client does it; with MLXK2_LIVE_PUSH=1, MLXK2_LIVE_REPO, MLXK2_LIVE_WORKSPACE and HF_TOKEN
against the Hub itself, where the repository must be there, and private.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.live_push]


@pytest.fixture
def workspace(remote, tmp_path):
    """A copy of the folder to be pushed: a test adds a file to it."""
    source = os.environ["MLXK2_LIVE_WORKSPACE"] if remote.published is None else remote.published
    return shutil.copytree(source, tmp_path / "workspace")


def test_what_is_pushed_is_there_and_a_second_push_makes_no_commit(remote, mlxk, workspace, tmp_path):
    repository = remote.model if remote.local is None else "acme/mine"
    made = [] if remote.local is None else ["--create"]
    (workspace / "qualification.txt").write_text(os.urandom(8).hex(), encoding="utf-8")
    planned = mlxk("push", str(workspace), repository, "--private", *made, "--dry-run", "--json", environment=remote.environment)
    first = mlxk("push", str(workspace), repository, "--private", *made, "--json", environment=remote.environment)
    second = mlxk("push", str(workspace), repository, "--private", "--json", environment=remote.environment)
    back = mlxk("clone", repository, str(tmp_path / "back"), "--json", environment=remote.environment)

    assert first.envelope["data"]["change_summary"] == planned.envelope["data"]["dry_run_summary"]
    assert first.envelope["data"]["commit_sha"] == back.envelope["data"]["commit_hash"]
    assert second.envelope["data"]["no_changes"]
    assert visible(tmp_path / "back") == visible(workspace)


def visible(folder: Path) -> dict[str, bytes]:
    """All but what tools keep in hidden files and folders, such as where a workspace was cloned from."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if not any(part.startswith(".") for part in name.parts)}
