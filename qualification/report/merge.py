"""One bundle of the runs of several machines: each pays the debt of the others, and every attempt is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qualification import bundle, journal, plan, records
from qualification.bundle import Bundle
from qualification.errors import UsageError
from qualification.plan import Cell, Plan
from qualification.report import derived
from qualification.report import run as runs
from qualification.report.run import Run

_Source = tuple[Bundle, Run]


def write(sources: Sequence[_Source], root: Path) -> tuple[Run, str]:
    """Makes a bundle at ``root``, whole or not at all; its run and its seal.

    Raises UsageError where the runs do not answer the same question.

    Events and records keep their times and the name of their run; attempts at one cell are counted through, in the order of
    the runs. The seal of each bundle is in the journal, so that whoever has the original can tell that it is this one.
    """
    if root.exists():
        raise UsageError(f"{root} is there already; name a directory that is not")
    ordered = sorted(sources, key=lambda source: (source[1].began, source[1].id))
    frozen = plan.freeze(_merged_plan([run for _, run in ordered]))
    merged = Bundle(root.absolute())
    try:
        merged.logs.mkdir(parents=True)
        _fill(merged, frozen, ordered)
        judged = runs.judge(merged)
        return judged, derived.write(merged, judged)
    except OSError as error:
        shutil.rmtree(root, ignore_errors=True)
        raise UsageError(f"{error.filename or root} cannot be written: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(root)
        raise


def _fill(merged: Bundle, frozen: bytes, ordered: Sequence[_Source]) -> None:
    merged.plan.write_bytes(frozen)
    machines = {"machines": [machine for _, run in ordered for machine in run.machines]}
    merged.machine.write_text(json.dumps(machines, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    first = ordered[0][1].began
    started = {"run": merged.run_id, "plan_sha256": hashlib.sha256(frozen).hexdigest()}
    journal.append(merged.journal, "run_started", at=first, **started)
    attempts: Counter[str] = Counter()
    for source, run in ordered:
        _add(merged, source, run, attempts)


def _merged_plan(runs: Sequence[Run]) -> Plan:
    """The first plan with the cells of all. Raises UsageError where inputs or requirements differ, or a cell has two meanings."""
    first = runs[0].plan
    cells: dict[str, Cell] = {}
    for run in runs:
        for fact in ("matrix", "inputs", "required", "tiers", "quarantine", "left_out"):
            if getattr(run.plan, fact) != getattr(first, fact):
                raise UsageError(f"{run.id} and {runs[0].id} differ in their {fact}: one cannot pay the debt of the other")
        for cell in run.plan.cells:
            if cells.setdefault(cell.id, cell) != cell:
                raise UsageError(f"{run.id} and an earlier bundle mean different things by {cell.id}")
    if len({bundle.slug(run.id) for run in runs}) < len(runs):
        raise UsageError("one bundle is named twice; name each once")
    return replace(first, cells=tuple(cells.values()))


def _add(merged: Bundle, source: Bundle, run: Run, attempts: Counter[str]) -> None:
    """Appends one run. Its attempt n at a cell becomes n plus what ``attempts`` counts of that cell, which it then counts too."""
    before = attempts.copy()
    seal = hashlib.sha256(source.manifest.read_bytes()).hexdigest()
    journal.append(merged.journal, "bundle_merged", run=run.id, manifest_sha256=seal)
    digests = _add_records(merged, run, before)
    _add_logs(merged, source, run, before)
    for event in run.events:
        facts = {key: value for key, value in event.items() if key not in ("seq", "prev", "sha256", "event")}
        if event["event"] in ("run_started", "bundle_merged"):
            continue
        if "attempt" in event:
            facts["attempt"] = before[event["cell"]] + event["attempt"]
            attempts[event["cell"]] = max(attempts[event["cell"]], facts["attempt"])
        if event["event"] == "cell_finished":
            facts["log"] = _add_log(merged, source, event, facts["attempt"])
            facts["tests"] = {**event["tests"], "sha256": records.digest(digests.get((event["cell"], facts["attempt"]), []))}
        journal.append(merged.journal, event["event"], **facts)
    if source.memory.exists():
        with merged.memory.open("ab") as file:
            file.write(source.memory.read_bytes())


def _add_records(merged: Bundle, run: Run, before: Mapping[str, int]) -> dict[tuple[str, int], list[bytes]]:
    """Writes the run's records under their new attempts; their lines, by cell and attempt."""
    lines: dict[tuple[str, int], list[bytes]] = {}
    with merged.tests.open("ab") as file:
        for record in run.records:
            moved: dict[str, Any] = {**record, "attempt": before[record["cell"]] + record["attempt"]}
            line = records.encode(moved)
            file.write(line)
            lines.setdefault((moved["cell"], moved["attempt"]), []).append(line)
    return lines


def _add_logs(merged: Bundle, source: Bundle, run: Run, before: Mapping[str, int]) -> None:
    """All that is among the logs: under its new attempt, where it is of one; else under the name of its run."""
    moves = {file: merged.logs / f"{bundle.slug(run.id)}.{file.name}" for file in source.logs.glob("*") if file.is_file()}
    for event in run.events:
        if event["event"] == "cell_started":
            cell, attempt = event["cell"], event["attempt"]
            moved = before[cell] + attempt
            for document in source.logs.glob(source.document(cell, attempt, "*.json").name):
                name = document.name.removeprefix(source.document(cell, attempt, "").name)
                moves[document] = merged.document(cell, moved, name)
            if source.log(cell, attempt) in moves:
                moves[source.log(cell, attempt)] = merged.log(cell, moved)
        if event["event"] == "cell_finished":
            moves.pop(source.root / event["log"], None)  # added with its event, which names it
    for file, target in moves.items():
        shutil.copyfile(file, target)


def _add_log(merged: Bundle, source: Bundle, event: Mapping[str, Any], attempt: int) -> str:
    log = merged.log(event["cell"], attempt)
    if (source.root / event["log"]).is_file():
        shutil.copyfile(source.root / event["log"], log)
    return log.relative_to(merged.root).as_posix()
