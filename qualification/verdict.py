"""Says whether a release qualifies, and why: a pure function of the plan, the journal and the test records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from qualification import records
from qualification.declared import Quarantined
from qualification.outcome import ORDER, Outcome
from qualification.plan import Plan

Word = Literal["INVALID", "NOT_QUALIFIED", "INCOMPLETE", "QUALIFIED_WITH_EXCEPTIONS", "QUALIFIED"]
"""In order of weight: the first that a run deserves is its verdict."""

EXIT_CODES: dict[Word, int] = {
    "INVALID": 3, "NOT_QUALIFIED": 1, "INCOMPLETE": 5, "QUALIFIED_WITH_EXCEPTIONS": 4, "QUALIFIED": 0,
}  # fmt: skip

_BAD: frozenset[Outcome] = frozenset({"leaked", "failed", "crashed", "timeout", "oom_guard", "harness_error"})
_OWED: frozenset[Outcome] = frozenset({"interrupted", "debt"})
_UNSKIPPED = "a machine or an environment on which no test of it skips itself"

_EXCEPTIONS: frozenset[Outcome] = frozenset({"flaky", "quarantined"})
_SHOWN: frozenset[Outcome] = _BAD - {"harness_error"}
"""What an attempt showed of the release itself: a later pass does not make it unseen."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of the verdict; ``evidence`` are record ids such as ``journal:12`` and ``tests:40`` (line numbers from 1)."""

    weighs: Word
    code: str
    sentence: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CellVerdict:
    """What became of one cell of the plan, by its last attempt, which makes no failure before it unseen: one that passes after it
    is ``flaky``, and one that is owed leaves the cell with the failure.
    """

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
    record = _Record.sorted_by_cell(events, lines)
    cells = tuple(_cell(cell.id, record) for cell in plan.cells)
    reasons = [
        *_integrity(plan, plan_sha256, events, record),
        *_weigh_cells(plan, cells),
        *_requirements(plan, cells),
        *_flakes(plan, cells, record),
        *_quarantine(plan, cells, record, _day(events)),
        *(Reason("QUALIFIED", "left_out", f"{each.group} has no cell: {each.reason}") for each in plan.left_out),
    ]
    order = get_args(Word)
    reasons.sort(key=lambda reason: order.index(reason.weighs))
    word: Word = reasons[0].weighs if reasons else "QUALIFIED"
    return Verdict(word, tuple(reasons), cells)


def invalid(plan: Plan, sentence: str) -> Verdict:
    """The verdict on a bundle that cannot be read as one."""
    cells = tuple(CellVerdict(cell.id, "interrupted", "the bundle is damaged", "", 0, 0, 0.0, 0, None, ()) for cell in plan.cells)
    return Verdict("INVALID", (Reason("INVALID", "damaged", sentence),), cells)


_Attempt = tuple["str | None", "int | None"]
"""Cell and number of the attempt, as test records give them."""


@dataclass(frozen=True, slots=True)
class _Record:
    """Everything that was written down, by cell, and the test records by cell and attempt."""

    events: Mapping[str, Sequence[Mapping[str, Any]]]
    lines: Mapping[_Attempt, Sequence[Line]]

    @staticmethod
    def sorted_by_cell(events: Sequence[Mapping[str, Any]], lines: Sequence[Line]) -> _Record:
        by_cell: dict[str, list[Mapping[str, Any]]] = {}
        for event in events:
            if "cell" in event:
                by_cell.setdefault(event["cell"], []).append(event)
        by_attempt: dict[_Attempt, list[Line]] = {}
        for line in lines:
            by_attempt.setdefault((line[1].get("cell"), line[1].get("attempt")), []).append(line)
        return _Record(by_cell, by_attempt)


