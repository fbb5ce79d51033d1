"""The exceptions that end a call into an ML library before it is done: those it raises itself, and the one we raise in it."""

from __future__ import annotations

FAULTS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OSError, ArithmeticError)
"""What models, processors and templates raise for input that they do not take."""


class CancelledError(Exception):
    """Nobody wants the answer any more. Raised in what a library calls back, which is the only way to stop it there."""
