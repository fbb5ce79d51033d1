"""What the tool tells and takes while a test runs on a model: timings and end tokens of its answers, memory of its processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from qualification.plugin import modelfiles

_INTERVAL_S = 0.1
_MUCH_SWAP_MB, _LITTLE_FREE_GB = 100, 5
"""Beyond these a machine is no place to measure on; the rules of thumb that earlier reports used."""

_heard: list[Mapping[str, Any]] = []


def hear(document: Mapping[str, Any]) -> None:
    """Keeps an answer of the tool for the record of the running test: the data of ``run --json``, or a response of the API."""
    if "timings" in document:
        _heard.append(document)


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


def performance(answers: Sequence[Mapping[str, Any]], peak_bytes: int) -> dict[str, Any]:
    """One section for all answers of a test: medians of rates and waits, sums of tokens, the most of load time and memory."""
    from statistics import median  # noqa: PLC0415 - its fractions take longer to import than a test that needs none to run

    section: dict[str, Any] = {"peak_ram_gb": round(peak_bytes / 1e9, 6)} if peak_bytes else {}
    timings = [answer["timings"] for answer in answers]
    combine: dict[str, tuple[str, Callable[[Sequence[float]], float]]] = {
        "generation_tps": ("generation_tps", median),
        "tokens_per_sec": ("generation_tps", median),
        "prompt_tps": ("prompt_tps", median),
        "time_to_first_token_s": ("time_to_first_token_s", median),
        "model_load_time_s": ("load_time_s", max),
        "peak_memory_gb": ("peak_memory_gb", max),
    }
    for name, (told, combined) in combine.items():
        values = [each[told] for each in timings if each.get(told) is not None]
        if values:
            section[name] = combined(values)
    for name in ("prompt_tokens", "completion_tokens") if answers else ():
        section[name] = sum(answer["usage"][name] for answer in answers)
    return section


def stop_tokens(answers: Sequence[Mapping[str, Any]], configured: Sequence[str]) -> dict[str, Any]:
    """``configured`` by the model's files, ``detected`` as what ended an answer, ``leaked`` if one of them stands in a text.

    Where the test asked for no answer nothing can be said of the last two.
    """
    if not answers:
        return {"configured": list(configured)}
    detected = dict.fromkeys(token for answer in answers for token in answer.get("end_tokens", ()))
    texts = [answer.get("response") or "" for answer in answers]
    texts += [(choice.get("message") or {}).get("content") or "" for answer in answers for choice in answer.get("choices", ())]
    leaked = any(token in text for token in configured for text in texts)
    return {"configured": list(configured), "detected": list(detected), "leaked": leaked}


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
