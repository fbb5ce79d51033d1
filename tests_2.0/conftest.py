"""What holds for every test: what it starts can be interrupted, whoever runs it."""

from __future__ import annotations

import signal

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """An ignored SIGINT is inherited: from a shell's background job, and from a test before that ran the tool in this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
