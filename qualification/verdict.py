"""Says whether a release qualifies, and why: a pure function of the plan, the journal and the test records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from qualification import records
from qualification.outcome import ORDER, Outcome
from qualification.plan import Cell, Plan

Word = Literal["INVALID", "NOT_QUALIFIED", "INCOMPLETE", "QUALIFIED_WITH_EXCEPTIONS", "QUALIFIED"]
"""In order of weight: the first that a run deserves is its verdict."""

EXIT_CODES: dict[Word, int] = {
    "INVALID": 3, "NOT_QUALIFIED": 1, "INCOMPLETE": 5, "QUALIFIED_WITH_EXCEPTIONS": 4, "QUALIFIED": 0,
}  # fmt: skip

_BAD: frozenset[Outcome] = frozenset({"leaked", "failed", "crashed", "timeout", "oom_guard", "harness_error"})
_OWED: frozenset[Outcome] = frozenset({"interrupted", "debt"})
_EXCEPTIONS: frozenset[Outcome] = frozenset({"flaky", "quarantined"})


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of the verdict; ``evidence`` are record ids such as ``journal:12`` and ``tests:40`` (line numbers from 1)."""

    weighs: Word
    code: str
    sentence: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CellVerdict:
    """What became of one cell of the plan, by its last attempt."""

    cell: str
    outcome: Outcome
    reason: str
    pays: str
    attempts: int
    tests: int
    duration_s: float
    peak_bytes: int
    log: str | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, every reason for it in order of weight, and each cell of the plan in its order."""

    word: Word
    reasons: tuple[Reason, ...]
    cells: tuple[CellVerdict, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.word]

    @property
    def counts(self) -> dict[str, int]:
        """How many cells have each outcome that occurs, in order of weight."""
        counted = Counter(cell.outcome for cell in self.cells)
        return {outcome: counted[outcome] for outcome in ORDER if counted[outcome]}


Line = tuple[int, Mapping[str, Any], bytes]
"""Line number, record and raw bytes: what ``records.read`` gives."""


def judge(plan: Plan, plan_sha256: str, events: Sequence[Mapping[str, Any]], lines: Sequence[Line]) -> Verdict:
    """Weighs everything against the plan: a cell without a record counts as interrupted, a record without a cell invalidates."""
    cells = tuple(_cell(cell, events, lines) for cell in plan.cells)
    reasons = [
        *_integrity(plan, plan_sha256, events, lines),
        *_weigh_cells(plan, cells),
        *_requirements(plan, cells),
    ]
    order = get_args(Word)
    reasons.sort(key=lambda reason: order.index(reason.weighs))
    word: Word = reasons[0].weighs if reasons else "QUALIFIED"
    return Verdict(word, tuple(reasons), cells)


def invalid(plan: Plan, sentence: str) -> Verdict:
    """The verdict on a bundle that cannot be read as one."""
    cells = tuple(CellVerdict(cell.id, "interrupted", "the bundle is damaged", "", 0, 0, 0.0, 0, None, ()) for cell in plan.cells)
    return Verdict("INVALID", (Reason("INVALID", "damaged", sentence),), cells)


def _cell(cell: Cell, events: Sequence[Mapping[str, Any]], lines: Sequence[Line]) -> CellVerdict:
    of_cell = [event for event in events if event.get("cell") == cell.id]
    evidence = tuple(f"journal:{event['seq'] + 1}" for event in of_cell)
    attempts = sum(event["event"] == "cell_started" for event in of_cell)
    recorded = sum(record.get("cell") == cell.id and record.get("attempt") == attempts for _, record, _ in lines)
    last: Mapping[str, Any] = of_cell[-1] if of_cell else {"event": "nothing"}

    def became(outcome: Outcome, reason: str, pays: str = "") -> CellVerdict:
        return CellVerdict(
            cell=cell.id,
            outcome=outcome,
            reason=reason,
            pays=pays,
            attempts=attempts,
            tests=recorded,
            duration_s=last.get("duration_s", 0.0),
            peak_bytes=last.get("peak_bytes", 0),
            log=last.get("log"),
            evidence=evidence,
        )

    if last["event"] == "cell_finished":
        return became(last["outcome"], last["reason"])
    if last["event"] == "cell_gated":
        return became("debt", last["sentence"], last["pays"])
    if last["event"] == "cell_started":
        return became("interrupted", f"the run stopped while it ran, after {recorded} of its tests", "the same run once more")
    return became("interrupted", "the run stopped before it began", "the same run once more")


def _integrity(plan: Plan, plan_sha256: str, events: Sequence[Mapping[str, Any]], lines: Sequence[Line]) -> list[Reason]:
    found = []
    if not events or events[0]["event"] != "run_started" or events[0]["plan_sha256"] != plan_sha256:
        found.append(Reason("INVALID", "plan_changed", "plan.json is not the plan that this run began with", ("journal:1",)))
    known = {cell.id for cell in plan.cells}
    for event in events:
        if event.get("cell", "") and event["cell"] not in known:
            found.append(
                Reason(
                    "INVALID",
                    "unplanned_cell",
                    f"{event['cell']} ran and is not in the plan",
                    (f"journal:{event['seq'] + 1}",),
                )
            )
    strangers = [number for number, record, _ in lines if record.get("cell") not in known]
    if strangers:
        evidence = tuple(f"tests:{number}" for number in strangers)
        found.append(
            Reason("INVALID", "unplanned_record", f"{len(strangers)} test records belong to no cell of the plan", evidence)
        )
    for event in events:
        if event["event"] == "cell_finished" and not _same_records(event, lines):
            sentence = f"the test records of {event['cell']} are not those that the journal remembers"
            found.append(Reason("INVALID", "records_changed", sentence, (f"journal:{event['seq'] + 1}",)))
    return found


def _same_records(event: Mapping[str, Any], lines: Sequence[Line]) -> bool:
    raw = [raw for _, record, raw in lines if (record.get("cell"), record.get("attempt")) == (event["cell"], event["attempt"])]
    return bool(len(raw) == event["tests"]["recorded"] and records.digest(raw) == event["tests"]["sha256"])


def _weigh_cells(plan: Plan, cells: Sequence[CellVerdict]) -> list[Reason]:
    by_id = {cell.id: cell for cell in plan.cells}
    found = []
    for cell in cells:
        planned = by_id[cell.cell]
        required = planned.group in plan.required.groups
        sentence = f"{cell.cell}: {cell.reason}"
        if cell.outcome in _BAD:
            weighs: Word = "QUALIFIED_WITH_EXCEPTIONS" if planned.gate == "minor" else "NOT_QUALIFIED"
            found.append(Reason(weighs, cell.outcome, sentence, cell.evidence))
        elif cell.outcome in _OWED and required:
            pays = f"; paid by {cell.pays}" if cell.pays else ""
            found.append(Reason("INCOMPLETE", cell.outcome, sentence + pays, cell.evidence))
        elif cell.outcome in _EXCEPTIONS:
            found.append(Reason("QUALIFIED_WITH_EXCEPTIONS", cell.outcome, sentence, cell.evidence))
    return found


def _requirements(plan: Plan, cells: Sequence[CellVerdict]) -> list[Reason]:
    passed = {cell.cell for cell in cells if cell.outcome in ("passed", "flaky")}
    proven = [cell for cell in plan.cells if cell.id in passed]
    found = []
    if not plan.cells:
        found.append(Reason("INCOMPLETE", "empty_plan", "the plan has no cell, so nothing was shown"))
    for python in plan.required.pythons:
        if not any(cell.python == python for cell in proven):
            found.append(Reason("INCOMPLETE", "python_unproven", f"no cell passed on Python {python}"))
    for tier in plan.required.tiers:
        if any(cell.tier for cell in plan.cells) and not any(cell.tier == tier for cell in proven):
            found.append(Reason("INCOMPLETE", "tier_unproven", f"no cell passed on a {tier} machine"))
    for modality, least in plan.required.families:
        families = {cell.model.family for cell in proven if cell.model and cell.model.modality == modality}
        if len(families) < least:
            names = ", ".join(sorted(families)) or "none"
            found.append(
                Reason(
                    "INCOMPLETE",
                    "too_few_families",
                    f"{least} {modality} families must pass and {len(families)} did ({names})",
                )
            )
    return found
