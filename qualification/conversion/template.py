"""Writes the test of one model, in the form that ``ruff format`` leaves alone."""

from __future__ import annotations

import json
import re

from qualification.conversion import tasks
from qualification.conversion.evidence import Fact, Findings

TEMPLATE = '''\
"""{model_id}: {task}.

Converted from {script}.
{facts}
"""

from __future__ import annotations

import pytest

from qualification.plugin import legacy
from qualification.plugin.baselines import ModelTestUtils, PerformanceTestUtils

MODEL_ID = {quoted_id}
TASK = {quoted_task}

pytestmark = [
{marks}
]


class Test{name}Inference:
    def test_the_model_answers(self):
        answer = legacy.ask(MODEL_ID, TASK)

        assert answer["model"] == MODEL_ID
        assert isinstance(answer["response"], str)
        assert answer["usage"]["completion_tokens"] >= 0


@pytest.mark.benchmark
class Test{name}Performance:
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
'''


def render(script: str, found: Findings) -> str:
    """The source of the test; gated with the reason where nothing runs the task on MLX."""
    task = found.task.value
    marks = [f"pytest.mark.{mark}" for mark in dict.fromkeys(("model_test", "model", found.category.value))]
    if task not in tasks.BACKENDS:
        marks.append(f"pytest.mark.skip(reason={_quoted(f'nothing in mlxk runs {task} on MLX')})")
    facts = {"Model id": found.model_id, "Name": found.name, "Task": found.task, "Category": found.category}
    return TEMPLATE.format(
        model_id=found.model_id.value,
        task=task,
        script=script,
        facts="\n".join(_told(what, fact) for what, fact in facts.items()),
        quoted_id=_quoted(found.model_id.value),
        quoted_task=_quoted(task),
        marks="\n".join(f"    {mark}," for mark in marks),
        name=_class_name(found.name.value),
    )


def _told(what: str, fact: Fact) -> str:
    return f"{what}: {fact.value} ({'' if fact.certainty == 'sure' else 'guessed: '}{fact.said})."


def _quoted(text: str) -> str:
    """As a Python string in double quotes; what is written here is plain enough that JSON's are the same."""
    return json.dumps(text)


def _class_name(name: str) -> str:
    """``gpt_neo-x`` becomes ``GptNeoX``; what is no letter or digit goes."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    return "".join(word[0].upper() + word[1:] for word in words) or "Model"
