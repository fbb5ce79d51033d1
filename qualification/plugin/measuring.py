"""What the tool tells and takes while a test runs on a model: timings and end tokens of its answers, memory of its processes.

A test over models shows what an answer takes, or is marked ``unmeasured`` with the reason why it does not: nothing is left out
unseen.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from qualification.plugin import modelfiles

_INTERVAL_S = 0.1
_MUCH_SWAP_MB, _LITTLE_FREE_GB = 100, 5
"""Beyond these a machine is no place to measure on; the rules of thumb that earlier reports used."""

REQUIRED = {
    "text": (
        "model_load_time_s", "time_to_first_token_s", "prompt_tps", "generation_tps", "prompt_tokens", "completion_tokens",
        "stop_tokens.configured", "stop_tokens.detected", "stop_tokens.leaked",
    ),
    "audio": ("audio_duration_s", "real_time_factor", "stop_tokens.configured", "stop_tokens.leaked"),
}  # fmt: skip
"""What the record of a test that got answers says of them: of text, also about pictures; and of transcripts."""

_CALLED = pytest.StashKey[bool]()


@dataclass(frozen=True, slots=True)
class Answer:
    """What one answer of the tool tells of itself, and what its client saw of it.

    ``end_tokens`` is None where the form of the answer does not tell them. ``audio_s`` is the length of a recording, and
    ``worked_s`` the time that it took. ``first_s`` and ``last_s`` are when the first and the last piece of a stream arrived.
    """

    texts: tuple[str, ...]
    timings: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    end_tokens: tuple[str, ...] | None = None
    audio_s: float | None = None
    worked_s: float | None = None
    first_s: float | None = None
    last_s: float | None = None

    @property
    def tells(self) -> bool:
        """Whether there is a figure in it."""
        return bool(self.timings) or self.audio_s is not None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was answered with 200. ``arrivals`` are bytes of the body so far, and seconds since the request was sent."""

    path: str
    sent: bytes
    content_type: str
    body: bytes
    arrivals: tuple[tuple[int, float], ...]

    @property
    def took_s(self) -> float:
        return self.arrivals[-1][1]

    def moment(self, size: int) -> float:
        """When the first ``size`` bytes of the body had arrived."""
        return next((seconds for arrived, seconds in self.arrivals if arrived >= size), self.took_s)


_heard: list[Answer] = []


def hear(answer: Answer) -> None:
    """Keeps an answer for the record of the running test; from any thread."""
    _heard.append(answer)


def of_command(data: Mapping[str, Any]) -> Answer:
    """What ``run --json`` tells."""
    timings = data["timings"]
    return Answer(
        texts=(data["response"],),
        timings=timings,
        usage=data["usage"],
        end_tokens=tuple(data["end_tokens"]),
        audio_s=data.get("duration_s"),
        worked_s=timings["time_to_first_token_s"] if "duration_s" in data else None,
    )


def of_exchange(exchange: Exchange) -> Answer:
    """What a response of the API tells, in whatever form it came."""
    if exchange.path.endswith("/audio/transcriptions"):
        return _of_recording(exchange)
    if exchange.content_type.startswith("text/event-stream"):
        return _of_stream(exchange)
    document = json.loads(exchange.body)
    parts = [choice.get("message") or choice for choice in document.get("choices", ())]
    return _told(document, [part.get("content") or part.get("text") or "" for part in parts])


def _told(document: Mapping[str, Any], texts: Sequence[str], **seen: float | None) -> Answer:
    ends = document.get("end_tokens")
    return Answer(
        texts=tuple(texts),
        timings=document.get("timings", {}),
        usage=document.get("usage") or {},
        end_tokens=None if ends is None else tuple(ends),
        **seen,
    )


def _of_stream(exchange: Exchange) -> Answer:
    """Pieces by when they arrived; figures from the event that has them, which is the last and there if usage was asked for."""
    last: Mapping[str, Any] = {}
    texts: dict[int, str] = {}
    moments = []
    size = 0
    for block in exchange.body.split(b"\n\n"):
        size += len(block) + 2
        if not block.startswith(b"data: {"):
            continue
        last = json.loads(block.removeprefix(b"data: "))
        for choice in last.get("choices", ()):
            part = choice.get("delta", choice)
            text = part.get("content") or part.get("text") or ""
            texts[choice["index"]] = texts.get(choice["index"], "") + text
            if text or part.get("reasoning_content"):
                moments.append(exchange.moment(size))
    seen = {"first_s": moments[0], "last_s": moments[-1]} if moments else {}
    return _told(last, list(texts.values()), **seen)


