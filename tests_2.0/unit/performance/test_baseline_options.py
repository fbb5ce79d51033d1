"""``--update-baselines`` and ``--baseline-tolerance`` on a project of its own, with a test as the guide shows one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qualification.plugin.baselines import ModelTestUtils

SETTINGS = """\
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "--strict-markers", "-p", "qualification.plugin"]
markers = ["model_test: loads a model", "benchmark: measures"]
"""

GUIDE = """\
import json
import warnings

import pytest

from qualification.plugin.baselines import ModelTestUtils, PerformanceTestUtils


@pytest.mark.model_test
@pytest.mark.benchmark
class TestModelPerformance:
    def test_performance_with_baseline(self, pytest_config):
        timing_stats = ModelTestUtils.measure_inference_time(sorted, [list(range(5000))], warmup_runs=3, test_runs=10)

        result = PerformanceTestUtils.check_performance_regression(
            model_name="MyModel",
            timing_stats=timing_stats,
            device="cpu",
            tolerance=pytest_config.baseline_tolerance,
            update_baseline=pytest_config.update_baselines,
        )

        if result.get("regressions"):
            warnings.warn(f"Performance regressions: {result['message']}")
        print("said:", result["message"])
"""


@pytest.fixture
def project(tmp_path):
    """``project(*options)`` runs pytest over the guide's test, and gives its exit code and what it printed."""
    (tmp_path / "tests_2.0").mkdir()
    (tmp_path / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "tests_2.0" / "test_guide.py").write_text(GUIDE, encoding="utf-8")
    argv = [sys.executable, "-m", "pytest", "-q", "-s", "--rootdir", str(tmp_path), "-c", str(tmp_path / "pyproject.toml")]

    def run(*options):
        done = subprocess.run([*argv, *options], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def stored(tmp_path):
    return tmp_path / "tests_2.0" / ".performance_baselines.json"


def test_a_model_test_waits_for_its_flag(project):
    code, said = project()

    assert (code, "1 skipped" in said) == (0, True)


def test_a_baseline_is_stored_compared_with_and_only_warned_of(project, stored):
    assert "has no baseline yet; --update-baselines stores one" in project("--run-model-tests")[1]
    assert not stored.exists()

    assert project("--run-model-tests", "--update-baselines")[0] == 0
    document = json.loads(stored.read_text(encoding="utf-8"))
    assert list(document) == ["MyModel_cpu"]
    assert document["MyModel_cpu"]["memory_peak_mb"] > 5
    assert "within 10000% of its baseline" in project("--run-model-tests", "--baseline-tolerance", "100")[1]

    document["MyModel_cpu"]["inference_time_min"] /= 1000
    stored.write_text(json.dumps(document), encoding="utf-8")
    code, said = project("--run-model-tests", "--baseline-tolerance", "0.10")
    assert code == 0
    assert "PerformanceWarning: MyModel_cpu: " in said
    assert "UserWarning: Performance regressions: MyModel_cpu: " in said
    assert json.loads(stored.read_text(encoding="utf-8")) == document


@pytest.mark.parametrize("options", [(), ("--update-baselines",)])
def test_a_corrupt_file_warns_fails_nothing_and_stays(project, stored, options):
    stored.write_text('{"half', encoding="utf-8")

    code, said = project("--run-model-tests", *options)

    assert (code, "PerformanceWarning" in said, "mend it or delete it" in said) == (0, True, True)
    assert stored.read_text(encoding="utf-8") == '{"half'


@pytest.mark.parametrize("given", ["much", "-0.1", "nan"])
def test_a_tolerance_that_is_no_share_is_a_usage_error(project, given):
    code, said = project(f"--baseline-tolerance={given}")

    assert (code, f"'{given}' is no share; write 0.10 for a tenth" in said) == (4, True)


def test_warming_up_is_not_measured_and_both_forms_of_input_reach_the_model():
    calls = []

    def model(first, second=None):
        calls.append((first, second))

    named = ModelTestUtils.measure_inference_time(model, {"first": 1, "second": 2}, warmup_runs=2, test_runs=5)
    listed = ModelTestUtils.measure_inference_time(model, [3, 4], warmup_runs=0, test_runs=1)

    assert calls == [(1, 2)] * 7 + [(3, 4)]
    assert (len(named["runs"]), len(listed["runs"])) == (5, 1)
    assert named["min"] <= named["median"] <= named["max"]


def test_what_mlx_has_only_promised_is_computed_within_the_time():
    import mlx.core as mx

    mx.reset_peak_memory()

    stats = ModelTestUtils.measure_inference_time(lambda: mx.zeros((4_000_000,)), [], warmup_runs=0, test_runs=1)

    assert mx.get_peak_memory() >= 16_000_000  # an array that nobody asked for takes none
    assert stats["memory_peak_mb"] >= 16


@pytest.mark.parametrize(("warmup", "runs"), [(0, 0), (-1, 3)])
def test_no_run_is_no_measurement(warmup, runs):
    with pytest.raises(ValueError, match="at least one run is measured"):
        ModelTestUtils.measure_inference_time(sorted, [[]], warmup_runs=warmup, test_runs=runs)
