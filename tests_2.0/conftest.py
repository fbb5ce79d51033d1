"""What holds for every test: what it starts can be interrupted, and is what a user would have started, whoever runs it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

_LONGEST_ID = 300


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """An ignored SIGINT is inherited: from a shell's background job, and from a test before that ran the tool in this process.

    So is a cell's word to load no plugins but its own, which is meant for the cell's pytest and not for one that a test starts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A test of 20 MB of input has no name of 80 MB: pytest before 9 writes all of it, into the name, the log and the record."""
    return argname if isinstance(val, (str, bytes)) and len(val) > _LONGEST_ID else None


@pytest.fixture(scope="session")
def running():
    """``with running(server, worker) as port`` serves on threads of this process, and ends in good order."""

    @contextlib.contextmanager
    def run(server, worker, preload=None):
        server.start()
        worker.start(preload)
        loop = threading.Thread(target=server.run)
        loop.start()
        try:
            yield server.bound.getsockname()[1]
        finally:
            server.end()
            loop.join()
            worker.close()
            server.drain(worker.cancel_all)
            assert worker.join(10)

    return run
