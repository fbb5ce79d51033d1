"""A pull that is killed midway is gone on with by the next one, and what it brought runs.

Against a local hub; with MLXK2_TEST_RESUMABLE_DOWNLOAD=1 against the Hub itself.
"""

from __future__ import annotations

import hashlib
import subprocess
import time
from contextlib import suppress

import pytest

from qualification.plugin.models import tool

pytestmark = [pytest.mark.live, pytest.mark.live_pull]


def on_disk(remote) -> int:
    blobs = remote.cache.hub / f"models--{remote.model.replace('/', '--')}" / "blobs"
    sizes = []
    for path in blobs.glob("*"):
        with suppress(FileNotFoundError):  # it has just got its final name
            sizes.append(path.stat().st_size)
    return sum(sizes)


def test_killed_midway_the_next_pull_fetches_the_rest_and_the_model_runs(remote, mlxk, report_benchmark):
    if remote.local is not None:
        from qualification.hub.faults import Fault

        remote.local.fail(Fault("slow", "/cdn/*", bytes_per_s=100_000))
    pulling = subprocess.Popen(
        [*tool(), "pull", remote.model], env=remote.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wanted = 50_000 if remote.local is not None else 5_000_000
    deadline = time.monotonic() + 100
    while on_disk(remote) < wanted:
        assert pulling.poll() is None and time.monotonic() < deadline, "it ended, or nothing came"
        time.sleep(0.01)
    pulling.kill()
    pulling.communicate()
    had = on_disk(remote)
    if remote.local is not None:
        remote.local.forget()
    resumed = mlxk("pull", remote.model, "--force-resume", "--json", environment=remote.environment).envelope["data"]
    report_benchmark(download={"total_bytes": resumed["total_bytes"], "resumed_from_bytes": had})
    run = mlxk("run", remote.model, "What color is the sky?", "--max-tokens", "8", "--json", environment=remote.environment)

    assert resumed["downloaded_bytes"] == resumed["total_bytes"] - had
    assert (resumed["download_status"], resumed["health"]) == ("success", "healthy")
    assert (run.code, bool(run.envelope["data"]["response"])) == (0, True)


def test_every_byte_is_what_was_published(remote, mlxk):
    mlxk("pull", remote.model, environment=remote.environment)
    verified = mlxk("health", remote.model, "--verify", "--json", environment=remote.environment).envelope["data"]["healthy"]

    assert verified[0]["verified"]["unknown"] == 0
    if remote.published is not None:
        pulled = next((remote.cache.hub / "models--acme--tiny" / "snapshots").iterdir())
        for file in remote.published.iterdir():
            assert hashlib.sha256((pulled / file.name).read_bytes()).digest() == hashlib.sha256(file.read_bytes()).digest()
