"""From the command line to an exit code: the boundary at which every error becomes a sentence or an envelope.

Only ``sys`` and ``gc``, and ``os`` which Python needs itself, are imported before it is known what is asked for:
``--version`` and ``--help`` cost what Python costs.
"""

import gc
import os
import sys

from mlxk import __version__
from mlxk.usage import HELP

_COLLECT_AFTER = 20_000  # objects, not 700: a start makes many that stay, and looking them through takes 4 % of it


def main(argv: list[str] | None = None) -> int:
    if argv is None:
        argv = sys.argv[1:]
        _look_past_scripts()
    _replace_closed_streams()
    gc.set_threshold(_COLLECT_AFTER)
    if argv == ["--version"]:
        return _say(f"mlxk {__version__}\n")
    if argv in (["--help"], ["-h"]):
        return _say(HELP)

    try:
        from mlxk import interrupts  # noqa: PLC0415 - it and the rest of the tool import more

        interrupts.listen()
        from mlxk.dispatch import dispatch  # noqa: PLC0415

        return dispatch(argv)
    except KeyboardInterrupt:
        from mlxk.dispatch import interrupted  # noqa: PLC0415

        return interrupted(argv)
    finally:
        from mlxk import interrupts  # noqa: PLC0415

        interrupts.ignore()  # while the interpreter ends it could only become a traceback


def _look_past_scripts() -> None:
    """Python looks for modules in the script's folder first, and Bottle has put one of its name there, which has no bytecode."""
    if sys.path[:1] == [os.path.dirname(os.path.realpath(sys.argv[0]))]:  # noqa: PTH120 - pathlib costs a tenth of a start
        del sys.path[0]


def _replace_closed_streams() -> None:
    """Who closes stdout or stderr wants nothing of it; a file that is opened later must not take its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for as long as we live


def _say(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = None  # or the interpreter complains when it closes it
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"mlxk: The output cannot be written: {error.strerror}.\n")
            return 1
    return 0
