"""Makes up a run of thousands of cells, with all that a page tells of one: what a report must bear, and no run here has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from qualification import declared, plan, portfolio, verdict
from qualification.report.run import Run

_TIER = declared.Tier("64gb", 64 << 30, 0.6, 0.7, 4 << 30)
_MACHINE = {"system": "Linux", "processor": "any", "cores": 2, "ram_bytes": 64 << 30}
_ENVIRONMENTS = [(f"3.{minor}", dependencies) for minor in (10, 11, 12, 13) for dependencies in ("locked", "latest")]
_BEGUN, _CELL_S, _TESTS, _SAMPLES = 1_767_322_800.0, 20.0, 5, 20
_NEED, _FAILURE = "it needs 72.1 GiB, and a 64gb machine gives text models 38.4 GiB", "AssertionError: assert 'a cat' == 'A cat'"


def make(cells: int) -> Run:
    """Text models in eight environments; of twenty cells one failed, one is owed, and one is flaky."""
    models = [
        portfolio.Model(f"org/model-{number:04d}-4bit", "text", f"family-{number % 9}", 1 << 30, "discovered", None)
        for number in range(-(-cells // len(_ENVIRONMENTS)))
    ]
    axes = [(model, *environment) for model in models for environment in _ENVIRONMENTS][:cells]
    planned = [
        plan.Cell(
            id=f"text[py{python.replace('.', '')}-{dependencies},64gb,{model.model_id}]",
            group="text",
            process="wet",
            gate="blocker",
            tests=("tests",),
            marks=None,
            timeout_s=60.0,
            python=python,
            dependencies=dependencies,
            tier="64gb",
            model=model,
        )
        for model, python, dependencies in axes
    ]
    became = [_became(number, cell) for number, cell in enumerate(planned)]
    required = plan.Required(("3.12",), (), ("text",), (), cells)
    inputs = plan.Inputs("0" * 64, "0" * 64, None, "mlxk-2.0.0-py3-none-any.whl", "0" * 64)
    frozen = plan.Plan("fleet", "Many models.", "64gb", (_TIER,), inputs, required, tuple(planned))
    return Run(
        id="run-1",
        began=_at(_BEGUN),
        plan=frozen,
        verdict=verdict.Verdict("NOT_QUALIFIED", tuple(_reasons(became)), tuple(became)),
        machines=(_MACHINE,),
        records=tuple(record for number, cell in enumerate(planned) for record in _records(number, cell, became[number])),
        samples=tuple(sample for number, cell in enumerate(became) for sample in _samples(number, cell)),
        events=tuple(event for number, cell in enumerate(became) for event in _events(number, cell)),
    )


def _became(number: int, cell: plan.Cell) -> verdict.CellVerdict:
    evidence = (f"journal:{2 * number + 2}", f"journal:{2 * number + 3}")
    passed = verdict.CellVerdict(
        cell.id, "passed", "", "", 1, _TESTS, _CELL_S, (1 + number % 7) << 30, f"logs/text.{number}.1.log", evidence
    )
    if number % 20 == 3:
        return replace(passed, outcome="failed", reason=f"tests/test_it.py::test_it_answers: {_FAILURE}")
    if number % 20 == 7:
        owed = replace(passed, outcome="debt", reason=_NEED, pays="a 96gb machine", attempts=0, tests=0)
        return replace(owed, duration_s=0.0, peak_bytes=0, log=None)
    if number % 20 == 11:
        return replace(passed, outcome="flaky", reason="attempt 1 was timeout, and attempt 2 passed", attempts=2)
    return passed


_WEIGHS: Mapping[str, verdict.Word] = {
    "failed": "NOT_QUALIFIED", "debt": "INCOMPLETE", "flaky": "QUALIFIED_WITH_EXCEPTIONS"
}  # fmt: skip


def _reasons(became: list[verdict.CellVerdict]) -> Iterator[verdict.Reason]:
    for outcome, weighs in _WEIGHS.items():
        for cell in became:
            if cell.outcome == outcome:
                yield verdict.Reason(weighs, outcome, f"{cell.cell}: {cell.reason}", cell.evidence)


def _records(number: int, cell: plan.Cell, became: verdict.CellVerdict) -> Iterator[dict[str, Any]]:
    for test in range(became.tests):
        begun = _BEGUN + number * _CELL_S + test * _CELL_S / _TESTS
        failed = {"outcome": "failed", "reason": _FAILURE} if became.outcome == "failed" and test == 0 else {"outcome": "passed"}
        yield {
            **failed,
            "test": f"tests_2.0/live/test_server_e2e.py::test_it_answers_{test}[{cell.id}]",
            "timestamp": _at(begun + 3),
            "duration": 3.0 + number % 3 / 10,
            "test_start_ts": begun,
            "test_end_ts": begun + 3,
            "cell": cell.id,
            "attempt": 1,
            "environment": {"python": f"{cell.python}.1", "dependencies": cell.dependencies, "packages": {"mlx": "0.31.2"}},
            "model": {"id": cell.model.model_id if cell.model else "", "size_gb": 1.1},
            "metadata": {"inference_modality": "text"},
            "performance": {"generation_tps": 30.0 + number % 13, "time_to_first_token_s": 0.1, "peak_ram_gb": 1.5 + test / 10},
            "system_health": {"quality_flags": ["clean"]},
        }


def _samples(number: int, cell: verdict.CellVerdict) -> Iterator[dict[str, Any]]:
    for step in range(_SAMPLES):
        held = cell.peak_bytes * min(step + 1, 5) // 5
        yield {"ts": _BEGUN + (number + step / _SAMPLES) * _CELL_S, "cell": cell.cell, "tree_bytes": held}


def _events(number: int, cell: verdict.CellVerdict) -> Iterator[dict[str, Any]]:
    if cell.log:
        begun = _BEGUN + number * _CELL_S
        ended = {"outcome": "passed" if cell.outcome == "flaky" else cell.outcome, "log": cell.log}
        yield {"event": "cell_started", "at": _at(begun), "cell": cell.cell, "attempt": 1}
        yield {"event": "cell_finished", "at": _at(begun + _CELL_S), "cell": cell.cell, "attempt": 1, **ended}


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
