"""Writes what follows from a judged run into its bundle, and completes the manifest with it."""

from __future__ import annotations

from qualification import bundle
from qualification.bundle import Bundle
from qualification.report import ctrf, html, junit, verdict_json
from qualification.report.run import Run


def write(found: Bundle, run: Run) -> str:
    """All derived files, the verdict last, so that whoever sees it sees all; the manifest's sha256, which seals the bundle."""
    bundle.write_atomically(found.index, html.render(run))
    bundle.write_atomically(found.junit, junit.render(run))
    bundle.write_atomically(found.ctrf, ctrf.render(run))
    bundle.write_atomically(found.verdict, verdict_json.render(run))
    return bundle.cover(found) if run.sealed else ""
