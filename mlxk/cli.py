"""From the command line to an exit code: the boundary at which every error becomes a sentence or an envelope.

Only ``sys`` is imported before it is known what is asked for: ``--version`` and ``--help`` cost what Python costs.
"""

import sys

from mlxk import __version__
from mlxk.usage import HELP


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
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


def _say(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # or the interpreter complains when it closes it
    return 0
