"""What every engine does: the one seam between a loaded model and whoever asks it. Only plain data crosses it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mlxk.chat import Message
from mlxk.library import Model

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 takes the likeliest, and a seed makes the choice repeatable."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A request: a conversation, or text to be continued as it is. ``max_tokens`` None: as many as the context allows.

    ``look_past_end`` asks for the end tokens that come after the first, which costs the time of one token and more.
    """

    prompt: tuple[Message, ...] | str
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    look_past_end: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model counts them, the one that ends the answer included."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """``load_time_s`` is reading weights and tokenizer, without importing libraries.

    ``generation_tps`` counts the tokens after the first, and is None if there is none.
    """

    load_time_s: float
    time_to_first_token_s: float
    prompt_tps: float
    generation_tps: float | None
    peak_memory_gb: float


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is accepted; what follows can still fail, but not for a fault of the request."""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model tells itself before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Always the last event, and the only one that says how it went.

    ``end_tokens`` are the texts of the tokens that ended it: none if something else did, several if the model emitted
    different ones in a row and the request asked to look.
    """

    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    end_tokens: tuple[str, ...] = ()


Event = Started | Reasoning | Text | Finished


class Engine(Protocol):
    """A loaded model, to be used on the thread that loaded it."""

    def stream(self, request: Generation, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Started, any number of Reasoning and Text, then Finished. Ends without Finished once ``cancelled`` says so."""
        ...

    def close(self) -> None:
        """Give its memory back."""
        ...


@dataclass(frozen=True, slots=True)
class Completion:
    """``reasoning`` is empty where there was none."""

    text: str
    reasoning: str
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    end_tokens: tuple[str, ...]


def complete(events: Iterable[Event]) -> Completion | None:
    """The whole answer: its stream, joined. None if the stream was cancelled."""
    text: list[str] = []
    reasoning: list[str] = []
    for event in events:
        if isinstance(event, Text):
            text.append(event.text)
        elif isinstance(event, Reasoning):
            reasoning.append(event.text)
        elif isinstance(event, Finished):
            joined = "".join(text), "".join(reasoning)
            return Completion(*joined, event.finish_reason, event.usage, event.timings, event.end_tokens)
    return None


def load(model: Model) -> Engine:
    """Load a model that the library admitted. Raises LoadFailed."""
    from mlxk.engines.text import TextEngine  # noqa: PLC0415 - imports mlx-lm, which takes a second

    return TextEngine.load(model)


def leave_thread() -> None:
    """The last thing that a thread other than the main one does after it has loaded models."""
    if text := sys.modules.get("mlxk.engines.text"):
        text.destroy_streams()
