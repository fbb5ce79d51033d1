"""Print the version of mlxk, and of the JSON that it prints."""

from __future__ import annotations

import argparse

from mlxk import __version__, system
from mlxk.output import Result
from mlxk.schemas import JSON_API_SPEC_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None but --json."""


def execute(arguments: argparse.Namespace) -> Result:
    data = {
        "cli_version": __version__,
        "json_api_spec_version": JSON_API_SPEC_VERSION,
        "system": {"memory_total_bytes": system.memory_total_bytes()},
    }
    return Result(data, f"mlxk {__version__}")
