"""A plan of 10,000 cells: expanded, gated and frozen, and shown by the command."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from figures import Row, at_most
from measuring import cpu_of, paired, wall
from session import ROOT, Session

from qualification import declared, gate, plan, portfolio

CELLS = 10_000

MATRIX = """\
matrix: 1
about: Many cells.
pythons: ["3.10", "3.11", "3.12", "3.13"]
dependencies: [locked, lowest, latest]
tiers:
  16gb: {{ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}}
portfolio: {{source: minted}}
groups:
{groups}
require: {{pythons: all, tiers: [this]}}
"""


def measure(session: Session) -> Iterator[Row]:
    large, models = _large(CELLS)
    inputs = plan.Inputs("0" * 64, "0" * 64, None, None, None)
    document = json.loads(plan.freeze(plan.expand(large, models, "64gb", inputs)))
    facts = gate.Facts(portfolio.Capacity(large.tiers[-1]), frozenset(large.pythons), available_bytes=1 << 40)

    def whole() -> None:
        planned = plan.expand(large, models, "64gb", inputs)
        plan.freeze(planned)
        assert sum(gate.decide(cell, facts).runs for cell in planned.cells) == len(planned.cells) == CELLS

    ours, floor = paired(
        max(5, session.rounds // 3), lambda: wall(whole), lambda: wall(lambda: json.dumps(document, sort_keys=True, indent=1))
    )
    yield Row("plan 10,000 cells", "s", ours, "json.dumps of the plan", floor, at_most(1.0, of="figure"))

    shown = [session.python, "-m", "qualification", "plan", _written(session.scratch / "large.yaml"), "--project", ROOT]
    ours, floor = paired(max(5, session.rounds // 3), lambda: cpu_of(shown), lambda: cpu_of(session.bare))
    yield Row("the command plan, 10,000 cells (CPU)", "s", ours, "python -c pass", floor, at_most(1.0, of="figure"))


def _written(file: Path) -> Path:
    """A matrix of so many cells as a file: groups that run over every minted text model on every Python and dependency set."""
    each = 12 * sum(model.modality == "text" for model in portfolio.minted())
    rule = "{process: wet, tests: [tests_2.0/spec], for_each: portfolio.text, over: [python, dependencies], gate: blocker}"
    groups = "\n".join(f"  group{number}: {rule}" for number in range(math.ceil(CELLS / each)))
    file.write_text(MATRIX.format(groups=groups), encoding="utf-8")
    return file


def _large(cells: int) -> tuple[declared.Matrix, list[portfolio.Model]]:
    tier = declared.Tier("64gb", 64 << 30, 0.6, 0.7, 4 << 30)
    group = declared.Group("text", "wet", ("tests",), None, "text", ("python", "tier"), "blocker", 600.0)
    pythons = ("3.10", "3.11", "3.12", "3.13")
    require = declared.Require(pythons, ("64gb",), ("text",), ())
    large = declared.Matrix("large", "Many cells.", "0" * 64, pythons, ("locked",), (tier,), "discovered", (group,), require)
    models = [
        portfolio.Model(f"org/model-{number}", "text", "llama", 1 << 30, "discovered", None)
        for number in range(cells // len(pythons))
    ]
    return large, models
