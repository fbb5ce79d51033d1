"""The JSON Schemas of everything the examiner reads or writes, by name."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from qualification.schemas import quick
from qualification.schemas.quick import instant

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["EARLIER", "Name", "instant", "load", "parse", "report_version", "validator", "violations"]

Name = Literal[
    "matrix", "plan", "report", "journal", "verdict", "quarantine", "manifest", "machine",
    "report-v0.1", "report-v0.2.0", "report-v0.2.1", "report-v0.2.2",
]  # fmt: skip

EARLIER: dict[str, Name] = {
    "0.1.0": "report-v0.1",
    "0.2.0": "report-v0.2.0",
    "0.2.1": "report-v0.2.1",
    "0.2.2": "report-v0.2.2",
}
"""The schema of a test record by the version that the record names, for all versions before the current one."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_FILES: dict[Name, str] = {"report": "report-current"}


@cache
def load(name: Name) -> dict[str, Any]:
    """The schema as it stands in the package; the caller must not change it."""
    text = (Path(__file__).parent / f"{_FILES.get(name, name)}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def validator(name: Name) -> Validator:
    """A checker with formats (date-time) on; its ``iter_errors`` yields every violation.

    jsonschema takes longer to import than a small cell to run, so it is asked only where something is wrong.
    """
    import jsonschema  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415

    formats = jsonschema.FormatChecker()
    # Without this, jsonschema checks times only where one more package is installed.
    formats.checks("date-time", raises=ValueError)(lambda value: not isinstance(value, str) or bool(instant(value)))
    schema = load(name)
    dialect = validator_for(schema)
    dialect.check_schema(schema)
    return dialect(schema, format_checker=formats)


def violations(name: Name, instance: object) -> list[str]:
    """What is wrong with ``instance``, one sentence each, in the order of the document; empty when valid."""
    if _quick(name)(instance):
        return []
    found = validator(name).iter_errors(cast("Any", instance))
    errors = sorted(found, key=lambda error: [str(part) for part in error.absolute_path])
    return [f"{'.'.join(str(part) for part in error.absolute_path) or 'record'}: {error.message}" for error in errors]


def parse(content: bytes | str) -> Any:
    """What JSON says, and all readers of it agree on. Raises ValueError for anything else.

    That is for NaN and Infinity, which Python reads and JSON does not know; for a key that stands twice in an object, of which
    some readers take the first and some the last; for half a surrogate pair, which no file in UTF-8 can hold; and for what is
    nested so deeply that no document of ours is.
    """
    try:
        found = json.loads(content, parse_constant=_no_number, object_pairs_hook=_once)
        if _SURROGATE.search(content if isinstance(content, bytes) else content.encode("utf-8")):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return found


def report_version() -> str:
    """The version of the records that are written now."""
    return str(load("report")["properties"]["schema_version"]["const"])


@cache
def _quick(name: Name) -> quick.Check:
    return quick.compiled(load(name))


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return found
