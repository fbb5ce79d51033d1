"""Test records: one schema-checked JSON line for each finished test, on disk before the next test begins."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qualification import schemas
from qualification.errors import BundleError, QualificationError

SCHEMA_VERSION = "1.0.0"


def compose(fixed: Mapping[str, Any], sections: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A record from what the harness knows and from a test's ``user_properties``.

    A section whose name is a top-level key of the schema goes there, any other into ``metadata``. The harness's own keys
    cannot be overwritten. Raises QualificationError for a section given twice with different values or a record that
    violates the schema.
    """
    allowed = schemas.load("report")["properties"]
    record: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **fixed}
    for name, value in sections:
        home = record if name in allowed and name not in fixed else record.setdefault("metadata", {})
        if home.get(name, value) != value:
            raise QualificationError(f"{fixed['test']}: the section {name!r} was given twice with different values")
        home[name] = value
    wrong = schemas.violations("report", record)
    if wrong:
        raise QualificationError(f"{fixed['test']}: its record violates the report schema: {'; '.join(wrong)}")
    return record


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Adds one line in one write and waits until it is on the disk."""
    line = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> list[tuple[int, dict[str, Any], bytes]]:
    """Line number (from 1), record and raw line of each complete line; a last line cut by a kill is left out.

    Raises BundleError for a line that is not a record.
    """
    if not path.exists():
        return []
    found = []
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not raw.endswith(b"\n"):
            break
        try:
            record = json.loads(raw)
        except ValueError as error:
            raise BundleError(f"{path.name}:{number}: not a JSON line ({error})") from error
        wrong = schemas.violations("report", record)
        if wrong:
            raise BundleError(f"{path.name}:{number}: {wrong[0]}")
        found.append((number, record, raw))
    return found


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
