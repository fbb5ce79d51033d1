"""Print the version of mlxk."""

from __future__ import annotations

import argparse

from mlxk import __version__
from mlxk.output import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None but --json."""


def execute(arguments: argparse.Namespace) -> Result:
    return Result({"cli_version": __version__}, f"mlxk {__version__}")
