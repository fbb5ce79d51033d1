"""What the record of a model test says beside its outcome: figures of the answers, memory, end tokens, health, model files."""

from __future__ import annotations

import array
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qualification import schemas
from qualification.mint.tones import RATE, wav
from qualification.plugin import measuring, modelfiles

RUN = measuring.of_command(
    {
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
)
TOLD = {
    "usage": {"prompt_tokens": 20, "completion_tokens": 1},
    "end_tokens": ["</s>"],
    "timings": {
        "load_time_s": 0.25,
        "time_to_first_token_s": 0.3,
        "prompt_tps": 300.0,
        "generation_tps": None,
        "peak_memory_gb": 1.0,
    },
}
PERFORMANCE = schemas.load("report")["properties"]["performance"]


def answered(body: bytes, kind: str, path: str = "/v1/chat/completions", **changes: Any) -> measuring.Answer:
    """What is heard of a response, all of which came after half a second."""
    exchange = measuring.Exchange(path, b"{}", kind, body, ((len(body), 0.5),))
    return measuring.of_exchange(replace(exchange, **changes))


GREEN = {"index": 0, "message": {"content": "Green.</s>"}}
CHAT = answered(json.dumps({"choices": [GREEN], **TOLD}).encode(), "application/json")


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
    assert schemas.validator("report").evolve(schema=PERFORMANCE).is_valid(section)


def events(*parts: dict[str, Any]) -> list[bytes]:
    """Server-sent events as OpenAI's API sends them, the last of them the end."""
    return [*(f"data: {json.dumps(part)}\n\n".encode() for part in parts), b"data: [DONE]\n\n"]


def piece(**delta: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}


@pytest.mark.parametrize("keepalive", [b"", b": nothing yet\n\n"])
def test_a_stream_is_timed_by_the_pieces_that_its_client_received(keepalive: bytes) -> None:
    usage = {"choices": [], **TOLD, "usage": {"prompt_tokens": 20, "completion_tokens": 9}}
    pieces = [piece(role="assistant", content=""), piece(reasoning_content="Hm"), piece(content="A"), piece(content="</s>")]
    came = [keepalive, *events(*pieces, usage)]
    sizes = [sum(map(len, came[: end + 1])) for end in range(len(came))]

    heard = answered(b"".join(came), "text/event-stream", arrivals=tuple(zip(sizes, range(10, 20), strict=False)))

    assert (heard.first_s, heard.last_s, heard.texts, heard.end_tokens) == (12, 14, ("A</s>",), ("</s>",))
    section = measuring.performance([heard], 1)
    assert (section["client_first_token_s"], section["client_generation_tps"]) == (12, 8 / 2)
    assert (section["time_to_first_token_s"], section["completion_tokens"]) == (0.3, 9)
    assert measuring.stop_tokens([heard], ["</s>"]) == {"configured": ["</s>"], "detected": ["</s>"], "leaked": True}


def test_a_stream_in_one_piece_has_no_speed_that_its_client_could_see() -> None:
    heard = answered(b"".join(events(piece(content="A"), {"choices": [], **TOLD})), "text/event-stream")

    section = measuring.performance([heard], 1)

    assert (section["client_first_token_s"], "client_generation_tps" in section) == (0.5, False)


def test_texts_that_are_continued_are_heard_whole_and_streamed() -> None:
    choices = [{"index": 0, "text": "one"}, {"index": 1, "text": "two"}]
    whole = answered(json.dumps({"choices": choices, **TOLD}).encode(), "application/json", "/v1/completions")
    parts = [{"choices": [choice]} for choice in (choices[1], choices[0], {"index": 1, "text": "!"})]
    stream = answered(b"".join(events(*parts)), "text/event-stream", "/v1/completions")

    assert (sorted(whole.texts), sorted(stream.texts)) == (["one", "two"], ["one", "two!"])


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"text": "Hello", "usage": {"type": "duration", "seconds": 2.0}}'),
        ("application/json", b'{"text": "Hello", "duration": 2.0}'),
        ("text/plain; charset=utf-8", b"Hello"),
        ("text/vtt; charset=utf-8", b"Hello"),
    ],
)
def test_a_transcript_is_measured_against_the_length_of_its_recording(kind: str, body: bytes) -> None:
    form = b"--b\r\n\r\n" + wav(array.array("d", bytes(8 * 2 * RATE))) + b"\r\n--b--\r\n"

    heard = answered(body, kind, "/v1/audio/transcriptions", sent=form)

    assert heard.texts == ("Hello",)
    assert measuring.performance([heard, heard], 1) == {"peak_ram_gb": 0.0, "audio_duration_s": 4.0, "real_time_factor": 0.25}


