"""The JSON Schemas of everything the examiner reads or writes, by name."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

Name = Literal[
    "matrix", "plan", "report", "journal", "verdict", "quarantine", "manifest",
    "report-v0.1", "report-v0.2.0", "report-v0.2.1", "report-v0.2.2",
]  # fmt: skip

EARLIER: dict[str, Name] = {
    "0.1.0": "report-v0.1",
    "0.2.0": "report-v0.2.0",
    "0.2.1": "report-v0.2.1",
    "0.2.2": "report-v0.2.2",
}
"""The schema of a test record by the version that the record names, for all versions before the current one."""

_FILES: dict[Name, str] = {"report": "report-current"}


@cache
def load(name: Name) -> dict[str, Any]:
    """The schema as it stands in the package; the caller must not change it."""
    text = files(__name__).joinpath(f"{_FILES.get(name, name)}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def validator(name: Name) -> Validator:
    """A checker with formats (date-time) on; its ``iter_errors`` yields every violation."""
    schema = load(name)
    dialect = validator_for(schema)
    dialect.check_schema(schema)
    return dialect(schema, format_checker=_FORMATS)


def violations(name: Name, instance: object) -> list[str]:
    """What is wrong with ``instance``, one sentence each, in the order of the document; empty when valid."""
    found = validator(name).iter_errors(cast("Any", instance))
    errors = sorted(found, key=lambda error: [str(part) for part in error.absolute_path])
    return [f"{'.'.join(str(part) for part in error.absolute_path) or 'record'}: {error.message}" for error in errors]


class Reader:
    """Checks many instances of one schema, and each nested object only where none like it was seen before.

    The records of a run repeat their environment, model and system thousands of times: this reads them in a third of the time.
    """

    def __init__(self, name: Name) -> None:
        schema = load(name)
        self._name = name
        self._nested = {key: part for key, part in schema["properties"].items() if part.get("type") == "object"}
        flat = {**schema["properties"], **dict.fromkeys(self._nested, True)}
        self._flat = validator(name).evolve(schema={**schema, "properties": flat})
        self._seen: set[tuple[str, str]] = set()

    def violations(self, instance: object) -> list[str]:
        """As the function of that name."""
        if not isinstance(instance, dict) or not self._flat.is_valid(cast("Any", instance)):
            return violations(self._name, instance)
        for key in self._nested.keys() & instance.keys():
            like = (key, json.dumps(instance[key], sort_keys=True))
            if like not in self._seen:
                if not self._flat.evolve(schema=self._nested[key]).is_valid(instance[key]):
                    return violations(self._name, instance)
                self._seen.add(like)
        return []


def report_version() -> str:
    """The version of the records that are written now."""
    return str(load("report")["properties"]["schema_version"]["const"])


def instant(timestamp: str) -> datetime:
    """An ISO 8601 time with its zone. Raises ValueError where it is none, or no time that there is.

    Fractions of a second are cut to microseconds: Python 3.10 reads three or six digits and no others.
    """
    written = timestamp.upper().replace("Z", "+00:00").replace(" ", "T")
    head, dot, tail = written.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    read = datetime.fromisoformat(f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}" if dot else head)
    if "T" not in written or read.tzinfo is None:
        raise ValueError(f"{timestamp!r} is no time with a zone")
    return read


_FORMATS = jsonschema.FormatChecker()


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    """Without this, jsonschema checks times only where one more package is installed."""
    return not isinstance(value, str) or bool(instant(value))
