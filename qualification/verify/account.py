"""Derives the verdict a second time from plan, journal and records, by the rules of docs/matrices.md."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

WORDS = ("INVALID", "NOT_QUALIFIED", "INCOMPLETE", "QUALIFIED_WITH_EXCEPTIONS", "QUALIFIED")
SHOWN_BAD = {"leaked", "failed", "crashed", "timeout", "oom_guard"}

_Json = dict[str, Any]
_Record = tuple[_Json, bytes]


@dataclass(frozen=True, slots=True)
class Derived:
    """``reasons`` counts each (verdict it weighs for, code); ``outcomes`` and ``attempts`` are by cell, in the plan's order."""

    word: str
    outcomes: dict[str, str]
    attempts: dict[str, int]
    reasons: Counter[tuple[str, str]]


class _Trail:
    """What was written of each cell: its refusals, its starts and ends in order, and its records by attempt."""

    def __init__(self, events: Sequence[_Json], records: Sequence[_Record]) -> None:
        self.gates: defaultdict[str, list[_Json]] = defaultdict(list)
        self.tries: defaultdict[str, list[_Json]] = defaultdict(list)
        self.records: defaultdict[tuple[Any, Any], list[_Record]] = defaultdict(list)
        for event in events:
            if event["event"] == "cell_gated":
                self.gates[event["cell"]].append(event)
            elif "cell" in event:
                self.tries[event["cell"]].append(event)
        for record in records:
            self.records[record[0].get("cell"), record[0].get("attempt")].append(record)

    def attempts(self, cell: str) -> int:
        return sum(event["event"] == "cell_started" for event in self.tries[cell])

    def last(self, cell: str) -> list[_Json]:
        """Records of the last attempt."""
        return [record for record, _ in self.records[cell, self.attempts(cell)]]


def derive(plan: _Json, plan_sha256: str, events: Sequence[_Json], records: Sequence[_Record]) -> Derived:
    """``events`` and ``records`` in the order they were written."""
    trail = _Trail(events, records)
    outcomes = {cell["id"]: _outcome(trail, cell["id"]) for cell in plan["cells"]}
    reasons = Counter(
        [
            *(("INVALID", code) for code in _invalid(plan, plan_sha256, events, trail)),
            *_of_cells(plan, outcomes),
            *(("INCOMPLETE", code) for code in _unmet(plan, outcomes)),
            *(("NOT_QUALIFIED", code) for code in _overdrawn(plan, outcomes, events, trail)),
            *(("QUALIFIED", "left_out") for _ in plan.get("left_out", ())),
        ]
    )
    word = next((word for word in WORDS if any(weighs == word for weighs, _ in reasons)), "QUALIFIED")
    return Derived(word, outcomes, {cell: trail.attempts(cell) for cell in outcomes}, reasons)


def _outcome(trail: _Trail, cell: str) -> str:
    tries = trail.tries[cell]
    if not tries:
        gates = trail.gates[cell]
        return "interrupted" if not gates else "quarantined" if gates[-1]["code"] == "quarantined" else "debt"
    last = str(tries[-1].get("outcome", "interrupted"))
    earlier = [str(event["outcome"]) for event in tries[:-1] if event.get("outcome") in SHOWN_BAD | {"harness_error"}]
    if last in ("interrupted", "debt") and earlier:
        return earlier[-1]
    return "flaky" if last in ("passed", "quarantined") and SHOWN_BAD.intersection(earlier) else last


def _invalid(plan: _Json, plan_sha256: str, events: Sequence[_Json], trail: _Trail) -> Iterator[str]:
    begun = [event for event in events if event["event"] == "run_started"]
    if not begun or begun[0] is not events[0] or any(event["plan_sha256"] != plan_sha256 for event in begun):
        yield "plan_changed"
    planned = {cell["id"]: cell for cell in plan["cells"]}
    seen = {event["cell"] for event in events if "cell" in event}
    yield from ("unplanned_cell" for cell in seen - planned.keys())
    started = {
        (cell, event["attempt"]) for cell, tries in trail.tries.items() for event in tries if event["event"] == "cell_started"
    }
    if trail.records.keys() - started:
        yield "unplanned_record"
    for cell in seen:
        excuses = [entry for entry in plan["quarantine"] if cell in planned and _covers(entry, planned[cell])]
        yield from _attempts(trail, cell, excuses)
        kept = any(gate["code"] == "quarantined" for gate in trail.gates[cell])
        if kept and not any(entry["test"] is None and events[0]["at"][:10] <= entry["expires"] for entry in excuses):
            yield "quarantine_unplanned"


