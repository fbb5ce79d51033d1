"""What an answer takes, beside what it took when ``--update-baselines`` was last given; slower is a warning."""

from __future__ import annotations

import pytest

from qualification.plugin import subject
from qualification.plugin.baselines import ModelTestUtils, PerformanceTestUtils

pytestmark = [pytest.mark.live, pytest.mark.live_run, pytest.mark.benchmark]

CATS = [{"role": "user", "content": "Write one sentence about cats."}]


def test_performance_with_baseline(text_model_info, pytest_config, device, report_benchmark):
    model = text_model_info.model_id
    with subject.serving() as server:
        timing_stats = ModelTestUtils.measure_inference_time(
            lambda: server.chat(model, CATS, max_tokens=50).json, [], warmup_runs=2, test_runs=10
        )

    result = PerformanceTestUtils.check_performance_regression(
        model_name=model,
        timing_stats=timing_stats,
        device=device,
        tolerance=pytest_config.baseline_tolerance,
        update_baseline=pytest_config.update_baselines,
    )

    report_benchmark(baseline=result["message"])
    assert timing_stats["min"] > 0
    assert result["updated"] == pytest_config.update_baselines
