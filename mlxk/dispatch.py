"""Running one command: parse its arguments, execute it, and turn whatever happens into output and an exit code."""

from __future__ import annotations

import os
import sys

from mlxk import settings
from mlxk.arguments import HelpWanted, parser_of
from mlxk.errors import Interrupted, MlxkError, UsageError
from mlxk.output import Result, exit_code, show_error, show_result
from mlxk.usage import COMMANDS, HELP


def dispatch(argv: list[str]) -> int:
    """Run the command line and return its exit code. No exception leaves here."""
    as_json = "--json" in argv
    options, command, rest = _split(argv)
    try:
        return _run(command, options, rest, as_json=as_json)
    except HelpWanted as wanted:
        show_result(command, Result({"help": str(wanted)}, str(wanted)), as_json=as_json)
        return 0
    except MlxkError as error:
        return _fail(command, error, as_json=as_json)
    except KeyboardInterrupt:
        return interrupted(argv)
    except BrokenPipeError:
        _abandon_stdout()
        return 0
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        if settings.debug():
            sys.excepthook(type(error), error, error.__traceback__)
        unexpected = f"{type(error).__name__}: {error}. This is a fault of mlxk; MLXK2_DEBUG=1 shows where."
        return _fail(command, MlxkError(unexpected), as_json=as_json)


def interrupted(argv: list[str]) -> int:
    """End the command line as Ctrl-C does."""
    return _fail(_split(argv)[1], Interrupted("Interrupted."), as_json="--json" in argv)


def _run(command: str, options: list[str], rest: list[str], *, as_json: bool) -> int:
    _check_options(options)
    if command == "mlxk":
        raise UsageError(f"There is no command {rest[0]!r}. `mlxk --help` lists them." if rest else HELP.rstrip())
    parser, module = parser_of(command)
    arguments = parser.parse_intermixed_args(rest)
    arguments.json = as_json
    result = module.execute(arguments)
    if isinstance(result, Result):
        show_result(command, result, as_json=as_json)
        return 0
    return int(result)


def _split(argv: list[str]) -> tuple[list[str], str, list[str]]:
    """The options before the command, the command ("mlxk" if there is none that we know), and what follows it."""
    for place, word in enumerate(argv):
        if not word.startswith("-"):
            name = "serve" if word == "server" else word
            return (argv[:place], name, argv[place + 1 :]) if name in COMMANDS else (argv[:place], "mlxk", argv[place:])
    return argv, "version" if "--version" in argv else "mlxk", []


def _check_options(options: list[str]) -> None:
    if "--help" in options or "-h" in options:
        raise HelpWanted(HELP.rstrip())
    for option in options:
        if option not in ("--json", "--version"):
            raise UsageError(f"Unknown option {option}. `mlxk --help` lists the commands; their options follow them.")


def _fail(command: str, error: MlxkError, *, as_json: bool) -> int:
    try:
        show_error(command, error, as_json=as_json)
    except BrokenPipeError:
        _abandon_stdout()
    return exit_code(error)


def _abandon_stdout() -> None:
    """Nobody reads any more: what is left in the buffer goes nowhere, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
