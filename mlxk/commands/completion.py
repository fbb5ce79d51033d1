"""Print what makes bash, zsh or fish complete the commands, options and model names of mlxk."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from mlxk import arguments as command_line
from mlxk import cache, settings
from mlxk.errors import OperationFailed
from mlxk.output import Result

_HOW = """\
bash: mlxk completion bash > ~/.local/share/bash-completion/completions/mlxk
zsh:  mlxk completion zsh > a folder of $fpath, as _mlxk
fish: mlxk completion fish > ~/.config/fish/completions/mlxk.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _HOW
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "names"), help='"names" prints what those complete models with')


def execute(arguments: argparse.Namespace) -> Result:
    script = "\n".join(cache.names(settings.hub_cache())) if arguments.shell == "names" else _script(arguments.shell)
    return Result({"shell": arguments.shell, "script": script}, script)


def _script(shell: str) -> str:
    try:
        shtab: Any = import_module("shtab")
    except ImportError as error:
        raise OperationFailed("Completion needs the package shtab, which is not installed: `pip install shtab`.") from error
    parser = command_line.whole_parser()
    for action in _positionals(parser):
        if action.dest in ("model", "pattern"):
            action.complete = shtab.cmd("mlxk completion names 2>/dev/null")
    script: str = shtab.complete(parser, shell=shell)
    return script


def _positionals(parser: argparse.ArgumentParser) -> list[Any]:
    """Of every command. argparse has no public way to walk its own parsers; shtab walks them in the same way."""
    commands = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [action for command in commands.values() for action in command._actions if not action.option_strings]
