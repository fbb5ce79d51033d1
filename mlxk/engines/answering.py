"""One answer as it comes about: its tokens go in, its events come out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import mlx.core as mx

from mlxk.answer import Answer
from mlxk.chat import ToolCall, ends_in_a_row
from mlxk.detokenize import IncrementalDecoder
from mlxk.engines import Chosen, Event, Finished, FinishReason, Generation, Likelihood, Reasoning, Text, Timings, Usage
from mlxk.reasoning import Part

_LEAST_LOGPROB = -9999.0  # JSON has no infinity; OpenAI's API writes this for what is impossible


@dataclass(slots=True, eq=False)
class Answering:
    """``prompt`` is in tokens, ``budget`` how many may come; ``cached_tokens`` of the prompt were not read again."""

    request: Generation
    prompt: list[int]
    budget: int
    ends: Mapping[int, str]
    answer: Answer
    decode: Callable[[Sequence[int]], str]
    load_time_s: float
    cached_tokens: int = 0
    _count: int = 0
    _ended_by: tuple[str, ...] = ()
    _called: bool = False
    _decoder: IncrementalDecoder = field(init=False)
    _chosen: _ChosenTokens | None = field(init=False)
    _began: float = field(default_factory=time.perf_counter)
    _first: float = 0.0
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._decoder = IncrementalDecoder(self.decode)
        top = self.request.top_logprobs
        self._chosen = _ChosenTokens(self.decode, top) if top is not None else None

    @property
    def left(self) -> int:
        """How many more tokens may come."""
        return self.budget - self._count

    @property
    def complete(self) -> bool:
        """Whether no more tokens are wanted."""
        return bool(self._ended_by) or self.answer.complete or self.left <= 0

    def push(self, token: int, logprobs: mx.array) -> Iterator[Event]:
        """What is now certain. ``logprobs`` are those that the token was chosen from, of shape (vocabulary,)."""
        self._tick()
        if token in self.ends:
            self._ended_by = (self.ends[token],)
            return
        piece = self._decoder.push(token)
        if self._chosen is not None:
            self._chosen.add(token, logprobs, piece)
        yield from self._events(self.answer.push(piece))

    def look_past(self, end: int, following: Iterable[int]) -> None:
        """See which end tokens follow the one that ended it."""
        self._ended_by = ends_in_a_row(end, following, self.ends)

    def finish(self) -> Iterator[Event]:
        yield from self._events(self.answer.push(self._decoder.finish()))
        yield from self._events(self.answer.finish())
        stopped = bool(self._ended_by) or self.answer.complete
        usage = Usage(len(self.prompt), self._count, self.cached_tokens)
        reason: FinishReason = "length" if not stopped else "tool_calls" if self._called else "stop"
        yield Finished(reason, usage, self._timings(), self._ended_by)

    def _events(self, parts: Iterable[Part | ToolCall]) -> Iterator[Event]:
        for part in parts:
            if isinstance(part, ToolCall):
                self._called = True
                yield part
            elif part.kind == "reasoning":
                yield Reasoning(part.text)
            else:
                shown = self._chosen.shown(len(part.text) + self.answer.held) if self._chosen is not None else ()
                yield Text(part.text, shown)

    def _tick(self) -> None:
        self._last = time.perf_counter()
        self._first = self._first or self._last
        self._count += 1

    def _timings(self) -> Timings:
        waited, decoding = self._first - self._began, self._last - self._first
        return Timings(
            load_time_s=self.load_time_s,
            time_to_first_token_s=waited,
            prompt_tps=(len(self.prompt) - self.cached_tokens) / waited,
            generation_tps=(self._count - 1) / decoding if decoding > 0 else None,
            peak_memory_gb=mx.get_peak_memory() / 1e9,
        )


class _ChosenTokens:
    """Tokens that were chosen and not shown yet, each with the characters that it completed."""

    def __init__(self, decode: Callable[[Sequence[int]], str], top: int) -> None:
        self._decode = decode
        self._top = top
        self._waiting: deque[tuple[Chosen, int]] = deque()

    def add(self, token: int, logprobs: mx.array, piece: str) -> None:
        likeliest = _likeliest(logprobs, self._top)
        chosen = Chosen(self._likelihood(token, logprobs), tuple(self._likelihood(each, logprobs) for each in likeliest))
        self._waiting.append((chosen, len(piece)))

    def shown(self, characters: int) -> tuple[Chosen, ...]:
        """The last tokens that have so many characters together, of which the last may be held back; those before had none."""
        found: deque[Chosen] = deque()
        while self._waiting and (characters > 0 or not self._waiting[-1][1]):
            chosen, length = self._waiting.pop()
            characters -= length
            found.appendleft(chosen)
        self._waiting.clear()
        return tuple(found)

    def _likelihood(self, token: int, logprobs: mx.array) -> Likelihood:
        alone = self._decode([token])
        text = self._decode([token, token])[len(alone) :]  # the second time, because many decoders drop the first one's space
        return Likelihood(text, max(_LEAST_LOGPROB, float(logprobs[token])))


def _likeliest(logprobs: mx.array, count: int) -> list[int]:
    """The tokens with the highest probabilities, the likeliest first."""
    if not count:
        return []
    found = cast("list[int]", mx.argpartition(-logprobs, kth=count - 1)[:count].tolist())
    return sorted(found, key=lambda token: -float(logprobs[token]))
