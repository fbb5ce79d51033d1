"""The plan, the journal's chain and the test records of a bundle, each line checked on its own bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from qualification import schemas
from qualification.verify.files import Found

_BEFORE_THE_FIRST = "0" * 64
_LAST_KEY = b', "sha256": "'


class BrokenError(Exception):
    """A file that cannot be what the runner wrote: name, line and reason."""


def plan(found: Found) -> dict[str, Any]:
    """Raises BrokenError where it is not one."""
    document = _parsed(found.content("plan.json"), "plan.json")
    _follows("plan", document, "plan.json")
    cells = [cell["id"] for cell in document["cells"]]
    if len(set(cells)) != len(cells):
        raise BrokenError("plan.json: a cell stands in it twice")
    return document


def machine(found: Found) -> None:
    """Raises BrokenError where ``machine.json`` tells of no machine, or of more than a machine."""
    _follows("machine", _parsed(found.content("machine.json"), "machine.json"), "machine.json")


def journal(found: Found) -> list[dict[str, Any]]:
    """All events in order. Raises BrokenError where a line is not bound to the one before it, or not as it was written."""
    events: list[dict[str, Any]] = []
    previous = _BEFORE_THE_FIRST
    for where, line in _lines(found, "journal.jsonl"):
        event = _parsed(line, where)
        _follows("journal", event, where)
        body, _, _ = line.rpartition(_LAST_KEY)
        if hashlib.sha256(body + b"}").hexdigest() != event["sha256"] or not line.endswith(f'{event["sha256"]}"}}\n'.encode()):
            raise BrokenError(f"{where}: changed after it was written")
        if event["prev"] != previous or event["seq"] != len(events):
            raise BrokenError(f"{where}: does not continue the line before it")
        previous = hashlib.sha256(line).hexdigest()
        events.append(event)
    return events


def records(found: Found) -> list[tuple[dict[str, Any], bytes]]:
    """Each test record with its line. Raises BrokenError for one that its schema does not allow."""
    read = []
    for where, line in _lines(found, "tests.jsonl"):
        record = _parsed(line, where)
        wrong = schemas.violations("report", record)
        if wrong:
            raise BrokenError(f"{where}: {wrong[0]}")
        read.append((record, line))
    return read


def _lines(found: Found, name: str) -> Iterator[tuple[str, bytes]]:
    *whole, rest = found.content(name).split(b"\n")
    if rest:
        raise BrokenError(f"{name}:{len(whole) + 1}: cut short")
    for number, line in enumerate(whole, start=1):
        yield f"{name}:{number}", line + b"\n"


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        document = schemas.parse(content)
    except ValueError as error:
        raise BrokenError(f"{where}: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise BrokenError(f"{where}: no object of JSON")
    return document


def _follows(schema: schemas.Name, document: dict[str, Any], where: str) -> None:
    wrong = schemas.violations(schema, document)
    if wrong:
        raise BrokenError(f"{where}: {wrong[0]}")
