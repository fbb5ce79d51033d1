"""Writes a benchmark report in Markdown from test records of any schema version, beside an earlier one and samples of memory."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from statistics import mean, median
from typing import Any

from qualification import bundle
from qualification.errors import QualificationError, UsageError
from qualification.report import history, keeping, memplot, summary
from qualification.report.markdown import text
from qualification.report.summary import ModelRow

_SHORTEST_S = 0.5
"""A shorter test says nothing of a model, and is left out of statistics."""
_SLOWER, _FASTER = 0.05, -0.01
_LITTLE_FREE_GB = 5
_TINY_GB = 0.1
_CATEGORIES = ((20, float("inf"), "Large (≥ 20 GB)"), (10, 20, "Medium (10–20 GB)"), (0, 10, "Small (< 10 GB)"))
_BUSY_GPU, _COLD_ROWS, _BUSY_ROWS = 50, 15, 10

_Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Records of now and, where there are any, of before; samples of memory taken while the tests of now ran."""

    path: Path
    records: Sequence[_Record]
    old_path: Path | None
    old: Sequence[_Record]
    memory_path: Path | None
    samples: Sequence[Mapping[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 written, 2 usage."""
    arguments = _parser().parse_args(argv)
    try:
        inputs = _read(arguments)
        output = arguments.output or arguments.input.parent / _name(inputs.records)
        bundle.write_atomically(output, render(inputs))
    except QualificationError as error:
        print(f"generate_benchmark_report: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"generate_benchmark_report: {error.filename} cannot be written: {error.strerror}", file=sys.stderr)
        return UsageError.exit_code
    print(output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="generate_benchmark_report", description="Write a benchmark report in Markdown.")
    parser.add_argument("input", type=Path, nargs="?", help="JSONL, or a bundle (default: the last file in benchmarks/reports)")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="an earlier file of records")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: BENCHMARK-v1.1-VERSION-DATE.md beside the input")
    parser.add_argument(
        "--memory", type=Path, metavar="FILE", help='samples of memory (default: the input with "benchmark" as "memory")'
    )
    return parser


def _read(arguments: argparse.Namespace) -> Inputs:
    if arguments.input is None:
        found = [path for path in sorted(keeping.FOLDER.glob("*.jsonl")) if not is_memory(path)]
        if not found:
            raise UsageError(f"there is no report in {keeping.FOLDER}; name a file")
        arguments.input = found[-1]
    if arguments.input.is_file() and is_memory(arguments.input):
        raise UsageError(f"{arguments.input} holds samples of memory and no records; give it with --memory")
    records = history.read(arguments.input)
    if not records:
        raise UsageError(f"{arguments.input} holds no record")
    memory = arguments.memory or _guessed_memory(arguments.input)
    return Inputs(
        arguments.input,
        records,
        arguments.compare,
        history.read(arguments.compare) if arguments.compare else [],
        memory,
        memplot.read_samples(memory) if memory else [],
    )


def _guessed_memory(path: Path) -> Path | None:
    """A bundle's own samples, else the file of the same name with ``memory`` for ``benchmark``."""
    guess = path / "memory.jsonl" if path.is_dir() else path.with_name(path.name.replace("benchmark", "memory"))
    return guess if guess != path and guess.is_file() else None


def is_memory(path: Path) -> bool:
    """Whether the first line is one of memmon's or of a bundle's samples."""
    with path.open(encoding="utf-8", errors="replace") as file:
        try:
            first = json.loads(file.readline() or "null")
        except ValueError:
            return False
    return isinstance(first, dict) and "ts" in first and ("ram_free_gb" in first or "available_bytes" in first)


def _name(records: Sequence[_Record]) -> str:
    day = max(record["timestamp"] for record in records)[:10]
    return f"BENCHMARK-v1.1-{records[-1]['mlx_knife_version']}-{day}.md"


def render(inputs: Inputs) -> str:
    """The report's text; what was not measured is said to be unknown, and nothing is guessed."""
    parts = [
        _title(inputs),
        _files(inputs),
        _executive(inputs),
        _tests(inputs.records),
        _health(inputs.records),
        _models(inputs),
        _categories(inputs.records),
        _per_test(inputs),
        _gpu(inputs),
        _end(inputs),
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _title(inputs: Inputs) -> Iterator[str]:
    versions = ", ".join(sorted({record["mlx_knife_version"] for record in inputs.records}))
    written = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    system: Mapping[str, Any] = next((record["system"] for record in inputs.records if "system" in record), {})
    yield f"# Benchmark report: mlxk {text(versions)}"
    yield ""
    yield f"Written {written}."
    chip = system.get("hardware_profile", {}).get("chip") or system.get("hardware", "unknown hardware")
    ram = f"{system['ram_total_gb']:.0f} GB" if "ram_total_gb" in system else "unknown memory"
    libraries = f"MLX {text(system.get('mlx_version', 'unknown'))}, Python {text(system.get('python_version', 'unknown'))}"
    yield f"Machine: {text(str(chip))}, {ram}; {libraries}."


def _files(inputs: Inputs) -> Iterator[str]:
    yield "## Input files"
    yield ""
    yield f"- records: `{inputs.path.name}`, {len(inputs.records)} tests"
    if inputs.old_path:
        yield f"- compared with: `{inputs.old_path.name}`, {len(inputs.old)} tests"
    yield f"- memory: `{inputs.memory_path.name}`, {len(inputs.samples)} samples" if inputs.memory_path else "- memory: none"


def _executive(inputs: Inputs) -> Iterator[str]:
    records = inputs.records
    known = [record["system_health"] for record in records if "system_health" in record]
    clean = sum(health.get("quality_flags") == ["clean"] for health in known)
    quality = f"{100 * clean / len(known):.0f} % of {len(known)} tests on a clean machine" if known else "unknown"
    yield "## Executive summary"
    yield ""
    yield f"- Tests: {len(records)}, {sum(record['outcome'] == 'passed' for record in records)} passed"
    yield f"- Duration: {_total(records) / 60:.1f} min"
    yield f"- Quality: {quality}"
    yield f"- Models: {len({record['model']['id'] for record in records if 'model' in record})}"
    if inputs.old:
        changes = [change for _, change in _changes(inputs) if change is not None]
        slower, faster = sum(change > _SLOWER for change in changes), sum(change < _FASTER for change in changes)
        minutes = f"{_total(inputs.old) / 60:.1f} → {_total(records) / 60:.1f} min"
        yield f"- Comparison: {minutes}; {slower} models slower, {faster} faster, of {len(changes)} in both"
    flags = Counter(flag for health in known for flag in health.get("quality_flags", ()) if flag != "clean")
    told = ", ".join(f"{flag} in {count} tests" for flag, count in flags.most_common()) or "nothing degraded"
    yield f"- System health: {told if known else 'unknown'}"


def _tests(records: Sequence[_Record]) -> Iterator[str]:
    counts = Counter(record["outcome"] for record in records)
    yield "## Test summary"
    yield ""
    yield from _table(
        ("outcome", "tests", "share"),
        ((name, count, f"{100 * count / len(records):.1f} %") for name, count in sorted(counts.items())),
    )


_DEGRADED: dict[str, tuple[str, Callable[[float], bool]]] = {
    "swap_used_mb": ("swap (MB)", lambda megabytes: megabytes > 100),
    "ram_free_gb": ("free memory (GB)", lambda gigabytes: gigabytes < _LITTLE_FREE_GB),
    "zombie_processes": ("zombies", lambda count: count > 0),
}
"""What degrades a measurement, by the rules of thumb of earlier reports."""


def _health(records: Sequence[_Record]) -> Iterator[str]:
    yield "## System health"
    yield ""
    known = [record["system_health"] for record in records if "system_health" in record]
    rows = []
    for key, (name, bad) in _DEGRADED.items():
        values = [health[key] for health in known if key in health]
        if values:
            degraded = sum(bad(value) for value in values)
            rows.append((name, f"{min(values):.1f}", f"{mean(values):.1f}", f"{max(values):.1f}", f"{degraded} of {len(values)}"))
    yield from _table(("figure", "least", "mean", "most", "degraded tests"), rows) if rows else ["No record tells of it."]


def _models(inputs: Inputs) -> Iterator[str]:
    yield "## Per-model statistics"
    yield ""
    compared = bool(inputs.old)
    head = ("model", "size", "mode", "tests", "time", "RAM (GB)", *(("old", "Δ", "change") if compared else ()))
    old = {(row.model, row.mode): row for row in summary.model_rows(_counted(inputs.old))}
    rows = []
    for row, change in _changes(inputs):
        before = old.get((row.model, row.mode))
        cells: tuple[object, ...] = (
            text(row.model),
            _size(row.size_gb),
            row.mode,
            row.tests,
            f"{row.seconds:.1f} s",
            _ram(row, inputs),
        )
        if compared and before and change is not None:
            mark = " 🔺" if change > _SLOWER else " 🔽" if change < _FASTER else ""
            cells = (*cells, f"{before.seconds:.1f} s", f"{row.seconds - before.seconds:+.1f} s", f"{100 * change:+.1f} %{mark}")
        elif compared:
            cells = (*cells, "–", "–", "new" if before is None else "other tests")
        rows.append(cells)
    yield from _table(head, rows) if rows else ["No test used a model."]


def _changes(inputs: Inputs) -> list[tuple[ModelRow, float | None]]:
    """Each model's row, and by how much its tests take longer than before: over those that passed on both sides, else None."""
    before = _durations(inputs.old)
    after = _durations(inputs.records)
    changes = []
    for row in summary.model_rows(_counted(inputs.records)):
        common = [key for key in after if key in before and key[:2] == (row.model, row.mode)]
        spent = sum(before[key] for key in common)
        changes.append((row, sum(after[key] for key in common) / spent - 1 if spent else None))
    return changes


def _durations(records: Sequence[_Record]) -> dict[tuple[str, str, str], float]:
    """Seconds of each passed test by model, modality and name."""
    return {
        (record["model"]["id"], summary.modality(record), record["test"]): record["duration"]
        for record in _counted(records)
        if "model" in record and record["outcome"] == "passed"
    }


def _categories(records: Sequence[_Record]) -> Iterator[str]:
    yield "## Model categories"
    yield ""
    rows = []
    models = summary.model_rows(_counted(records))
    for low, high, name in _CATEGORIES:
        inside = [row for row in models if row.size_gb is not None and low <= row.size_gb < high]
        for mode, group in groupby(sorted(inside, key=lambda row: row.mode), lambda row: row.mode):
            of_mode = list(group)
            tests = sum(row.tests for row in of_mode)
            rows.append((name, mode, len(of_mode), tests, f"{sum(row.seconds for row in of_mode) / tests:.1f} s"))
    yield from _table(("category", "mode", "models", "tests", "mean time of a test"), rows) if rows else ["No size is known."]


def _per_test(inputs: Inputs) -> Iterator[str]:
    yield "## Per-test statistics"
    yield ""
    old = {name: median(record["duration"] for record in group) for name, group in _by_test(inputs.old)}
    rows = []
    for name, group in _by_test(inputs.records):
        times = [(record["duration"], record["model"]["id"]) for record in group]
        fastest, slowest = min(times), max(times)
        row = (f"`{name}`", len(times), _timed(fastest), _timed(slowest), f"{median(seconds for seconds, _ in times):.1f} s")
        rows.append((*row, f"{old[name]:.1f} s" if name in old else "–") if inputs.old else row)
    head = ("test", "models", "fastest", "slowest", "median", *(("old median",) if inputs.old else ()))
    yield from _table(head, rows) if rows else ["No test used a model."]


def _by_test(records: Sequence[_Record]) -> list[tuple[str, list[_Record]]]:
    """Records with a model by the test's name without parameters, in order."""
    named = [(record["test"].partition("[")[0].rpartition("::")[2], record) for record in _counted(records) if "model" in record]
    named.sort(key=lambda each: each[0])
    return [(name, [record for _, record in group]) for name, group in groupby(named, lambda each: each[0])]


def _timed(timed: tuple[float, str]) -> str:
    return f"{timed[0]:.1f} s ({text(timed[1].rpartition('/')[2])})"


def _gpu(inputs: Inputs) -> Iterator[str]:
    yield "## GPU analysis"
    yield ""
    measured = [sample for sample in inputs.samples if sample.get("gpu_device_util") is not None]
    if not measured:
        yield "The samples of memory tell nothing of a GPU." if inputs.samples else "There are no samples of memory."
        return
    spans = [(window, record) for record in inputs.records if (window := summary.window(record))]
    used = [(record, [s["gpu_device_util"] for s in measured if start <= s["ts"] <= end]) for (start, end), record in spans]
    used = [(record, values) for record, values in used if values]
    cold = [(record, values) for record, values in used if values[0] == 0 and max(values) > 0]
    busy = sorted(((mean(values), record) for record, values in used if mean(values) > _BUSY_GPU), key=lambda each: -each[0])
    yield f"Cold starts (the GPU idle when the test began): {len(cold)}."
    yield ""
    yield from _table(
        ("test", "most used"), ((f"`{record['test']}`", f"{max(values)} %") for record, values in cold[:_COLD_ROWS])
    )
    yield ""
    yield f"More than {_BUSY_GPU} % in the mean: {len(busy)} tests."
    yield ""
    yield from _table(("test", "mean"), ((f"`{record['test']}`", f"{share:.0f} %") for share, record in busy[:_BUSY_ROWS]))
    values = [sample["gpu_device_util"] for sample in measured]
    yield ""
    yield f"Over all {len(values)} samples: mean {mean(values):.0f} %, most {max(values)} %."


def _end(inputs: Inputs) -> Iterator[str]:
    yield "## Files"
    yield ""
    yield f"- `{inputs.path}`"
    for path in (inputs.old_path, inputs.memory_path):
        if path:
            yield f"- `{path}`"


def _ram(row: ModelRow, inputs: Inputs) -> str:
    """What the tests' processes held at most; where no record tells it, what was free in the machine meanwhile."""
    if row.ram_gb:
        return _range(row.ram_gb)
    windows = [
        window
        for record in inputs.records
        if record.get("model", {}).get("id") == row.model
        and summary.modality(record) == row.mode
        and (window := summary.window(record))
    ]
    free = [s["ram_free_gb"] for s in inputs.samples if any(start <= s["ts"] <= end for start, end in windows)]
    return f"{_range((min(free), max(free)))} free" if free else "unknown"


def _range(values: tuple[float, float]) -> str:
    low, high = (f"{value:.1f}" for value in values)
    return low if low == high else f"{low}–{high}"


def _size(size_gb: float | None) -> str:
    if size_gb is None:
        return "unknown"
    return f"{size_gb:.1f} GB" if size_gb >= _TINY_GB else f"{1000 * size_gb:.1f} MB"


def _counted(records: Iterable[_Record]) -> list[_Record]:
    return [record for record in records if record.get("duration", 0) >= _SHORTEST_S]


def _total(records: Iterable[_Record]) -> float:
    return float(sum(record.get("duration", 0.0) for record in records))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
