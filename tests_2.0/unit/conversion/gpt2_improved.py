"""openai-community/gpt2: text-generation.

Converted from test_hf_gpt2.py.
Model id: openai-community/gpt2 (from_pretrained, line 10).
Name: GPT2 (class TestGPT2, line 7).
Task: text-generation (AutoModelForCausalLM, line 10).
Category: text (the task (AutoModelForCausalLM, line 10)).
"""

from __future__ import annotations

import pytest

from qualification.plugin import legacy
from qualification.plugin.baselines import ModelTestUtils, PerformanceTestUtils

MODEL_ID = "openai-community/gpt2"
TASK = "text-generation"

pytestmark = [
    pytest.mark.model_test,
    pytest.mark.model,
    pytest.mark.text,
]


class TestGPT2Inference:
    def test_the_model_answers(self):
        answer = legacy.ask(MODEL_ID, TASK)

        assert answer["model"] == MODEL_ID
        assert isinstance(answer["response"], str)
        assert answer["usage"]["completion_tokens"] >= 0


@pytest.mark.benchmark
class TestGPT2Performance:
    def test_performance_with_baseline(self, pytest_config, device):
        timing_stats = ModelTestUtils.measure_inference_time(legacy.ask, [MODEL_ID, TASK], warmup_runs=1, test_runs=5)

        result = PerformanceTestUtils.check_performance_regression(
            model_name=MODEL_ID,
            timing_stats=timing_stats,
            device=device,
            tolerance=pytest_config.baseline_tolerance,
            update_baseline=pytest_config.update_baselines,
        )

        assert result["updated"] == pytest_config.update_baselines