def _of_recording(exchange: Exchange) -> Answer:
    """A transcript. Its length is told with it, else read from the recording that was sent; work is what the client waited."""
    document = json.loads(exchange.body) if exchange.content_type.startswith("application/json") else {}
    text = document.get("text", exchange.body.decode("utf-8"))
    told = document.get("usage", {}).get("seconds", document.get("duration"))
    seconds = _length_s(exchange.sent) if told is None else told
    return Answer((text,), document.get("timings", {}), audio_s=seconds, worked_s=exchange.took_s)


def _length_s(form: bytes) -> float | None:
    """Of the WAV file in a form; None for a recording in another format."""
    import wave  # noqa: PLC0415 - for tests over recordings

    begin = form.find(b"RIFF")
    if begin < 0:
        return None
    with wave.open(io.BytesIO(form[begin:])) as recording:
        return float(recording.getnframes() / recording.getframerate())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        item.stash[_CALLED] = report.passed
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    """Raises UsageError for a test that is unmeasured and does not say why."""
    for mark in item.iter_markers("unmeasured"):
        if not (mark.args and isinstance(mark.args[0], str) and mark.args[0].strip()):
            raise pytest.UsageError(f'{item.nodeid}: say why it is unmeasured: @pytest.mark.unmeasured("the reason")')


