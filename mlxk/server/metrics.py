"""What the server counts, as text that Prometheus reads.

Written here, because the library for it takes longer to import (0.12 s, 12 MB) than the whole server may.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlxk.engines import Completion, Finished

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters, which any thread may raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.time()
        self._requests: Counter[Labels] = Counter()
        self._tokens: Counter[Labels] = Counter()
        self._buckets: Counter[float] = Counter()
        self._first_token_s = 0.0
        self._answers = 0
        self._images = 0
        self._audio_s = 0.0

    def answered(self, path: str, status: int) -> None:
        """``path`` is a route, of which there are few, and not what a client wrote."""
        with self._lock:
            self._requests[("path", path), ("status", str(status))] += 1

    def finished(self, answers: Sequence[Completion | Finished], images: int = 0) -> None:
        """``images`` were shown to the model for these answers."""
        with self._lock:
            self._images += images
            for answer in answers:
                self._audio_s += answer.heard.duration_s if answer.heard is not None else 0.0
                usage, waited_s = answer.usage, answer.timings.time_to_first_token_s
                self._tokens[(("kind", "prompt"),)] += usage.prompt_tokens
                self._tokens[(("kind", "cached"),)] += usage.cached_tokens
                self._tokens[(("kind", "completion"),)] += usage.completion_tokens
                self._buckets.update(bound for bound in _FIRST_TOKEN_S if waited_s <= bound)
                self._first_token_s += waited_s
                self._answers += 1

    def text(self, gauges: Mapping[str, float], model: str | None) -> str:
        """``gauges`` are what the engine is doing now."""
        with self._lock:
            lines = [
                *_family("mlxk_requests_total", "counter", "Requests that were answered.", self._requests.items()),
                *_family("mlxk_tokens_total", "counter", "Tokens of finished answers and their prompts.", self._tokens.items()),
                *self._histogram("mlxk_time_to_first_token_seconds", "From the queue's end to the first token."),
                *_family("mlxk_images_total", "counter", "Images that finished answers are about.", [((), self._images)]),
                *_family("mlxk_audio_seconds_total", "counter", "Length of transcribed recordings.", [((), self._audio_s)]),
                *_family("process_start_time_seconds", "gauge", "Since 1970.", [((), self._started)]),
            ]
        for name, value in gauges.items():
            lines += _family(name, "gauge", "Requests now.", [((), value)])
        loaded = [((("model", model),), 1.0)] if model is not None else []
        lines += _family("mlxk_model_loaded", "gauge", "The model in memory.", loaded)
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str, about: str) -> Iterator[str]:
        yield from _family(name, "histogram", about, [])
        for bound in _FIRST_TOKEN_S:
            yield f'{name}_bucket{{le="{bound:g}"}} {self._buckets[bound]}'
        yield f'{name}_bucket{{le="+Inf"}} {self._answers}'
        yield f"{name}_sum {self._first_token_s:g}"
        yield f"{name}_count {self._answers}"


def _family(name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        yield f"{name}{{{told}}} {value:.15g}" if told else f"{name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
