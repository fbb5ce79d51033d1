"""``--update-baselines`` and ``--baseline-tolerance``: what a model test took, beside what it took before.

A regression is a warning and never a failure: a developer's machine is no place for a verdict. ``make compare`` is.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest

from qualification.errors import BaselineError
from qualification.performance import baselines
from qualification.plugin import selection

TOLERANCE = 0.20
FILE = Path("tests_2.0") / ".performance_baselines.json"

_CONFIG = pytest.StashKey["PytestConfig"]()


class PerformanceWarning(UserWarning):
    """A model takes longer than its baseline says, or its baseline cannot be used."""


@dataclass(frozen=True, slots=True)
class PytestConfig:
    """What the command line asks for; the tolerance is a share, 0.2 for a fifth."""

    update_baselines: bool
    baseline_tolerance: float
    baseline_file: Path


class TimingStats(TypedDict):
    """Times in seconds, memory in megabytes (10**6 bytes)."""

    mean: float
    median: float
    min: float
    max: float
    memory_peak_mb: float
    runs: list[float]


class Checked(TypedDict):
    """What became of a check; ``message`` is a sentence for people."""

    regressions: list[str]
    message: str
    updated: bool
    baseline: Mapping[str, Any] | None
    current: Mapping[str, Any]


def pytest_configure(config: pytest.Config) -> None:
    PerformanceTestUtils.baseline_file = config.rootpath / FILE
    config.stash[_CONFIG] = PytestConfig(
        update_baselines=config.getoption("--update-baselines"),
        baseline_tolerance=config.getoption("--baseline-tolerance"),
        baseline_file=PerformanceTestUtils.baseline_file,
    )


def add_options(group: pytest.OptionGroup) -> None:
    group.addoption("--update-baselines", action="store_true", help=f"store what model tests take now in {FILE}")
    group.addoption(
        "--baseline-tolerance",
        type=_share,
        default=TOLERANCE,
        metavar="SHARE",
        help=f"warn where a model test takes more than this share longer than its baseline (default: {TOLERANCE:.2f})",
    )


@pytest.fixture(scope="session", name="pytest_config")  # a function of that name would be taken for a hook
def asked(request: pytest.FixtureRequest) -> PytestConfig:
    """``update_baselines`` and ``baseline_tolerance`` as the command line gives them."""
    return request.config.stash[_CONFIG]


@pytest.fixture(scope="session")
def device() -> str:
    """``cpu``, ``metal`` or ``cuda``: what MLX computes on here, for the name of a baseline."""
    return selection.hardware()


class ModelTestUtils:
    """What model tests share."""

    @staticmethod
    def measure_inference_time(
        model: Callable[..., object],
        inputs: Mapping[str, Any] | Sequence[Any],
        warmup_runs: int = 3,
        test_runs: int = 10,
    ) -> TimingStats:
        """Times ``model(**inputs)``, or ``model(*inputs)``, until its result is really there, ``test_runs`` times.

        MLX computes when a result is asked for, so it is asked for within the time. Raises ``ValueError`` for less than one run.
        """
        if test_runs < 1 or warmup_runs < 0:
            raise ValueError(f"at least one run is measured, after none or more for warming up: {test_runs}, {warmup_runs}")

        def once() -> object:
            return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)

        for _ in range(warmup_runs):
            _evaluate(once())
        seconds = []
        for _ in range(test_runs):
            began = time.perf_counter()
            _evaluate(once())
            seconds.append(time.perf_counter() - began)
        stored = baselines.entry(seconds, _peak_memory_mb(), device="")
        return TimingStats(
            mean=stored["inference_time_mean"],
            median=stored["inference_time_median"],
            min=stored["inference_time_min"],
            max=stored["inference_time_max"],
            memory_peak_mb=stored["memory_peak_mb"],
            runs=seconds,
        )


class PerformanceTestUtils:
    """Baselines, as model tests meet them."""

    baseline_file: Path = FILE
    """Set when pytest starts, below its root directory."""

    @classmethod
    def check_performance_regression(
        cls,
        model_name: str,
        timing_stats: TimingStats,
        device: str = "cpu",
        tolerance: float = TOLERANCE,
        update_baseline: bool = False,
    ) -> Checked:
        """Compares with the baseline of this model on this device, or stores one; warns of what is wrong and never fails."""
        name = baselines.key(model_name, device)
        current = baselines.entry(timing_stats["runs"], timing_stats["memory_peak_mb"], device)
        try:
            known = baselines.load(cls.baseline_file).get(name)
            if update_baseline:
                baselines.update(cls.baseline_file, name, current)
        except BaselineError as error:
            warnings.warn(PerformanceWarning(str(error)), stacklevel=2)
            return Checked(regressions=[], message=str(error), updated=False, baseline=None, current=current)
        if update_baseline:
            return Checked(regressions=[], message=f"{name}: baseline stored", updated=True, baseline=known, current=current)
        if known is None:
            message = f"{name} has no baseline yet; --update-baselines stores one"
            return Checked(regressions=[], message=message, updated=False, baseline=None, current=current)
        slower = [str(each) for each in baselines.regressions(known, current, tolerance)]
        message = f"{name}: {'; '.join(slower) or f'within {tolerance:.0%} of its baseline'}"
        if slower:
            warnings.warn(PerformanceWarning(message), stacklevel=2)
        return Checked(regressions=slower, message=message, updated=False, baseline=known, current=current)


def _share(given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = math.nan
    if not (math.isfinite(share) and share >= 0):
        raise argparse.ArgumentTypeError(f"{given!r} is no share; write 0.10 for a tenth")
    return share


def _evaluate(result: object) -> None:
    """Has MLX compute what it has only promised so far; anything else is there already."""
    core = sys.modules.get("mlx.core")
    if core is not None:
        core.eval(result)


def _peak_memory_mb() -> float:
    """The most that this process ever held: resident, or in MLX's buffers where these are more, as on Metal."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    core = sys.modules.get("mlx.core")
    return max(resident, core.get_peak_memory() if core is not None else 0) / 1e6
