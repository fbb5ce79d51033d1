"""Test records: one schema-checked JSON line for each finished test, on disk before the next test begins."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qualification import redaction, schemas
from qualification.errors import BundleError, QualificationError


def compose(fixed: Mapping[str, Any], sections: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A record from what the harness knows and from a test's ``user_properties``.

    A section whose name is a top-level key of the schema goes there, any other into ``metadata``; so does one whose name is
    the harness's own key, in ``fixed`` or marked ``readOnly`` in the schema. Raises QualificationError for a section given
    twice with different values, a value that JSON cannot hold, or a record that violates the schema.
    """
    properties = schemas.load("report")["properties"]
    own = {name for name, schema in properties.items() if schema.get("readOnly")} | fixed.keys()
    record: dict[str, Any] = {"schema_version": schemas.report_version(), **fixed}
    for name, value in _flattened(fixed["test"], sections):
        home = record if name in properties and name not in own else record.setdefault("metadata", {})
        if name in home and home[name] != value:
            raise QualificationError(f"{fixed['test']}: the section {name!r} was given twice with different values")
        home[name] = value
    wrong = schemas.violations("report", record)
    if wrong:
        raise QualificationError(f"{fixed['test']}: its record violates the report schema: {'; '.join(wrong)}")
    return record


def _flattened(test: str, sections: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The sections as JSON will give them back; a section ``metadata`` by its items, as it has no other meaning."""
    for name, value in sections:
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise QualificationError(f"{test}: the section {name!r} cannot be written as JSON: {error}") from error
        yield from plain.items() if name == "metadata" and isinstance(plain, dict) else [(name, plain)]


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as it stands in a file, without tokens and homes; half a surrogate pair, which UTF-8 lacks, becomes ``?``."""
    return (redaction.clean(json.dumps(record, ensure_ascii=False, allow_nan=False)) + "\n").encode("utf-8", errors="replace")


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Adds one line in one write and waits until it is on the disk."""
    content = encode(record)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(descriptor, content) != len(content):
            raise QualificationError(f"{path}: the disk took only a part of a record; make room and run again")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> list[tuple[int, dict[str, Any], bytes]]:
    """Line number (from 1), record and raw line of each complete line; a last line cut by a kill is left out.

    Raises BundleError for a line that is not a record.
    """
    return list(_complete(path))


def written_since(path: Path, offset: int, cell: str) -> list[tuple[dict[str, Any], bytes]]:
    """Record and raw line of what ``cell`` appended after byte ``offset``; others may write at the same time.

    Raises BundleError for a line that is not a record, whoever wrote it.
    """
    return [(record, line) for _, record, line in _complete(path, offset) if record.get("cell") == cell]


def _complete(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    content = path.read_bytes() if path.exists() else b""
    first = content.count(b"\n", 0, offset) + 1
    for number, line in enumerate(content[offset:].split(b"\n")[:-1], start=first):
        try:
            record = schemas.parse(line)
        except ValueError as error:
            raise BundleError(f"{path.name}:{number}: not a JSON line ({error})") from error
        wrong = schemas.violations("report", record)
        if wrong:
            raise BundleError(f"{path.name}:{number}: {wrong[0]}")
        yield number, record, line + b"\n"


def end(path: Path) -> int:
    """The byte offset at which the next record will stand."""
    return path.stat().st_size if path.exists() else 0


def digest(lines: Iterable[bytes]) -> str:
    """sha256 over raw lines, in order: what the journal remembers of a cell's records."""
    total = hashlib.sha256()
    for line in lines:
        total.update(line)
    return total.hexdigest()


def mend(path: Path) -> None:
    """Drops a last line that a kill cut short, so that the next record starts on a line of its own."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete < len(content):
        os.truncate(path, complete)