def test_a_recording_in_another_format_has_the_length_that_is_told_and_no_other() -> None:
    heard = answered(b"Hello", "text/plain", "/v1/audio/transcriptions", sent=b"ID3")

    assert measuring.performance([heard], 1) == {"peak_ram_gb": 0.0}


def test_a_command_tells_how_long_it_listened() -> None:
    told = {"response": "Hi", "end_tokens": [], "usage": TOLD["usage"], "timings": TOLD["timings"], "duration_s": 3.0}

    section = measuring.performance([measuring.of_command(told)], 1)

    assert (section["audio_duration_s"], section["real_time_factor"]) == (3.0, pytest.approx(0.1))


def test_a_test_that_asked_for_no_answer_claims_nothing_of_answers() -> None:
    assert measuring.performance([], 0) == {}
    assert measuring.stop_tokens([], ("</s>",)) == {"configured": ["</s>"]}


@pytest.mark.parametrize(("answers", "leaked"), [([RUN], False), ([CHAT], True), ([RUN, CHAT], True)])
def test_a_configured_end_token_in_any_text_is_a_leak(answers: list[measuring.Answer], leaked: bool) -> None:
    assert measuring.stop_tokens(answers, ("</s>", "<|end|>"))["leaked"] is leaked


def test_what_ended_an_answer_is_detected_where_it_is_told() -> None:
    assert measuring.stop_tokens([RUN, RUN], ("</s>", "<|end|>"))["detected"] == ["<|end|>"]
    assert "detected" not in measuring.stop_tokens([measuring.Answer(("Hi",))], ("</s>",))


def _record(answers: list[measuring.Answer], modality: str = "text") -> dict[str, Any]:
    return {
        "performance": measuring.performance(answers, 1_000_000),
        "stop_tokens": measuring.stop_tokens(answers, ("</s>",)),
        "inference_modality": modality,
    }


HEARD = measuring.Answer(("Hi",), audio_s=2.0, worked_s=1.0)


@pytest.mark.parametrize(
    ("told", "lacks"),
    [
        (_record([RUN]), ""),
        (_record([RUN], "vision"), ""),
        (_record([HEARD], "audio"), ""),
        (_record([RUN], "audio"), ""),
        (_record([HEARD], "text"), "model_load_time_s"),
        (_record([]), "model_load_time_s"),
        (_record([], "audio"), "audio_duration_s, real_time_factor, stop_tokens.leaked"),
        (_record([measuring.Answer(("Hi",))], "audio"), "audio_duration_s, real_time_factor:"),
        ({**_record([RUN]), "stop_tokens": {"configured": []}}, "stop_tokens.detected, stop_tokens.leaked"),
        ({**_record([RUN]), "performance": measuring.performance([RUN], 0)}, "lacks peak_ram_gb:"),
    ],
)
def test_a_record_that_does_not_say_what_answers_take_is_told_what_it_lacks(told: dict[str, Any], lacks: str) -> None:
    wrong = measuring.lacking(told, [], excused=False)

    assert (wrong == "") == (lacks == "")
    assert lacks in wrong


@pytest.mark.parametrize("missing", sorted(measuring.performance([RUN], 1).keys() - {"tokens_per_sec", "peak_memory_gb"}))
def test_each_figure_of_an_answer_is_missed(missing: str) -> None:
    told = _record([RUN])
    del told["performance"][missing]

    assert f"lacks {missing}:" in measuring.lacking(told, [], excused=False)


def test_an_answer_of_one_token_has_no_speed_where_the_tool_says_so() -> None:
    assert measuring.lacking(_record([CHAT, CHAT]), [CHAT, CHAT], excused=False) == ""
    assert "lacks generation_tps:" in measuring.lacking(_record([CHAT]), [RUN], excused=False)


def test_an_excuse_that_is_not_needed_must_go() -> None:
    assert measuring.lacking(_record([]), [], excused=True) == ""
    assert "take the mark away" in measuring.lacking(_record([RUN]), [RUN], excused=True)


def test_an_excuse_without_a_reason_is_refused(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.unmeasured(" "))

    with pytest.raises(pytest.UsageError, match="say why it is unmeasured"):
        measuring.pytest_itemcollected(request.node)


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
