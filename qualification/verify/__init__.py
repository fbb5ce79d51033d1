"""Says whether a bundle is what it claims to be, from its files alone; it shares nothing with the runner but the schemas.

``files``    every file, against the hashes of the manifest
``trail``    the journal's chain, and each test record
``account``  the verdict, derived once more from plan, journal and records
``testimony``  what records say of their run, environment and model, against the plan
``claims``   what ``verdict.json`` says, against that, and ``exports`` what the page, ``junit.xml`` and ``ctrf.json`` do
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qualification.verify import account, claims, files, testimony, trail

__all__ = ["Verified", "verify"]


@dataclass(frozen=True, slots=True)
class Verified:
    """``word`` is the verdict as derived here, None where the bundle is too damaged for one; ``seal`` is the manifest's sha256.

    Each finding is a sentence; without one the bundle is what it claims to be.
    """

    word: str | None
    findings: tuple[str, ...]
    cells: int
    records: int
    seal: str

    @property
    def holds(self) -> bool:
        return not self.findings


def verify(root: Path) -> Verified:
    """Reads every file below ``root`` and writes none. A file that is gone or cannot be read is a finding."""
    found = files.read(root)
    findings = list(found.findings)
    try:
        plan = trail.plan(found)
        trail.machine(found)
        events = trail.journal(found)
        records = trail.records(found)
    except trail.BrokenError as broken:
        return Verified(None, (*findings, str(broken)), 0, 0, found.seal)
    derived = account.derive(plan, found.sha256.get("plan.json", ""), events, records)
    findings += testimony.contradictions(plan, events, records)
    findings += claims.contradictions(found, plan, derived, events, records)
    return Verified(derived.word, tuple(findings), len(plan["cells"]), len(records), found.seal)
