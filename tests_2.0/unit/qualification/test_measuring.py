"""What the record of a model test says beside its outcome: figures of the answers, memory, end tokens, health, model files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qualification import schemas
from qualification.plugin import measuring, modelfiles

RUN = {
    "response": "Blue.",
    "end_tokens": ["<|end|>"],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    "timings": {
        "load_time_s": 0.5,
        "time_to_first_token_s": 0.1,
        "prompt_tps": 100.0,
        "generation_tps": 20.0,
        "peak_memory_gb": 1.5,
    },
}
CHAT = {
    "choices": [{"message": {"content": "Green.</s>"}}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 1},
    "timings": {
        "load_time_s": 0.25,
        "time_to_first_token_s": 0.3,
        "prompt_tps": 300.0,
        "generation_tps": None,
        "peak_memory_gb": 1.0,
    },
}


def test_several_answers_make_one_section_of_medians_sums_and_maxima() -> None:
    section = measuring.performance([RUN, CHAT], 3_000_000_000)

    assert section == {
        "peak_ram_gb": 3.0,
        "generation_tps": 20.0,
        "tokens_per_sec": 20.0,
        "prompt_tps": 200.0,
        "time_to_first_token_s": 0.2,
        "model_load_time_s": 0.5,
        "peak_memory_gb": 1.5,
        "prompt_tokens": 30,
        "completion_tokens": 6,
    }
    assert schemas.validator("report").evolve(schema=schemas.load("report")["properties"]["performance"]).is_valid(section)


def test_a_test_that_asked_for_no_answer_claims_nothing_of_answers() -> None:
    assert measuring.performance([], 0) == {}
    assert measuring.stop_tokens([], ("</s>",)) == {"configured": ["</s>"]}


@pytest.mark.parametrize(("answers", "leaked"), [([RUN], False), ([CHAT], True), ([RUN, CHAT], True)])
def test_a_configured_end_token_in_any_text_is_a_leak(answers: list[dict[str, Any]], leaked: bool) -> None:
    assert measuring.stop_tokens(answers, ("</s>", "<|end|>"))["leaked"] is leaked


def test_what_ended_an_answer_is_detected() -> None:
    assert measuring.stop_tokens([RUN, RUN], ("</s>", "<|end|>"))["detected"] == ["<|end|>"]


@pytest.mark.parametrize(
    ("swap_mb", "free_gb", "zombies", "flags"),
    [
        (100, 5, 0, ["clean"]),
        (100.1, 5, 0, ["degraded_swap"]),
        (0, 4.9, 0, ["degraded_memory"]),
        (0, 5, 1, ["degraded_zombies"]),
        (200, 1, 2, ["degraded_swap", "degraded_zombies", "degraded_memory"]),
    ],
)
def test_a_machine_is_clean_or_named_for_each_thing_that_degrades_it(
    swap_mb: float, free_gb: float, zombies: int, flags: list[str]
) -> None:
    assert measuring.quality_flags(swap_mb, free_gb, zombies) == flags


def test_the_health_of_this_machine_follows_the_schema() -> None:
    health = schemas.load("report")["properties"]["system_health"]

    assert schemas.validator("report").evolve(schema=health).is_valid(measuring.system_health())


def test_the_peak_is_what_child_processes_held_together() -> None:
    program = "import sys; held = bytearray(200_000_000); print('held', flush=True); sys.stdin.read()"

    with measuring.PeakMemory() as memory:
        child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
    child.communicate(timeout=20)

    assert 200_000_000 < memory.peak_bytes < 400_000_000


def _cached(home: Path, **files: Any) -> None:
    snapshot = home / "hub" / "models--org--a" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123", encoding="utf-8")
    for name, content in files.items():
        (snapshot / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, None),
        ({"quantization": {"bits": 4, "group_size": 64}}, "4bit-g64"),
        ({"quantization_config": {"bits": 8}}, "8bit"),
    ],
)
def test_quantization_is_told_by_the_models_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], told: str | None
) -> None:
    _cached(tmp_path, config=config)
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    assert modelfiles.read("org/a").quantization == told


def test_end_tokens_are_those_of_the_generation_config_before_those_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [{"id": number, "content": f"<{number}>"} for number in range(4)]
    _cached(
        tmp_path,
        config={"eos_token_id": 0},
        generation_config={"eos_token_id": [2, 1]},
        tokenizer={"added_tokens": tokens},
        tokenizer_config={"eos_token": {"content": "<3>"}},
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    assert modelfiles.read("org/a").end_tokens == ("<1>", "<2>", "<3>")


def test_of_a_model_that_is_not_there_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))

    assert modelfiles.read("org/a") == modelfiles.Facts(None, ())
