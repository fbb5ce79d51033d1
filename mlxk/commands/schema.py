"""Print the JSON Schema of what --json prints, or of one part of it."""

from __future__ import annotations

import argparse
import json

from mlxk import schemas
from mlxk.errors import NotFound
from mlxk.output import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="output", help="a definition in it, such as modelObject (default: all of it)")


def execute(arguments: argparse.Namespace) -> Result:
    schema = schemas.output() if arguments.name == "output" else schemas.definition(arguments.name)
    if schema is None:
        known = ", ".join(sorted(schemas.output()["$defs"]))
        raise NotFound(f"There is no schema {arguments.name!r}. There are: output, {known}.")
    return Result({"name": arguments.name, "schema": schema}, json.dumps(schema, indent=2, ensure_ascii=False))
