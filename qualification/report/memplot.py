"""Draws what ``memmon`` sampled, with the tests of a report over it: one self-contained HTML file, PNG or SVG."""

from __future__ import annotations

import argparse
import html
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qualification import schemas
from qualification.errors import QualificationError, UsageError
from qualification.report import history, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORMATS = ("html", "png", "svg")
_OPTIONAL = ("swap_used_mb", "swap_used_bytes", "load_1", "cpu_user", "gpu_device_util", "memory_pressure")
_PLENTY_GB, _SCARCE_GB = 32, 16
_PRESSURES = {2: ("#e2a83d", "memory pressure: warning"), 4: ("#c4262e", "memory pressure: critical")}


@dataclass(frozen=True, slots=True)
class Span:
    """When one test ran, in seconds since the epoch, and its model."""

    start: float
    end: float
    label: str
    test: str


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 drawn, 1 failed, 2 usage."""
    arguments = _parser().parse_args(argv)
    output = arguments.output or Path(f"memory_timeline.{arguments.format}")
    try:
        samples = read_samples(arguments.memory)
        spans = read_spans(arguments.benchmark) if arguments.benchmark else []
        content = draw(samples, spans, arguments.title or arguments.memory.name, arguments.format)
        output.write_bytes(content)
    except QualificationError as error:
        print(f"memplot: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"memplot: {output} cannot be written: {error.strerror}", file=sys.stderr)
        return UsageError.exit_code
    print(output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="memplot", description="Draw memory over time, with the tests that ran.")
    parser.add_argument("memory", type=Path, metavar="memory.jsonl", help="what memmon wrote, or a bundle's memory.jsonl")
    parser.add_argument(
        "benchmark", type=Path, nargs="?", metavar="benchmark.jsonl", help="records of the tests that ran meanwhile"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: memory_timeline.FORMAT")
    parser.add_argument("--format", choices=_FORMATS, default="html")
    parser.add_argument("--title", metavar="T")
    return parser


def read_samples(path: Path) -> list[dict[str, Any]]:
    """Samples with ``ts`` and ``ram_free_gb``. Raises UsageError where the file has none, or one with a figure that is none."""
    try:
        lines = [schemas.parse(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON lines: {error}") from error
    samples = []
    for number, line in enumerate(lines, start=1):
        if isinstance(line, dict) and "ts" in line:
            if wrong := _wrong(line):
                raise UsageError(f"{path}:{number}: {wrong} is no figure, and each sample has ts and ram_free_gb")
            samples.append(_sample(line))
    if not samples:
        raise UsageError(f"{path} holds no sample of memory; memmon writes such a file")
    return samples


def _wrong(line: Mapping[str, Any]) -> str:
    """The first of its figures that is not a number; some may be missing, or null where the machine does not tell them."""
    required = ("ts", "available_bytes" if "available_bytes" in line else "ram_free_gb")
    optional = [key for key in _OPTIONAL if line.get(key) is not None]
    return next((key for key in (*required, *optional) if not isinstance(line.get(key), (int, float))), "")


def _sample(line: Mapping[str, Any]) -> dict[str, Any]:
    """The samples of a bundle count in bytes."""
    if "available_bytes" not in line:
        return dict(line)
    swap = {"swap_used_mb": line["swap_used_bytes"] / 1e6} if line.get("swap_used_bytes") is not None else {}
    return {**line, "ram_free_gb": line["available_bytes"] / 1e9, **swap}


def read_spans(path: Path) -> list[Span]:
    """When the tests of a report ran that used a model, or all if none did; those without a time are left out.

    Raises UsageError for a file that is no report.
    """
    spans = []
    for record in history.read(path):
        window = summary.window(record)
        if window:
            spans.append(Span(*window, record.get("model", {}).get("id", ""), record["test"]))
    return [span for span in spans if span.label] or spans


def draw(samples: Sequence[Mapping[str, Any]], spans: Sequence[Span], title: str, form: str) -> bytes:
    """The file's content. Raises UsageError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: PLC0415  (half a second, and an extra)
    except ImportError as error:
        raise UsageError('drawing needs matplotlib: pip install "mlxk[plots]"') from error
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "memplot", "text.parse_math": False}  # a dollar in a name is a dollar
    figure = _figure(samples, spans, title)
    drawn = io.BytesIO()
    metadata = {"Date": None} if form != "png" else None
    figure.savefig(drawn, format="svg" if form == "html" else form, metadata=metadata, dpi=150)
    return _page(drawn.getvalue().decode("utf-8"), samples, spans, title) if form == "html" else drawn.getvalue()


