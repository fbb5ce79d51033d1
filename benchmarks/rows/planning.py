"""Expanding, gating and freezing a plan of 10,000 cells beside writing the same document as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

from figures import Row, at_most
from measuring import paired, wall
from session import Session

from qualification import declared, gate, plan, portfolio

CELLS = 10_000


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
