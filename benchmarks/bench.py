"""Measures every figure that this project promises, each beside its reference in the same run, and prints one table.

``make bench`` runs it; ``make bench -- --rounds 30 --json FILE`` is not make's way, so: ``nox -s bench -- --rounds 30``.
A bar that is missed is printed as missed and fails nothing: time depends on the machine, so it is read by people.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import make_cache

from mlxk import engines
from mlxk.chat import Message
from mlxk.compatibility import Packages
from mlxk.engines import Finished, Generation, Sampling, Text
from mlxk.library import Library
from qualification import bundle, gate, machine, matrix, plan, portfolio, runner
from qualification.mint import store

TOOL = Path(sys.executable).with_name("mlxk")
BARE = [sys.executable, "-c", "pass"]
MODEL = "mint/llama-tiny"
STORY = "Tell me a story."

MATRIX = """\
matrix: 1
about: One test that does nothing.
pythons: ["{version}"]
tiers:
  16gb: {{ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}}
portfolio: {{source: minted}}
groups:
  one: {{process: wet, tests: [tests], over: [python], gate: blocker}}
require: {{pythons: all, tiers: [this]}}
"""


Figure = TypeVar("Figure")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: medians in seconds, their ratio as the median over pairs, and the bar it is held to."""

    what: str
    ours_s: float
    reference: str
    reference_s: float
    ratio: float
    bar: str
    met: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pairs per figure (default: 15)")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlxk-bench-") as scratch:
        rows = [
            row
            for measure in (startup, listing, running, generating, cell_overhead, planning)
            for row in measure(arguments.rounds, Path(scratch))
        ]
    print(_table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return 0


def startup(rounds: int, _scratch: Path) -> list[Row]:
    """Wall time of the tool's cheapest commands beside that of a bare interpreter."""
    rows = []
    for option in ("--version", "--help"):
        ours, bare = _paired(rounds, lambda option=option: _wall(_run([TOOL, option])), lambda: _wall(_run(BARE)))
        rows.append(_row(f"mlxk {option}", ours, "python -c pass", bare, bar=2.0))
    return rows


def listing(rounds: int, scratch: Path) -> list[Row]:
    """User and system time of ``list`` and ``health`` over hubs of 20 and 1,000 models, beside a bare interpreter."""
    rows = []
    for count, bar_s in ((20, 0.15), (1000, 0.5)):
        home = make_cache.make(count, scratch / f"home-{count}")
        for command in ("list", "health"):
            argv = [TOOL, command, "--json"]
            ours, bare = _paired(rounds, lambda argv=argv, home=home: _cpu(argv, HF_HOME=str(home)), lambda: _cpu(BARE))
            rows.append(_row(f"mlxk {command} --json, {count} models (CPU)", ours, "python -c pass", bare, bar_s=bar_s))
    return rows


def running(rounds: int, scratch: Path) -> list[Row]:
    """``mlxk run`` beside mlx-lm's own command, on the same model and prompt, both greedy; wall and processor time."""
    store.install(MODEL, scratch / "minted")
    quiet = {"HF_HOME": str(scratch / "minted"), "HF_HUB_OFFLINE": "1"}
    question = ["--temp", "0", "--max-tokens", "100", "--prompt", STORY]
    theirs = [sys.executable, "-m", "mlx_lm", "generate", "--model", MODEL, *question]
    ours = [TOOL, "run", MODEL, STORY, "--temperature", "0", "--max-tokens", "100"]
    wall = _paired(rounds, lambda: _wall(_run(ours, **quiet)), lambda: _wall(_run(theirs, **quiet)))
    cpu = _paired(rounds, lambda: _cpu(ours, **quiet), lambda: _cpu(theirs, **quiet))
    return [
        _row("mlxk run, a tiny model", wall[0], "python -m mlx_lm generate", wall[1], bar=1.05),
        _row("mlxk run, a tiny model (CPU)", cpu[0], "python -m mlx_lm generate", cpu[1], bar=1.05),
    ]


def generating(rounds: int, scratch: Path) -> list[Row]:
    """Time to first text, and to the end after it, of the engine beside bare ``stream_generate`` on the same weights."""
    from mlx_lm import load, stream_generate  # noqa: PLC0415 - takes a second
    from mlx_lm.sample_utils import make_sampler  # noqa: PLC0415

    store.install(MODEL, scratch / "minted")
    model = Library(scratch / "minted" / "hub", Packages.installed()).find(MODEL)
    engine = engines.load(model)
    bare, tokenizer = load(str(model.snapshot.path))[:2]
    request = Generation((Message("user", STORY),), max_tokens=64, sampling=Sampling(temperature=0))

    def ours() -> tuple[float, float]:
        return _first_and_rest(event for event in engine.stream(request, lambda: False) if isinstance(event, Text | Finished))

    def theirs() -> tuple[float, float]:
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": STORY}], add_generation_prompt=True)
        return _first_and_rest(stream_generate(bare, tokenizer, prompt, max_tokens=64, sampler=make_sampler(0)))

    (our_first, our_rest), (their_first, their_rest) = (zip(*each, strict=True) for each in _paired(10 * rounds, ours, theirs))
    return [
        _row("first text of an answer", our_first, "stream_generate", their_first),
        _row("63 tokens after it", our_rest, "stream_generate", their_rest),
    ]


def _first_and_rest(events: Iterable[object]) -> tuple[float, float]:
    """Seconds until the first event, and from there to the end."""
    began = time.perf_counter()
    remaining = iter(events)
    next(remaining)
    first = time.perf_counter()
    for _ in remaining:
        pass
    return first - began, time.perf_counter() - first


def cell_overhead(rounds: int, scratch: Path) -> list[Row]:
    """A supervised cell of one empty test beside the same test under pytest alone."""
    project = _project(scratch)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(project / "pyproject.toml"),
        "--rootdir",
        str(project),
        str(project / "tests"),
    ]
    ours, alone = _paired(max(5, rounds // 3), lambda: _wall(_examine(project)), lambda: _wall(_run(argv)))
    return [_row("a cell with one empty test", ours, "the same under pytest", alone)]


def planning(rounds: int, _scratch: Path) -> list[Row]:
    """Expanding, gating and freezing 10,000 cells beside writing the same document as JSON."""
    declared, models = _large(cells=10_000)
    inputs = plan.Inputs("0" * 64, "0" * 64, None, None, None)
    planned = plan.expand(declared, models, "64gb", inputs)
    document = json.loads(plan.freeze(planned))
    facts = gate.Facts(declared.tiers[-1], frozenset(declared.pythons), available_bytes=1 << 40)

    def whole() -> None:
        again = plan.expand(declared, models, "64gb", inputs)
        plan.freeze(again)
        assert sum(gate.decide(cell, facts).runs for cell in again.cells) == len(again.cells) == 10_000

    ours, floor = _paired(
        max(5, rounds // 3), lambda: _wall(whole), lambda: _wall(lambda: json.dumps(document, sort_keys=True, indent=1))
    )
    return [_row("plan 10,000 cells", ours, "json.dumps of the plan", floor, bar_s=1.0)]


def _paired(rounds: int, ours: Callable[[], Figure], reference: Callable[[], Figure]) -> tuple[list[Figure], list[Figure]]:
    """Interleaved measurements, the order turned round every second time, after one unmeasured round."""
    ours(), reference()
    mine, theirs = [], []
    for number in range(rounds):
        if number % 2:
            theirs.append(reference())
            mine.append(ours())
        else:
            mine.append(ours())
            theirs.append(reference())
    return mine, theirs


def _row(
    what: str,
    ours: Sequence[float],
    reference: str,
    theirs: Sequence[float],
    bar: float | None = None,
    bar_s: float | None = None,
) -> Row:
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    middle = statistics.median(ours)
    said = f"at most {bar:g} x" if bar else f"at most {bar_s:g} s" if bar_s else "none"
    met = (bar is None or ratio <= bar) and (bar_s is None or middle <= bar_s)
    return Row(what, middle, reference, statistics.median(theirs), ratio, said, met)


def _wall(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _run(argv: Sequence[str | Path], **environment: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=True)


def _cpu(argv: Sequence[str | Path], **environment: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(argv, **environment)()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _project(scratch: Path) -> Path:
    project = scratch / "project"
    (project / "tests").mkdir(parents=True)
    (project / "tests/test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
    settings = '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib", "-p", "qualification.plugin"]\n'
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (project / "matrix.yaml").write_text(MATRIX.format(version=version), encoding="utf-8")
    return project


def _examine(project: Path) -> Callable[[], object]:
    """A fresh bundle whose only cell is ready to run."""
    declared = matrix.load(project / "matrix.yaml")
    inputs = plan.Inputs(declared.sha256, plan.hash_tree(project, ["tests"]), None, None, None)
    planned = plan.expand(declared, [], declared.tiers[0].name, inputs)
    begun = bundle.begin(project / "reports", plan.freeze(planned), planned.matrix, machine.observe())
    job = runner.Job(bundle=begun, project=project, environment=planned.environments[0], python=Path(sys.executable))
    return lambda: runner.run(job, tell=lambda _line: None)


def _large(cells: int) -> tuple[matrix.Matrix, list[portfolio.Model]]:
    tier = matrix.Tier("64gb", 64 << 30, 0.6, 0.7, 4 << 30)
    group = matrix.Group("text", "wet", ("tests",), None, "text", ("python", "tier"), "blocker", 600.0)
    pythons = ("3.10", "3.11", "3.12", "3.13")
    require = matrix.Require(pythons, ("64gb",), ("text",), ())
    declared = matrix.Matrix("large", "Many cells.", "0" * 64, pythons, ("locked",), (tier,), "discovered", (group,), require)
    models = [
        portfolio.Model(f"org/model-{number}", "text", "llama", 1 << 30, "discovered", None)
        for number in range(cells // len(pythons))
    ]
    return declared, models


def _table(rows: Sequence[Row]) -> str:
    header = ("figure", "ours", "reference", "its time", "ratio", "bar", "")
    lines = [header] + [
        (
            row.what,
            f"{row.ours_s:.3f} s",
            row.reference,
            f"{row.reference_s:.3f} s",
            f"{row.ratio:.2f} x",
            row.bar,
            "" if row.bar == "none" else "met" if row.met else "MISSED",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
