"""Draws the ratios of a run: one line for each figure, its interval, and the bar that it must not cross."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from figures import Row

MET, MISSED, UNJUDGED = "#2a7f4f", "#c0392b", "#5b6770"


def draw(rows: Sequence[Row], path: Path, described: str) -> None:
    """Writes ``path`` (.svg, .png or .pdf by its ending), with ratios on a logarithmic scale. Needs matplotlib."""
    from matplotlib import pyplot, rcParams  # noqa: PLC0415 - takes half a second

    rcParams["svg.hashsalt"] = "mlxk"
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.34 * len(rows)), layout="constrained")
    for height, row in enumerate(reversed(rows)):
        _draw_row(axes, height, row)
    axes.axvline(1.0, color=UNJUDGED, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{row.what}\n/ {row.reference}" for row in reversed(rows)], fontsize=6.5)
    axes.set_xscale("log")
    for kind in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        kind(lambda value, _position: f"{value:g}")
    axes.set_xlabel("ours to the reference, as a ratio; the tick is the bar")
    axes.set_title(described.splitlines()[0], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _draw_row(axes: object, height: int, row: Row) -> None:
    colour = {None: UNJUDGED, True: MET, False: MISSED}[row.met]
    if row.interval:
        axes.plot(row.interval, [height, height], color=colour, linewidth=2, alpha=0.5)  # type: ignore[attr-defined]
    axes.plot([row.ratio], [height], "o", color=colour, markersize=4)  # type: ignore[attr-defined]
    limit = _as_ratio(row)
    if limit:
        axes.plot([limit], [height], "|", color="black", markersize=10)  # type: ignore[attr-defined]


def _as_ratio(row: Row) -> float | None:
    """Where a bar lies on the scale of ratios: one on the figure itself, or on the difference, is put beside the reference."""
    if row.bar is None or row.reference_figure <= 0:
        return None
    if row.bar.of == "ratio":
        return row.bar.limit
    limit = row.bar.limit + (row.reference_figure if row.bar.of == "difference" else 0)
    return limit / row.reference_figure
