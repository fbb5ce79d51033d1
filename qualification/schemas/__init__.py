"""The JSON Schemas of everything the examiner reads or writes, by name."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import jsonschema

Name = Literal["matrix", "plan", "report", "journal", "verdict"]


@cache
def load(name: Name) -> dict[str, Any]:
    """The schema as it stands in the package; the caller must not change it."""
    text = files(__name__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def validator(name: Name) -> jsonschema.Draft202012Validator:
    """A checker with formats (date-time) on; its ``iter_errors`` yields every violation."""
    schema = load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def violations(name: Name, instance: object) -> list[str]:
    """What is wrong with ``instance``, one sentence each, in the order of the document; empty when valid."""
    errors = sorted(validator(name).iter_errors(instance), key=lambda error: [str(part) for part in error.absolute_path])
    return [f"{'.'.join(str(part) for part in error.absolute_path) or 'record'}: {error.message}" for error in errors]
