"""Lays out memory over a run, in per cent: what the cells held, when each cell and its longer tests ran, and the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qualification import schemas
from qualification.report import summary
from qualification.report.run import Run
from qualification.units import format_bytes, format_seconds

COLUMNS = 960
"""So many values has the curve, however long the run is: about one for each pixel of a wide window."""
_LEAST_TEST = 0.4
"""Per cent of the run: a shorter test is no wider than a pixel or two, and is left out."""
_LEAST_CELL = 0.3
"""Cells that are thinner than this cannot be told apart."""
_FAR_ABOVE = 6
"""A budget so many times the peak would press the curve to the floor; it is told in words instead."""
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_LAST_TICK = 0.88
"""Behind it there is no room for what the tick says."""
_MOST_TESTS = 400


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell or a test: where it begins and its width, ``lane`` counted from 0, and what a pointer on it is told.

    ``kind`` is the outcome, ``label`` the cell's group and model, ``log`` where its log lies in the bundle; a test has no label.
    """

    at: float
    width: float
    lane: int
    kind: str
    about: str
    label: str = ""
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """``area`` are the points of an SVG polygon, ``columns`` wide and 100 high; all else in per cent, from the left or the top.

    ``budget_at`` is None where the budget is far above what was held.
    """

    columns: int
    area: str
    cells: tuple[Bar, ...]
    tests: tuple[Bar, ...]
    lanes: int
    budget_at: float | None
    budget: str
    peak: str
    times: tuple[tuple[float, str], ...]
    sizes: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class _Span:
    start: float
    end: float
    cell: str
    outcome: str
    log: str | None = None


def lay_out(run: Run) -> Timeline | None:
    """None where nothing was measured or nothing ran."""
    spans = _spans(run)
    if not spans or not run.samples:
        return None
    begin, end = min(span.start for span in spans), max(span.end for span in spans)
    length = max(end - begin, 1e-9)
    held = _held(run.samples, spans, begin, length)
    peak = max(held)
    budget = _budget_bytes(run)
    top = 1.15 * (max(peak, budget) if budget and budget <= _FAR_ABOVE * peak else max(peak, 1))

    def x(moment: float) -> float:
        return round(100 * (moment - begin) / length, 2)

    def y(size: float) -> float:
        return round(100 * (1 - size / top), 1)

    lanes = _lanes(spans)
    steps = [f"{index},{y(size):g}" for index, size in enumerate(held)]
    return Timeline(
        columns=COLUMNS,
        area=" ".join(["0,100", *steps, f"{COLUMNS},100"]),
        cells=tuple(_together(_cell_bars(spans, lanes, x))),
        tests=tuple(_test_bars(run, lanes, x)),
        lanes=1 + max(lanes.values()),
        budget_at=y(budget) if budget and budget <= top else None,
        budget=format_bytes(budget) if budget else "",
        peak=format_bytes(peak),
        times=tuple((x(begin + second), _clock(second)) for second in _ticks(length)),
        sizes=tuple((y(top * share), format_bytes(top * share)) for share in (0.25, 0.5, 0.75)),
    )


def _spans(run: Run) -> list[_Span]:
    """When each attempt at a cell ran; one that was cut off ends with the last thing that is known."""
    last = max((schemas.instant(event["at"]).timestamp() for event in run.events), default=0.0)
    open_: dict[str, float] = {}
    spans = []
    for event in run.events:
        moment = schemas.instant(event["at"]).timestamp()
        if event["event"] == "cell_started":
            open_[event["cell"]] = moment
        elif event["event"] == "cell_finished" and event["cell"] in open_:
            spans.append(_Span(open_.pop(event["cell"]), moment, event["cell"], event["outcome"], event["log"]))
    spans += [_Span(start, max(start, last), cell, "interrupted") for cell, start in open_.items()]
    return sorted(spans, key=lambda span: (span.start, span.end))


