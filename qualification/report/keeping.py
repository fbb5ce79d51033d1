"""Keeps the model tests of a run as history: one file of records for each day and version, which only ever grows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qualification import bundle, records
from qualification.errors import UsageError
from qualification.report import history

FOLDER = Path("benchmarks/reports")

_Record = Mapping[str, Any]


def keep(source: Path, folder: Path) -> tuple[Path, int]:
    """Adds what ``source``, a file of records or a bundle, tells of models to ``YYYY-MM-DD-vX.Y.Z.jsonl`` in ``folder``.

    The day is that of its last test. Returns the file and how many records were added. Raises UsageError for a record that its
    schema does not allow, for a source that tells nothing of models or of two versions, and for one that is kept already.
    """
    told = [record for record in _valid(source) if "model" in record]
    versions = sorted({record["mlx_knife_version"] for record in told})
    if not told:
        raise UsageError(f"{source} holds no record of a test on a model, so there is nothing to keep")
    if len(versions) > 1:
        raise UsageError(f"{source} holds records of {' and '.join(versions)}: keep those of one version at a time")
    target = folder / f"{max(record['timestamp'] for record in told)[:10]}-v{versions[0]}.jsonl"
    kept = _valid(target) if target.exists() else ()
    known = {_identity(record) for record in kept}
    if again := next((record for record in told if _identity(record) in known), None):
        raise UsageError(f"{target} has {again['test']} of {again['timestamp']} already; a run is kept once")
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join([target.read_bytes() if kept else b"", *(records.encode(record) for record in told)])
    bundle.write_atomically(target, content.decode("utf-8"))
    return target, len(told)


def _valid(path: Path) -> tuple[_Record, ...]:
    """The records as they were written. Raises UsageError for the first that is none."""
    checked = history.check(path)
    if checked.errors:
        number, sentence = checked.errors[0]
        raise UsageError(f"{checked.path}:{number}: {sentence}; `report validate` lists all that is wrong with it")
    return checked.records


def _identity(record: _Record) -> tuple[object, ...]:
    return record["test"], record["timestamp"], record.get("run")