@pytest.fixture(autouse=True)
def _measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Adds what was measured to the record of a test that has a model. What the test itself reported stands."""
    if not any(name.endswith("_model_key") for name in request.fixturenames):
        yield
        return
    _heard.clear()
    told = request.node.user_properties
    health = system_health()
    with PeakMemory() as memory:
        yield
    model = next((value for name, value in told if name == "model"), None)
    if model is None:
        return
    facts = modelfiles.read(model["id"])
    model["quantization"] = facts.quantization
    _complete(told, "performance", performance(_heard, memory.peak_bytes))
    _complete(told, "stop_tokens", stop_tokens(_heard, facts.end_tokens))
    _complete(told, "system_health", health)
    mark = request.node.get_closest_marker("unmeasured")
    if mark:
        told.append(("unmeasured", mark.args[0]))
    if request.node.stash.get(_CALLED, False) and (wrong := lacking(dict(told), _heard, excused=mark is not None)):
        pytest.fail(wrong, pytrace=False)


def lacking(told: Mapping[str, Any], answers: Sequence[Answer], *, excused: bool) -> str:
    """Why the record of a passed test on a model would not say what an answer takes, or says it though it is excused."""
    has = set(told["performance"]) | {f"stop_tokens.{name}" for name in told["stop_tokens"]}
    measured = told["performance"].keys() - {"peak_ram_gb"}
    if excused:
        return "it is marked unmeasured, and what its answers take was measured: take the mark away" if measured else ""
    no_speed = any(answer.timings.get("generation_tps", 0) is None for answer in answers)  # of one token, as the tool says
    answered = [name for name in REQUIRED["text"] if not (no_speed and name == "generation_tps")]
    heard = [REQUIRED["audio"]] if told.get("inference_modality") == "audio" else []
    missing = min(([name for name in ("peak_ram_gb", *required) if name not in has] for required in (answered, *heard)), key=len)
    if not missing:
        return ""
    return (
        f"its record lacks {', '.join(missing)}: ask the model in a form that tells it (run --json, or the server"
        ' with usage), or say why not: @pytest.mark.unmeasured("the reason")'
    )


def performance(answers: Sequence[Answer], peak_bytes: int) -> dict[str, Any]:
    """One section for all answers of a test: medians of rates and waits, sums of tokens, the most of load time and memory."""
    from statistics import median  # noqa: PLC0415 - its fractions take longer to import than a test that needs none to run

    section: dict[str, Any] = {"peak_ram_gb": round(peak_bytes / 1e9, 6)} if peak_bytes else {}
    combine: dict[str, tuple[Callable[[Answer], float | None], Callable[[Sequence[float]], float]]] = {
        "generation_tps": (lambda each: each.timings.get("generation_tps"), median),
        "tokens_per_sec": (lambda each: each.timings.get("generation_tps"), median),
        "prompt_tps": (lambda each: each.timings.get("prompt_tps") or None, median),  # of a recording there is none
        "time_to_first_token_s": (lambda each: each.timings.get("time_to_first_token_s"), median),
        "client_first_token_s": (lambda each: each.first_s, median),
        "client_generation_tps": (_seen_tps, median),
        "model_load_time_s": (lambda each: each.timings.get("load_time_s"), max),
        "peak_memory_gb": (lambda each: each.timings.get("peak_memory_gb"), max),
        "audio_duration_s": (lambda each: each.audio_s, sum),
        "real_time_factor": (_real_time_factor, median),
        "prompt_tokens": (lambda each: each.usage.get("prompt_tokens"), sum),
        "completion_tokens": (lambda each: each.usage.get("completion_tokens"), sum),
    }
    for name, (figure, combined) in combine.items():
        values = [value for each in answers if (value := figure(each)) is not None]
        if values:
            section[name] = combined(values)
    return section


def _seen_tps(answer: Answer) -> float | None:
    """Tokens after the first one by the time between the first and the last piece; None where they came as one."""
    tokens = answer.usage.get("completion_tokens", 0)
    if answer.first_s is None or answer.last_s is None or answer.last_s <= answer.first_s or tokens < 2:
        return None
    return float((tokens - 1) / (answer.last_s - answer.first_s))


def _real_time_factor(answer: Answer) -> float | None:
    return answer.worked_s / answer.audio_s if answer.audio_s and answer.worked_s is not None else None


def stop_tokens(answers: Sequence[Answer], configured: Sequence[str]) -> dict[str, Any]:
    """``configured`` by the model's files, ``detected`` as what ended an answer, ``leaked`` if one of them stands in a text.

    Where the test got no answer nothing can be said of the last two, and where no answer tells what ended it nothing of that.
    """
    section: dict[str, Any] = {"configured": list(configured)}
    if answers:
        section["leaked"] = any(token in text for token in configured for answer in answers for text in answer.texts)
    ends = [answer.end_tokens for answer in answers if answer.end_tokens is not None]
    if ends:
        section["detected"] = list(dict.fromkeys(token for each in ends for token in each))
    return section


def system_health() -> dict[str, Any]:
    """Of the machine, now."""
    import psutil  # noqa: PLC0415 - for tests that have a model

    swap_mb = psutil.swap_memory().used / 1e6
    free_gb = psutil.virtual_memory().available / 1e9
    zombies = sum(process.info["status"] == psutil.STATUS_ZOMBIE for process in psutil.process_iter(["status"]))
    return {
        "swap_used_mb": round(swap_mb, 1),
        "ram_free_gb": round(free_gb, 3),
        "zombie_processes": zombies,
        "load_1": round(psutil.getloadavg()[0], 2),
        "quality_flags": quality_flags(swap_mb, free_gb, zombies),
    }


def quality_flags(swap_mb: float, free_gb: float, zombies: int) -> list[str]:
    """What degrades a measurement; ``clean`` where nothing does."""
    flags = {
        "degraded_swap": swap_mb > _MUCH_SWAP_MB,
        "degraded_zombies": zombies > 0,
        "degraded_memory": free_gb < _LITTLE_FREE_GB,
    }
    return [flag for flag, holds in flags.items() if holds] or ["clean"]


def _complete(told: list[tuple[str, Any]], name: str, measured: Mapping[str, Any]) -> None:
    given = next((value for key, value in told if key == name), None)
    if given is None:
        told.append((name, dict(measured)))
    else:
        given.update({key: value for key, value in measured.items() if key not in given})


class PeakMemory:
    """Samples the resident memory of everything that this process started, ten times a second."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil  # noqa: PLC0415 - for tests that have a model

        while True:
            over = self._over.wait(_INTERVAL_S)
            held = 0
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    held += process.memory_info().rss
            self.peak_bytes = max(self.peak_bytes, held)
            if over:
                return
