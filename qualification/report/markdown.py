"""The verdict as GitHub-flavoured Markdown, short enough for ``$GITHUB_STEP_SUMMARY``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from qualification.report.run import Run
from qualification.units import format_bytes, format_seconds

_LISTED = 50
_SIGNS = {"QUALIFIED": "✅", "QUALIFIED_WITH_EXCEPTIONS": "⚠️", "INCOMPLETE": "⏳", "NOT_QUALIFIED": "❌", "INVALID": "⛔"}


def render(run: Run) -> str:
    """A heading, the reasons, and every cell; what is cut off for length is counted."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: Run) -> Iterator[str]:
    counts = ", ".join(f"{number} {outcome}" for outcome, number in run.verdict.counts.items()) or "no cells"
    yield f"## {_SIGNS[run.verdict.word]} {run.verdict.word}"
    yield ""
    subject = f"{text(run.plan.inputs.wheel or 'the installed package')}, matrix **{text(run.plan.matrix)}**"
    yield f"{subject}, tier {text(run.plan.tier)}: {counts}, {len(run.records)} tests."
    yield ""
    reasons = run.verdict.reasons
    for reason in reasons[:_LISTED]:
        evidence = f" ({', '.join(reason.evidence[:3])})" if reason.evidence else ""
        yield f"- **{reason.weighs}** {text(reason.code)}: {text(reason.sentence)}{evidence}"
    if len(reasons) > _LISTED:
        yield f"- and {len(reasons) - _LISTED} more"
    yield from [""] if reasons else []
    yield "| cell | outcome | tests | time | peak memory |"
    yield "|---|---|--:|--:|--:|"
    for cell in run.verdict.cells[:_LISTED]:
        yield (
            f"| {text(cell.cell)} | {cell.outcome} | {cell.tests} | {format_seconds(cell.duration_s)} "
            f"| {format_bytes(cell.peak_bytes) if cell.peak_bytes else '–'} |"
        )
    if len(run.verdict.cells) > _LISTED:
        yield f"| and {len(run.verdict.cells) - _LISTED} more | | | | |"


def text(raw: str) -> str:
    """``raw`` as text that is never markup: neither Markdown nor HTML, on one line."""
    line = " ".join(raw.split())
    html = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#|~!])", r"\\\1", html)