def _figure(samples: Sequence[Mapping[str, Any]], spans: Sequence[Span], title: str) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415

    begin = samples[0]["ts"]
    seconds = [sample["ts"] - begin for sample in samples]
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    memory, others = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    figure.suptitle(title)
    free = [sample["ram_free_gb"] for sample in samples]
    for low, high, color, name in _bands():
        memory.fill_between(seconds, free, where=[low <= each < high for each in free], color=color, alpha=0.35, label=name)
    memory.plot(seconds, free, color="#33415c", linewidth=1)
    memory.set_ylim(0, 1.15 * max(free) if max(free) > 0 else 1)
    memory.set_ylabel("free memory (GB)")
    _draw_pressure(memory, seconds, samples)
    _draw_spans(memory, spans, begin)
    memory.legend(loc="lower right", fontsize="small")
    for key, name, scale in (
        ("swap_used_mb", "swap (GB)", 1e-3),
        ("load_1", "load", 1),
        ("cpu_user", "CPU (of 10)", 0.1),
        ("gpu_device_util", "GPU (of 10)", 0.1),
    ):
        values = [sample.get(key) for sample in samples]
        if any(value is not None for value in values):
            others.plot(seconds, [float("nan") if value is None else value * scale for value in values], label=name, linewidth=1)
    others.set_xlabel("seconds")
    if others.lines:
        others.legend(loc="upper right", fontsize="small", ncols=4)
    return figure


def _bands() -> tuple[tuple[float, float, str, str], ...]:
    far = float("inf")
    return (
        (_PLENTY_GB, far, "#1a7f4b", f"at least {_PLENTY_GB} GB"),
        (_SCARCE_GB, _PLENTY_GB, "#e2a83d", f"{_SCARCE_GB} to {_PLENTY_GB} GB"),
        (-far, _SCARCE_GB, "#c4262e", f"below {_SCARCE_GB} GB"),
    )


def _draw_pressure(axes: Axes, seconds: Sequence[float], samples: Sequence[Mapping[str, Any]]) -> None:
    for level, (color, name) in _PRESSURES.items():
        where = [sample.get("memory_pressure") == level for sample in samples]
        if any(where):
            axes.fill_between(
                seconds, 0, 1, where=where, transform=axes.get_xaxis_transform(), color=color, alpha=0.15, label=name
            )


def _draw_spans(axes: Axes, spans: Sequence[Span], begin: float) -> None:
    """Each test as a region; tests of one model that follow each other have its name in common."""
    for span in spans:
        axes.axvspan(span.start - begin, span.end - begin, facecolor="#0b5cad", edgecolor="#0b5cad", alpha=0.08)
    for model, group in groupby(sorted(spans, key=lambda span: span.start), lambda span: span.label):
        together = list(group)
        middle = (together[0].start + max(span.end for span in together)) / 2 - begin
        name = model.rpartition("/")[2]
        axes.text(middle, 0.98, name, transform=axes.get_xaxis_transform(), va="top", ha="center", fontsize=8)


def _page(svg: str, samples: Sequence[Mapping[str, Any]], spans: Sequence[Span], title: str) -> bytes:
    """The drawing and, in words, every test with the least memory that was free in it."""
    rows = "".join(_row(span, samples) for span in spans)
    table = f"<table><tr><th>test<th>model<th>start<th>seconds<th>least free (GB)</tr>{rows}</table>" if spans else ""
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:80rem;padding:0 1rem;background:#fff;color:#1d1f23}"
        "svg{width:100%;height:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}"
        "td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #e3e4e8}"
    )
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{style}</style>'
    return f"{head}{svg[svg.index('<svg') :]}{table}</html>\n".encode()


def _row(span: Span, samples: Sequence[Mapping[str, Any]]) -> str:
    inside = [sample["ram_free_gb"] for sample in samples if span.start <= sample["ts"] <= span.end]
    least = f"{min(inside):.2f}" if inside else "no sample"
    begun = f"{span.start - samples[0]['ts']:.1f}"
    cells = (span.test, span.label, begun, f"{span.end - span.start:.1f}", least)
    return "<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) + "</tr>"
