"""Ctrl-C, remembered: code that swallows KeyboardInterrupt, as some libraries do while they are imported, cannot undo it."""

from __future__ import annotations

import importlib
import signal
import sys
from contextlib import suppress
from types import FrameType

_received = False
_postponed = False


def listen() -> None:
    """From now on SIGINT raises KeyboardInterrupt, and is remembered."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return  # whoever started us, as nohup does, wants it so
    signal.signal(signal.SIGINT, _receive)
    sys.unraisablehook = _complain


def received() -> bool:
    return _received


def check() -> None:
    """Raise KeyboardInterrupt if one was swallowed."""
    if _received:
        raise KeyboardInterrupt


def import_undisturbed(module: str) -> None:
    """Import one that leaves something behind if it is interrupted; Ctrl-C is raised when it is imported.

    Where it is missing, that is for those to tell who use it.
    """
    global _postponed  # noqa: PLW0603 - as there is one SIGINT
    _postponed = True
    try:
        with suppress(ImportError):
            importlib.import_module(module)
    finally:
        _postponed = False
    check()


def forget() -> None:
    """The interrupt has done what it was for."""
    global _received  # noqa: PLW0603 - there is one SIGINT, and it belongs to the process
    _received = False


def ignore() -> None:
    """The process is ending; an interrupt has nothing to add."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _receive(number: int, frame: FrameType | None) -> None:
    global _received  # noqa: PLW0603
    _received = True
    if not _postponed:
        raise KeyboardInterrupt


def _complain(unraisable: sys.UnraisableHookArgs) -> None:
    """An interrupt within a finalizer cannot be raised; it is remembered, and is no fault to complain of.

    Neither is one that came in the moment in which we began to ignore them, of which Python says so.
    """
    ignored = unraisable.exc_type is OSError and "race condition" in str(unraisable.exc_value)
    if unraisable.exc_type is not KeyboardInterrupt and not ignored:
        sys.__unraisablehook__(unraisable)