def _cell(cell: str, record: _Record) -> CellVerdict:
    """A gate that was closed later takes nothing back: attempts count before refusals."""
    of_cell = record.events.get(cell, ())
    tried = [event for event in of_cell if event["event"] != "cell_gated"]
    attempts = sum(event["event"] == "cell_started" for event in tried)
    recorded = len(record.lines.get((cell, attempts), ()))
    last: Mapping[str, Any] = (tried or of_cell or [{"event": "nothing"}])[-1]

    def became(outcome: Outcome, reason: str, pays: str = "") -> CellVerdict:
        return CellVerdict(
            cell=cell,
            outcome=outcome,
            reason=reason,
            pays=pays,
            attempts=attempts,
            tests=recorded,
            duration_s=last.get("duration_s", 0.0),
            peak_bytes=last.get("peak_bytes", 0),
            log=last.get("log"),
            evidence=tuple(_evidence(event) for event in of_cell),
        )

    if last["event"] == "cell_gated":
        return became("quarantined" if last["code"] == "quarantined" else "debt", last["sentence"], last["pays"])
    if last["event"] == "nothing":
        return became("interrupted", "the run stopped before it began", "`make resume`")
    outcome, reason, pays = _ended(last, recorded)
    if failure := _unforgotten(outcome, tried[:-1]):
        so_far = f"attempt {failure['attempt']} was {failure['outcome']} ({failure['reason']}), and attempt {last['attempt']}"
        if outcome == "passed":
            return became("flaky", f"{so_far} passed with the same inputs")
        return became("flaky" if outcome == "quarantined" else failure["outcome"], f"{so_far} was {outcome} ({reason})")
    return became(outcome, reason, pays)


def _ended(last: Mapping[str, Any], recorded: int) -> tuple[Outcome, str, str]:
    """Outcome, reason, and what pays, of one attempt by itself."""
    if last["event"] == "cell_started":
        return "interrupted", f"the run stopped while it ran, after {recorded} of its tests", "`make resume`"
    return last["outcome"], last["reason"], _UNSKIPPED if last["outcome"] == "debt" else ""


