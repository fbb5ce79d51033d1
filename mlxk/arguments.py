"""The parsers of the command lines, made from what each command declares."""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn, cast

from mlxk.errors import UsageError
from mlxk.usage import COMMANDS

_WIDTH = 80  # or argparse asks the terminal for it, and imports shutil to do so


class HelpWanted(Exception):
    """The person asked how to use it; the message is the answer."""


class Parser(argparse.ArgumentParser):
    """argparse, but an error is raised and not printed, and so is the wish for help."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}. {self.format_usage().strip()}")

    def print_help(self, file: object = None) -> NoReturn:
        raise HelpWanted(self.format_help().rstrip())

    def _get_formatter(self) -> argparse.HelpFormatter:
        kind: Any = self.formatter_class
        return cast(argparse.HelpFormatter, kind(prog=self.prog, width=_WIDTH))


def parser_of(command: str) -> tuple[Parser, ModuleType]:
    """The parser of one command, and the module that executes it."""
    module = import_module(COMMANDS[command])
    parser = Parser(prog=f"mlxk {command}", description=module.__doc__, allow_abbrev=False)
    _fill(parser, module)
    return parser, module


def whole_parser() -> argparse.ArgumentParser:
    """Every command in one parser: what completion is made from, and nothing is parsed with."""
    whole = argparse.ArgumentParser(prog="mlxk")
    whole.add_argument("--json", action="store_true", help="print one JSON object")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers()
    for command, place in COMMANDS.items():
        module = import_module(place)
        _fill(commands.add_parser(command, help=module.__doc__, description=module.__doc__), module)
    return whole


def _fill(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
