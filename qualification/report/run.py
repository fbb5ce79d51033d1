"""A run as its bundle tells it: judged once, and what every derived file is a function of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qualification import bundle, journal, records, schemas, verdict
from qualification.bundle import Bundle
from qualification.errors import BundleError
from qualification.plan import Plan
from qualification.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Run:
    """``began`` is an ISO time; ``machines`` are those it ran on, ``records`` and ``samples`` of memory in the order written.

    ``sealed`` is False where the bundle is not what was sealed, so that nothing may vouch for it again.
    """

    id: str
    began: str
    plan: Plan
    verdict: Verdict
    machines: tuple[Mapping[str, Any], ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    sealed: bool = True


def judge(found: Bundle) -> Run:
    """Seals the bundle, or checks its seal, and judges it; a bundle that was damaged has the verdict INVALID and no more."""
    planned = bundle.load_plan(found)
    try:
        bundle.seal(found)
        return _judged(found, planned)
    except BundleError as error:
        return Run(found.run_id, "unknown", planned, verdict.invalid(planned, str(error)), sealed=False)


def load(found: Bundle) -> Run:
    """The same of a bundle that is sealed, writing nothing. Raises BundleError where it is damaged."""
    return _judged(found, bundle.load_plan(found))


def _judged(found: Bundle, planned: Plan) -> Run:
    machines = _machines(found.machine)
    events = journal.read(found.journal)
    lines = records.read(found.tests)
    judged = verdict.judge(planned, hashlib.sha256(found.plan.read_bytes()).hexdigest(), events, lines)
    first = events[0] if events else {}
    return Run(
        id=first.get("run", found.run_id),
        began=first.get("at", "unknown"),
        plan=planned,
        verdict=judged,
        machines=machines,
        records=tuple(record for _, record, _ in lines),
        samples=_samples(found.memory),
        events=tuple(events),
    )


def _machines(path: Path) -> tuple[Mapping[str, Any], ...]:
    """One, or those of all bundles that were merged. Raises BundleError where the file does not say."""
    try:
        document = schemas.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"machine.json cannot be read ({error}); the bundle was damaged") from error
    wrong = schemas.violations("machine", document)
    if wrong:
        raise BundleError(f"machine.json does not follow its schema: {wrong[0]}")
    return tuple(document.get("machines", [document]))


def _samples(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Every whole sample; a kill may cut the last one short, and whoever writes next goes on in its line."""
    samples = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            sample = schemas.parse(line)
        except ValueError:
            continue
        if (
            isinstance(sample, dict)
            and isinstance(sample.get("cell"), str)
            and all(_is_figure(sample.get(key)) for key in _FIGURES)
        ):
            samples.append(sample)
    return tuple(samples)


_FIGURES = ("ts", "tree_bytes")
_MOST = 1e15
"""Seconds since 1970, or bytes: whatever is beyond was measured by nobody."""


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < _MOST
