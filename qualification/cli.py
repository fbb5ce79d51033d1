"""The examiner's command line: parses arguments, calls one function, prints, and turns errors into exit codes.

Only the module of the command that is asked for is imported: all of them together take a quarter of a second.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from qualification.errors import QualificationError

_COMMANDS = {
    "plan": ("qualification.planning", "show what a matrix asks for here, without running anything"),
    "run": ("qualification.running", "run the cells of one environment of a bundle"),
    "verdict": ("qualification.judging", "seal a bundle and judge it"),
    "report": ("qualification.report.command", "read, check, compare, merge and export what runs have written"),
    "mint": ("qualification.mint.command", "make tiny but real models"),
    "compare": ("qualification.performance.command", "say whether a wheel is slower than another one"),
    "hub": ("qualification.hub.command", "serve a local model hub, with faults on request"),
}
"""Each module has ``add_arguments(parser)``, and ``run(arguments)``, which returns the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done or QUALIFIED, 1 failed or NOT_QUALIFIED, 2 usage, 3 INVALID, 4 QUALIFIED_WITH_EXCEPTIONS, 5 INCOMPLETE,
    130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    command = argv[0] if argv else ""
    try:
        arguments = _parser(command).parse_args(argv)
        action: Callable[[argparse.Namespace], int] = arguments.action
        return action(arguments)
    except QualificationError as error:
        print(f"qualification {command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        hint = "; `make resume` goes on with it" if command == "run" else ""
        print(f"qualification {command}: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(asked: str) -> argparse.ArgumentParser:
    """It knows every command by name, and of the one that is asked for the options."""
    parser = argparse.ArgumentParser(
        prog="python -m qualification", description="Declare, run and judge what a release must show."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, about) in _COMMANDS.items():
        command = commands.add_parser(name, help=about)
        if name == asked:
            found = importlib.import_module(module)
            found.add_arguments(command)
            command.set_defaults(action=found.run)
    return parser