def _unforgotten(outcome: Outcome, before: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The last failure among earlier attempts that one of this outcome leaves standing: a pass makes up for an error of the
    harness, and an attempt that came to nothing makes up for none.
    """
    standing = _BAD if outcome in _OWED else _SHOWN if outcome in ("passed", "quarantined") else frozenset()
    return next((event for event in reversed(before) if event.get("outcome") in standing), None)


def _integrity(plan: Plan, plan_sha256: str, events: Sequence[Mapping[str, Any]], record: _Record) -> list[Reason]:
    found = []
    day = _day(events)
    begun = [event["plan_sha256"] for event in events if event["event"] == "run_started"]
    if not events or events[0]["event"] != "run_started" or set(begun) != {plan_sha256}:
        found.append(Reason("INVALID", "plan_changed", "plan.json is not the plan that this run began with", ("journal:1",)))
    known = {cell.id: cell for cell in plan.cells}
    for cell, of_cell in record.events.items():
        if cell not in known:
            evidence = tuple(_evidence(event) for event in of_cell)
            found.append(Reason("INVALID", "unplanned_cell", f"{cell} ran and is not in the plan", evidence))
        covering = [entry for entry in plan.quarantine if cell in known and entry.covers(known[cell].names)]
        found += _attempts(cell, of_cell, record, covering)
        kept = [event for event in of_cell if event["event"] == "cell_gated" and event["code"] == "quarantined"]
        if kept and not any(entry.test is None and not entry.expired(day) for entry in covering):
            sentence = f"{cell} was kept from running by a quarantine that the plan does not have"
            found.append(Reason("INVALID", "quarantine_unplanned", sentence, tuple(map(_evidence, kept))))
    started = {(event["cell"], event["attempt"]) for event in events if event["event"] == "cell_started"}
    strangers = [f"tests:{number}" for attempt, of in record.lines.items() if attempt not in started for number, _, _ in of]
    if strangers:
        sentence = f"{len(strangers)} test records belong to nothing that the journal saw begin"
        found.append(Reason("INVALID", "unplanned_record", sentence, tuple(strangers)))
    return found


def _attempts(
    cell: str, events: Sequence[Mapping[str, Any]], record: _Record, quarantine: Sequence[Quarantined]
) -> Iterator[Reason]:
    """Attempts count up from 1, each ends at most once, and ends as its test records say."""
    attempts, running = 0, False
    for event in events:
        if event["event"] == "cell_gated":
            continue
        starts = event["event"] == "cell_started"
        attempts += starts
        if event["attempt"] != attempts or not (starts or running):
            sentence = f"attempt {event['attempt']} of {cell} does not follow from what was written before it"
            yield Reason("INVALID", "attempts_disordered", sentence, (_evidence(event),))
        running = starts
        if starts:
            continue
        lines = record.lines.get((cell, event["attempt"]), ())
        if len(lines) != event["tests"]["recorded"] or records.digest(raw for _, _, raw in lines) != event["tests"]["sha256"]:
            sentence = f"the test records of {cell} are not those that the journal remembers"
            yield Reason("INVALID", "records_changed", sentence, (_evidence(event),))
        elif event["outcome"] in _PROVEN and not _is_shown(event, [each for _, each, _ in lines], quarantine):
            sentence = f"{cell} is said to have {_PROVEN[event['outcome']]}, and its test records do not show that"
            yield Reason("INVALID", "pass_unproven", sentence, (_evidence(event), *(f"tests:{number}" for number, _, _ in lines)))


_PROVEN: dict[Outcome, str] = {
    "passed": "passed",
    "flaky": "passed when it was run again",
    "quarantined": "failed in quarantine only",
}


def _is_shown(event: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], quarantine: Sequence[Quarantined]) -> bool:
    """Whether every collected test is there, and passed in the way that the outcome says."""
    if not lines or len(lines) != event["tests"]["collected"]:
        return False
    others = [line for line in lines if line["outcome"] != "passed"]
    excused = all(line["outcome"] == "failed" and any(each.excuses(line["test"]) for each in quarantine) for line in others)
    again = any("reruns" in line for line in lines)
    return {"passed": not others and not again, "flaky": excused and again, "quarantined": excused and bool(others)}[
        event["outcome"]
    ]


def _day(events: Sequence[Mapping[str, Any]]) -> str:
    """The day on which the run began, on which its quarantine was looked up."""
    return str(events[0]["at"])[:10] if events else ""


def _evidence(event: Mapping[str, Any]) -> str:
    return f"journal:{event['seq'] + 1}"


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


def _flakes(plan: Plan, cells: Sequence[CellVerdict], record: _Record) -> Iterator[Reason]:
    """A budget is for tests; a cell that is flaky over its attempts counts as one."""
    flaky = [cell for cell in cells if cell.outcome == "flaky"]
    again = {
        cell.cell: sum("reruns" in each for _, each, _ in record.lines.get((cell.cell, cell.attempts), ())) for cell in flaky
    }
    total = sum(max(1, tests) for tests in again.values())
    if total > plan.required.flaky:
        sentence = f"{total} passed only when run again, and the matrix allows {plan.required.flaky}"
        yield Reason("NOT_QUALIFIED", "flaky_budget", sentence, tuple(each for cell in flaky for each in cell.evidence))


def _quarantine(plan: Plan, cells: Sequence[CellVerdict], record: _Record, day: str) -> Iterator[Reason]:
    """An entry that is over, by its date or because what it excuses passes again, must go."""
    names = {cell.id: cell.names for cell in plan.cells}
    for entry in plan.quarantine:
        if entry.expired(day):
            yield Reason("NOT_QUALIFIED", "quarantine_expired", f"no longer excused: {entry}")
        lines = [
            line
            for cell in cells
            if entry.covers(names[cell.cell])
            for line in record.lines.get((cell.cell, cell.attempts), ())
            if entry.excuses(line[1]["test"])
        ]
        if lines and all(each["outcome"] == "passed" for _, each, _ in lines):
            evidence = tuple(f"tests:{number}" for number, _, _ in lines)
            yield Reason("NOT_QUALIFIED", "quarantine_over", f"passes again, so take it out of quarantine: {entry}", evidence)


def _requirements(plan: Plan, cells: Sequence[CellVerdict]) -> list[Reason]:
    passed = {cell.cell for cell in cells if cell.outcome in ("passed", "flaky")}
    proven = [cell for cell in plan.cells if cell.id in passed]
    found = []
    if not plan.cells:
        found.append(Reason("INCOMPLETE", "empty_plan", "the plan has no cell, so nothing was shown"))
    for group in plan.required.groups:
        if not any(cell.group == group for cell in plan.cells):
            sentence = f"the group {group} has no cell in this plan: the portfolio holds no model for it"
            found.append(Reason("INCOMPLETE", "empty_group", sentence))
    for python in plan.required.pythons:
        if not any(cell.python == python for cell in proven):
            found.append(Reason("INCOMPLETE", "python_unproven", f"no cell passed on Python {python}"))
    for tier in plan.required.tiers:
        anywhere = tier == plan.tier and not any(cell.tier for cell in plan.cells)
        if not any(cell.tier == tier or anywhere for cell in proven):
            found.append(Reason("INCOMPLETE", "tier_unproven", f"no cell passed on a {tier} machine"))
    for modality, least in plan.required.families:
        families = {cell.model.family for cell in proven if cell.model and not cell.metrics and cell.model.modality == modality}
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
