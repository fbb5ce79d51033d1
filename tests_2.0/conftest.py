"""What holds for every test: what it starts can be interrupted, whoever runs it."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def interruptible_children():
    """The workers of pytest-xdist ignore Ctrl-C, as a shell's background jobs do, and what they start would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
