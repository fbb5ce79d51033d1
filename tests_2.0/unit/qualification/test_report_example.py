"""What is kept of real runs, a bundle and a history: both are valid, and their records say what the schema promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qualification import records, schemas
from qualification.bundle import Bundle
from qualification.plugin import measuring
from qualification.report import history
from qualification.verify import verify

ROOT = Path(__file__).parents[3]
EXAMPLE = Bundle(ROOT / "reports" / "example")
KEPT = sorted((ROOT / "benchmarks" / "reports").glob("*.jsonl"))


@pytest.fixture(scope="module")
def inferences() -> list[dict[str, Any]]:
    """Records of tests that asked a model for an answer."""
    found = [record for _, record, _ in records.read(EXAMPLE.tests) if "generation_tps" in record.get("performance", {})]
    assert len(found) >= 6
    return found


def test_the_example_is_what_it_claims_to_be() -> None:
    verified = verify(EXAMPLE.root)

    assert verified.findings == ()
    assert verified.word == "QUALIFIED"
    assert verified.records > 100


def test_every_inference_tells_model_performance_end_tokens_system_health_modality_and_times(
    inferences: list[dict[str, Any]],
) -> None:
    for record in inferences:
        assert {"model", "performance", "stop_tokens", "system", "system_health"} <= record.keys(), record["test"]
        assert {"id", "size_gb", "family", "variant", "quantization"} <= record["model"].keys()
        assert {
            "model_load_time_s", "time_to_first_token_s", "prompt_tps", "generation_tps", "peak_ram_gb", "prompt_tokens",
            "completion_tokens",
        } <= record["performance"].keys()  # fmt: skip
        assert {"configured", "detected", "leaked"} == record["stop_tokens"].keys()
        assert record["stop_tokens"]["configured"]
        assert record["metadata"]["inference_modality"] == "text"


def test_the_times_of_a_record_are_those_of_its_test() -> None:
    for _, record, _ in records.read(EXAMPLE.tests):
        end = schemas.instant(record["timestamp"]).timestamp()
        assert abs(record["test_end_ts"] - end) < 0.01
        assert abs(record["test_end_ts"] - record["test_start_ts"] - record["duration"]) < 0.001


def test_the_example_is_small_and_was_made_by_no_one_in_particular() -> None:
    files = [path for path in EXAMPLE.root.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 1_500_000
    assert [path.name for path in files if b"/root/" in path.read_bytes() or b"/home/" in path.read_bytes()] == []
    assert json.loads(EXAMPLE.verdict.read_text(encoding="utf-8"))["matrix"] == "smoke"


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_the_history_is_valid_and_named_for_its_day_and_version(path: Path) -> None:
    checked = history.check(path)

    assert (checked.errors, len(checked.records)) == ((), checked.lines)
    days = max(record["timestamp"] for record in checked.records)[:10]
    assert {f"{days}-v{record['mlx_knife_version']}.jsonl" for record in checked.records} == {path.name}


@pytest.mark.parametrize("path", [EXAMPLE.tests, *KEPT[-1:]], ids=lambda path: path.name)
def test_every_record_of_a_test_on_a_model_is_measured_or_says_why_not(path: Path) -> None:
    on_models = [record for record in history.read(path) if "model" in record and record["outcome"] == "passed"]
    measured = [record for record in on_models if "unmeasured" not in record["metadata"]]

    assert {record["metadata"]["inference_modality"] for record in measured} <= {"text", "vision", "audio"}
    assert len(measured) > len(on_models) / 3
    for record in on_models:
        told = {**record, "inference_modality": record["metadata"]["inference_modality"]}
        assert measuring.lacking(told, [], excused=record not in measured) == "", record["test"]
        assert {"system", "system_health"} <= record.keys(), record["test"]
