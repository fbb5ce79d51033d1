"""What test records say of where they come from, against the plan's cell that they stand for and the journal's runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_Json = dict[str, Any]

_TOLD = 5
"""So many contradictions of one kind are told; a bundle with one is not to be trusted anyway."""


def contradictions(plan: _Json, events: Sequence[_Json], records: Sequence[tuple[_Json, bytes]]) -> Iterator[str]:
    """A sentence for each record of another run, another Python, other dependencies or another model than its cell's."""
    cells = {cell["id"]: cell for cell in plan["cells"]}
    runs = {event["run"] for event in events if "run" in event}
    told = 0
    for number, (record, _) in enumerate(records, start=1):
        for what, said, follows in _claims(record, cells.get(record.get("cell", "")), runs):
            told += 1
            if told <= _TOLD:
                yield f"tests.jsonl:{number}: {what} is said to be {said}, and must be {follows}"


def _claims(record: _Json, cell: _Json | None, runs: set[str]) -> Iterator[tuple[str, str, str]]:
    if "run" in record and record["run"] not in runs:
        yield "its run", record["run"], " or ".join(sorted(runs))
    if cell is None:
        return  # it is unplanned, which the account says
    environment = record.get("environment")
    if environment:
        if environment["python"].split(".")[:2] != cell["python"].split("."):
            yield "its Python", environment["python"], cell["python"]
        if environment["dependencies"] != cell["dependencies"]:
            yield "its dependencies", environment["dependencies"], cell["dependencies"]
    if "model" in record and cell["model"] and record["model"]["id"] != cell["model"]["model_id"]:
        yield "its model", record["model"]["id"], cell["model"]["model_id"]