def _attempts(trail: _Trail, cell: str, excuses: Sequence[_Json]) -> Iterator[str]:
    """Attempts are numbered 1, 2, 3 …; each begins, and may then end once."""
    number, running = 0, False
    for event in list(trail.tries[cell]):
        begins = event["event"] == "cell_started"
        number += begins
        if event["attempt"] != number or not (begins or running):
            yield "attempts_disordered"
        running = begins
        if not begins:
            yield from _end(event, trail.records.get((cell, event["attempt"]), []), excuses)


def _end(event: _Json, records: Sequence[_Record], excuses: Sequence[_Json]) -> Iterator[str]:
    digest = hashlib.sha256(b"".join(line for _, line in records)).hexdigest()
    if event["tests"]["recorded"] != len(records) or event["tests"]["sha256"] != digest:
        yield "records_changed"
    elif not _shows(event, [record for record, _ in records], excuses):
        yield "pass_unproven"


def _shows(event: _Json, records: Sequence[_Json], excuses: Sequence[_Json]) -> bool:
    """A good outcome needs a record of every collected test that says so; a bad one needs no proof."""
    if event["outcome"] not in ("passed", "flaky", "quarantined"):
        return True
    bad = [record for record in records if record["outcome"] != "passed"]
    excused = all(record["outcome"] == "failed" and any(_excuses(entry, record) for entry in excuses) for record in bad)
    rerun = any("reruns" in record for record in records)
    said = {"passed": not bad and not rerun, "flaky": excused and rerun, "quarantined": excused and bool(bad)}
    return bool(records) and len(records) == event["tests"]["collected"] and said[event["outcome"]]


def _of_cells(plan: _Json, outcomes: dict[str, str]) -> Iterator[tuple[str, str]]:
    for cell in plan["cells"]:
        outcome = outcomes[cell["id"]]
        if outcome in SHOWN_BAD | {"harness_error"}:
            yield ("QUALIFIED_WITH_EXCEPTIONS" if cell["gate"] == "minor" else "NOT_QUALIFIED"), outcome
        elif outcome in ("interrupted", "debt"):
            if cell["group"] in plan["required"]["groups"]:
                yield "INCOMPLETE", outcome
        elif outcome in ("flaky", "quarantined"):
            yield "QUALIFIED_WITH_EXCEPTIONS", outcome


def _unmet(plan: _Json, outcomes: dict[str, str]) -> Iterator[str]:
    proven = [cell for cell in plan["cells"] if outcomes[cell["id"]] in ("passed", "flaky")]
    required = plan["required"]
    if not plan["cells"]:
        yield "empty_plan"
    yield from ("empty_group" for group in required["groups"] if not any(cell["group"] == group for cell in plan["cells"]))
    yield from ("python_unproven" for python in required["pythons"] if not any(cell["python"] == python for cell in proven))
    tierless = not any(cell["tier"] for cell in plan["cells"])
    for tier in required["tiers"]:
        if not any(cell["tier"] == tier or (tierless and tier == plan["tier"]) for cell in proven):
            yield "tier_unproven"
    for modality, least in required["families"]:
        models = [cell["model"] for cell in proven if cell["model"] and not cell.get("metrics")]
        if len({model["family"] for model in models if model["modality"] == modality}) < least:
            yield "too_few_families"


def _overdrawn(plan: _Json, outcomes: dict[str, str], events: Sequence[_Json], trail: _Trail) -> Iterator[str]:
    flaky = [cell for cell, outcome in outcomes.items() if outcome == "flaky"]
    if sum(max(1, sum("reruns" in record for record in trail.last(cell))) for cell in flaky) > plan["required"]["flaky"]:
        yield "flaky_budget"
    day = events[0]["at"][:10] if events else ""
    for entry in plan["quarantine"]:
        if day > entry["expires"]:
            yield "quarantine_expired"
        covered = [cell["id"] for cell in plan["cells"] if _covers(entry, cell)]
        excused = [record for cell in covered for record in trail.last(cell) if _excuses(entry, record)]
        if excused and all(record["outcome"] == "passed" for record in excused):
            yield "quarantine_over"


def _covers(entry: _Json, cell: _Json) -> bool:
    environment = f"py{cell['python'].replace('.', '')}-{cell['dependencies']}"
    model = [cell["model"]["model_id"]] if cell["model"] else []
    return entry["cell"] in (None, cell["id"], cell["group"], environment, *model)


def _excuses(entry: _Json, record: _Json) -> bool:
    return entry["test"] is not None and entry["test"] in (record["test"], record["test"].partition("[")[0])
