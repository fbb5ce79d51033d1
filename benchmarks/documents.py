"""Puts a run's table into ``docs/performance.md``, between the marks that are there for it; all other text is left alone."""

from __future__ import annotations

from pathlib import Path


def replace_part(document: Path, part: str, text: str) -> None:
    """What stands between ``<!-- part -->`` and ``<!-- /part -->`` becomes ``text``. Raises ``ValueError`` without the marks."""
    before, opening, rest = document.read_text(encoding="utf-8").partition(f"<!-- {part} -->\n")
    _, closing, after = rest.partition(f"<!-- /{part} -->\n")
    if not opening or not closing:
        raise ValueError(f"{document} has no part {part!r}: put <!-- {part} --> and <!-- /{part} --> on lines of their own")
    document.write_text(f"{before}{opening}{text.rstrip()}\n{closing}{after}", encoding="utf-8")