def _held(samples: Sequence[Mapping[str, Any]], spans: Iterable[_Span], begin: float, length: float) -> list[float]:
    """The most that all cells held together in each column."""
    changes = [(sample["ts"], sample["cell"], float(sample["tree_bytes"])) for sample in samples]
    changes += [(span.end, span.cell, 0.0) for span in spans]
    columns = [0.0] * (COLUMNS + 1)
    now: dict[str, float] = {}
    column = 0
    for moment, cell, size in sorted(changes):
        index = min(COLUMNS, max(0, int(COLUMNS * (moment - begin) / length)))
        for between in range(column + 1, index + 1):
            columns[between] = sum(now.values())
        column = max(column, index)
        now[cell] = size
        columns[column] = max(columns[column], sum(now.values()))
    return columns


def _lanes(spans: Iterable[_Span]) -> dict[_Span, int]:
    """The first lane that is free when it begins."""
    free: list[float] = []
    lanes: dict[_Span, int] = {}
    for span in spans:
        lane = next((index for index, until in enumerate(free) if until <= span.start), len(free))
        free[lane : lane + 1] = [span.end]
        lanes[span] = lane
    return lanes


def _cell_bars(spans: Iterable[_Span], lanes: Mapping[_Span, int], x: Callable[[float], float]) -> Iterator[Bar]:
    for span in spans:
        about = f"{span.cell}: {span.outcome}, {format_seconds(span.end - span.start)}"
        group, _, rest = span.cell.partition("[")
        label = f"{group} {rest.rpartition(',')[2].rstrip(']')}"
        yield Bar(x(span.start), round(x(span.end) - x(span.start), 2), lanes[span], span.outcome, about, label, span.log)


def _together(bars: Iterable[Bar]) -> Iterator[Bar]:
    """Bars that are too thin to be told apart, of one outcome and at one place, as one; what passed is drawn below the rest."""
    places: dict[tuple[object, ...], list[Bar]] = {}
    for number, bar in enumerate(bars):
        place = ("at", int(bar.at / _LEAST_CELL)) if bar.width < _LEAST_CELL else ("alone", number)
        places.setdefault((bar.lane, bar.kind, *place), []).append(bar)
    for together in sorted(places.values(), key=lambda each: each[0].kind != "passed"):
        first, last = together[0], together[-1]
        if first is last:
            yield first
        else:
            width = round(last.at + last.width - first.at, 2)
            yield Bar(first.at, width, first.lane, first.kind, f"{len(together)} cells: {first.kind}")


def _test_bars(run: Run, lanes: Mapping[_Span, int], x: Callable[[float], float]) -> Iterator[Bar]:
    by_cell: dict[str, list[_Span]] = {}
    for span in lanes:
        by_cell.setdefault(span.cell, []).append(span)
    timed = [(summary.window(record), record) for record in run.records]
    longest = sorted(((window, record) for window, record in timed if window), key=lambda each: each[0][0] - each[0][1])
    for (start, end), record in longest[:_MOST_TESTS]:
        around = [each for each in by_cell.get(record.get("cell", ""), ()) if each.start <= end and start <= each.end]
        width = round(x(end) - x(start), 2)
        if around and width >= _LEAST_TEST:
            about = f"{record['test']}: {record['outcome']}, {format_seconds(end - start)}"
            yield Bar(x(start), width, lanes[around[0]], record["outcome"], about)


def _budget_bytes(run: Run) -> float:
    """What a text model may take on this tier; 0 where the plan has no such tier."""
    tier = next((tier for tier in run.plan.tiers if tier.name == run.plan.tier), None)
    return tier.text_budget * tier.ram_bytes if tier else 0.0


def _ticks(length: float) -> Iterator[float]:
    step = next((step for step in _STEPS if length / step <= 8), _STEPS[-1])
    second = 0.0
    while second <= _LAST_TICK * length:
        yield second
        second += step


def _clock(second: float) -> str:
    """Since the run began: ``0:45``, ``12:30``, ``1:05:00``."""
    minutes, seconds = divmod(round(second), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
