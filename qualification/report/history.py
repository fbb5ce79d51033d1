"""Reads test records of any schema version from JSONL files: reports that people keep, and the ``tests.jsonl`` of bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qualification import schemas
from qualification.errors import UsageError
from qualification.report import migrate


@dataclass(frozen=True, slots=True)
class Checked:
    """``records`` are the valid ones as they were written; each error is a line number (from 1) and a sentence."""

    path: Path
    lines: int
    records: tuple[Mapping[str, Any], ...]
    errors: tuple[tuple[int, str], ...]


def check(path: Path) -> Checked:
    """Holds each line against the schema that it names. Raises UsageError where there is no such file."""
    file = path / "tests.jsonl" if path.is_dir() else path
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    records, errors = [], []
    for number, line in enumerate(lines, start=1):
        try:
            record = schemas.parse(line)
        except ValueError as error:
            errors.append((number, f"not a JSON line ({error})"))
            continue
        wrong = _violations(record)
        errors += [(number, sentence) for sentence in wrong]
        records += [] if wrong else [record]
    return Checked(file, len(lines), tuple(records), tuple(errors))


def read(path: Path) -> list[dict[str, Any]]:
    """All records under the current schema. Raises UsageError for the first line that is not one."""
    checked = check(path)
    if checked.errors:
        number, sentence = checked.errors[0]
        raise UsageError(f"{checked.path}:{number}: {sentence}; `report validate` lists all that is wrong with it")
    return [migrate.forward(record) for record in checked.records]


def _violations(record: object) -> list[str]:
    version = record.get("schema_version") if isinstance(record, dict) else None
    known = (*schemas.EARLIER, schemas.report_version())
    if isinstance(record, dict) and version not in known:
        return [f"schema_version: {version!r} is none of {', '.join(known)}"]
    return schemas.violations(schemas.EARLIER.get(str(version), "report"), record)
