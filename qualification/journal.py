"""The run's journal: one JSON line per event, bound by hashes to the line before it, on disk before the call returns."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, cast

from qualification import redaction, schemas
from qualification.errors import BundleError

_FIRST = "0" * 64
_TAIL_BYTES = 1 << 16
"""Longer than any event but one that a test's own words have swollen."""


def append(path: Path, event: str, *, at: str | None = None, **facts: Any) -> None:
    """Adds one event and flushes it to the disk; a kill at any moment loses at most the event being written.

    ``at`` is when it happened, where that was not now.
    A last line that a kill cut short is dropped first: its event never happened.
    """
    with _locked(path) as file:
        last = _mended(file)
        line = {
            "seq": json.loads(last)["seq"] + 1 if last else 0,
            "prev": hashlib.sha256(last).hexdigest() if last else _FIRST,
            "at": at or datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "event": event,
            **{name: redaction.clean(fact) if isinstance(fact, str) else fact for name, fact in facts.items()},
        }
        raw = _written(line)
        wrong = schemas.violations("journal", json.loads(raw))
        if wrong:
            raise BundleError(f"{path.name}: an event {event!r} that its schema does not know: {wrong[0]}")
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """All events in order. Raises BundleError where the chain is broken; a last line cut by a kill is left out."""
    events: list[dict[str, Any]] = []
    previous = _FIRST
    for number, line in enumerate(_lines(path), start=1):
        raw = line + b"\n"
        try:
            event = schemas.parse(raw)
        except ValueError as error:
            raise BundleError(f"{path.name}:{number}: not a JSON line ({error}); the journal was damaged") from error
        wrong = schemas.violations("journal", event)
        if wrong or raw != _written({key: value for key, value in event.items() if key != "sha256"}):
            reason = wrong[0] if wrong else "it is not as it was written"
            raise BundleError(f"{path.name}:{number}: {reason}; the journal was changed after it was written")
        if event["prev"] != previous or event["seq"] != number - 1:
            raise BundleError(f"{path.name}:{number}: it does not continue the line before it; the journal was changed")
        previous = hashlib.sha256(raw).hexdigest()
        events.append(event)
    return events


def _mended(file: BinaryIO) -> bytes:
    """The last complete line, after which the file then ends; empty where there is none. Only the end of the file is read."""
    size = file.seek(0, os.SEEK_END)
    tail = b""
    while tail.count(b"\n") < 2 and len(tail) < size:
        start = max(0, size - max(_TAIL_BYTES, 2 * len(tail)))
        file.seek(start)
        tail = file.read(size - start)
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        file.truncate(size - len(tail) + len(whole))
    return whole[whole.rfind(b"\n", 0, -1) + 1 :]


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing; without its journal a run cannot be judged") from error


def _written(line: Mapping[str, Any]) -> bytes:
    """A line as it stands in the file: its last key is the sha256 of all before it, so that the last line, too, is bound.

    Half a surrogate pair, which UTF-8 lacks, becomes ``?``.
    """
    body = json.dumps(line, ensure_ascii=False).encode("utf-8", errors="replace")
    return body[:-1] + b', "sha256": "' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield cast("BinaryIO", file)
