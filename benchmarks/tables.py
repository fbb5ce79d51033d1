"""Rows as people read them: a table for the terminal and one for Markdown, from the same cells."""

from __future__ import annotations

from collections.abc import Sequence

from figures import Row

HEADER = ("figure", "ours", "reference", "its figure", "ratio", "bar", "")


def for_terminal(rows: Sequence[Row]) -> str:
    lines = [HEADER, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def for_markdown(rows: Sequence[Row]) -> str:
    lines = [HEADER, ("---",) * len(HEADER), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def amount(value: float, unit: str) -> str:
    """Three digits that count, and the unit: ``0.0123 s``, ``12.3 ms``, ``1,234 MB``."""
    digits = max(0, 3 - len(str(int(abs(value))))) if abs(value) >= 1 else 4 if abs(value) < 0.1 else 3
    return f"{value:,.{digits}f} {unit}"


def _cells(row: Row) -> tuple[str, ...]:
    mark = {None: "", True: "met", False: "MISSED"}[row.met]
    return (
        row.what,
        amount(row.figure, row.unit),
        row.reference,
        amount(row.reference_figure, row.unit),
        _ratio(row),
        _bar(row),
        mark,
    )


def _ratio(row: Row) -> str:
    """``1.03 x [1.01, 1.05]``, without the interval where the pairs are too few for one."""
    interval = f" [{row.interval[0]:.2f}, {row.interval[1]:.2f}]" if row.interval else ""
    return f"{row.ratio:.2f} x{interval}"


def _bar(row: Row) -> str:
    if row.bar is None:
        return ""
    if row.bar.of == "ratio":
        return f"{row.bar.sense} {row.bar.limit:.3g} x"
    said = f"{row.bar.sense} {row.bar.limit:g} {row.unit}"
    return said if row.bar.of == "figure" else f"{said} more"
