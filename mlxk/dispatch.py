"""Running one command: parse its arguments, execute it, and turn whatever happens into output and an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from mlxk import interrupts, settings
from mlxk.arguments import HelpWanted, parser_of
from mlxk.errors import Interrupted, MlxkError, PullFault, PushFault, UsageError
from mlxk.output import Result, error_text, exit_code, hear, notice, result_text, write
from mlxk.usage import COMMANDS, HELP

_FAULTS: dict[str, type[MlxkError]] = {"pull": PullFault, "push": PushFault}
"""What an unforeseen failure is called, where scripts know it by a name of its own."""


def dispatch(argv: list[str]) -> int:
    """Run the command line and return its exit code. No exception leaves here."""
    as_json = "--json" in argv
    options, command, rest = _split(argv)
    try:
        code, said = _outcome(command, options, rest, as_json=as_json)
        if code not in (0, 130) and said is not None:
            interrupts.check()  # Python before 3.12 makes another error of one that comes while a class is made
        if as_json:
            interrupts.ignore()  # or a second object would follow the first
    except KeyboardInterrupt:
        return interrupted(argv)
    return code if said is None else _tell(command, code, said, as_json=as_json)


def interrupted(argv: list[str]) -> int:
    """End the command line as Ctrl-C does."""
    interrupts.ignore()
    as_json = "--json" in argv
    command = _split(argv)[1]
    return _tell(command, 130, error_text(command, Interrupted("Interrupted."), as_json=as_json), as_json=as_json)


def _outcome(command: str, options: list[str], rest: list[str], *, as_json: bool) -> tuple[int, str | None]:
    """The exit code, and what is to be printed if not everything was."""
    try:
        result = _run(command, options, rest, as_json=as_json)
        return (0, result_text(command, result, as_json=as_json)) if isinstance(result, Result) else (result, None)
    except HelpWanted as wanted:
        return 0, result_text(command, Result({"help": str(wanted)}, str(wanted)), as_json=as_json)
    except MlxkError as error:
        return exit_code(error), error_text(command, error, as_json=as_json)
    except BrokenPipeError:
        _abandon_stdout()
        return 0, None
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        if settings.debug():
            sys.excepthook(type(error), error, error.__traceback__)
        unexpected = f"{type(error).__name__}: {error}. This is a fault of mlxk; MLXK2_DEBUG=1 shows where."
        return 1, error_text(command, _FAULTS.get(command, MlxkError)(unexpected), as_json=as_json)


def _tell(command: str, code: int, said: str, *, as_json: bool) -> int:
    """Print it: errors for people on stderr, all else on stdout. Where it cannot be written, say so if even that can be."""
    hear()
    try:
        (write if as_json or code == 0 else notice)(said)
    except KeyboardInterrupt:
        notice(error_text(command, Interrupted("Interrupted."), as_json=False))
        return 130
    except OSError as error:
        _abandon_stdout()
        if isinstance(error, BrokenPipeError):
            return code
        with suppress(OSError):
            notice(error_text(command, MlxkError(f"The output cannot be written: {error.strerror}."), as_json=False))
        return code or 1
    return code


def _run(command: str, options: list[str], rest: list[str], *, as_json: bool) -> Result | int:
    _check_options(options)
    if command == "mlxk":
        raise UsageError(_no_command(rest[0]) if rest else HELP.rstrip())
    parser, module = parser_of(command)
    arguments = parser.parse_intermixed_args(rest)
    arguments.json = as_json
    result: Result | int = module.execute(arguments)
    return result


def _split(argv: list[str]) -> tuple[list[str], str, list[str]]:
    """The options before the command, the command ("mlxk" if there is none that we know), and what follows it."""
    for place, word in enumerate(argv):
        if not word.startswith("-"):
            name = "serve" if word == "server" else word
            return (argv[:place], name, argv[place + 1 :]) if name in COMMANDS else (argv[:place], "mlxk", argv[place:])
    return argv, "version" if "--version" in argv else "mlxk", []


def _no_command(word: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    near = get_close_matches(word, COMMANDS, n=1)
    return f"There is no command {word!r}. " + (f"Did you mean `mlxk {near[0]}`?" if near else "`mlxk --help` lists them.")


def _check_options(options: list[str]) -> None:
    if "--help" in options or "-h" in options:
        raise HelpWanted(HELP.rstrip())
    for option in options:
        if option not in ("--json", "--version"):
            raise UsageError(f"Unknown option {option}. `mlxk --help` lists the commands; their options follow them.")


def _abandon_stdout() -> None:
    """Nobody reads any more: what is left in the buffer goes nowhere, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
