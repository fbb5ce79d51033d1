"""What every engine does: the one seam between a loaded model and whoever asks it. Only plain data crosses it."""

from __future__ import annotations

import functools
import gc
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mlxk import images, settings
from mlxk.chat import Message, Tool, ToolCall
from mlxk.compatibility import Modality
from mlxk.errors import GenerationFailed, MlxkError
from mlxk.library import Model
from mlxk.sounds import Sound

log = logging.getLogger(__name__)

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 takes the likeliest, and a seed makes the choice repeatable.

    ``repetition_penalty`` divides, over the last 20 tokens of prompt and answer; the other two are subtracted, over the
    whole answer: once for a token that was said, or once for each time.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class Recording:
    """What is to be heard. ``language`` is a code, or None: as heard. ``words`` asks when each of them is said."""

    sound: Sound
    language: str | None = None
    words: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """A request: a conversation, or text to be continued as it is. ``max_tokens`` None: as many as the context allows.

    Where there is a ``recording``, its transcript is asked for, and the prompt is a text: what was said before it.
    ``top_logprobs`` asks how likely each token of the answer was, and which that many others were likeliest; None: not at all.
    ``look_past_end`` asks for the end tokens that come after the first, which costs the time of one token and more.
    Of the ``tools`` it may call any, as often as it likes or, with ``one_call``, once.
    """

    prompt: tuple[Message, ...] | str
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    look_past_end: bool = False
    top_logprobs: int | None = None
    recording: Recording | None = None
    tools: tuple[Tool, ...] = ()
    one_call: bool = False

    @property
    def needs(self) -> Modality:
        """What a model must be loaded for to answer it."""
        if self.recording is not None:
            return "audio"
        shows = not isinstance(self.prompt, str) and any(message.images for message in self.prompt)
        return "vision" if shows else "text"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model counts them, the one that ends the answer included.

    ``cached_tokens`` are those of the prompt that did not have to be read again.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @classmethod
    def total(cls, usages: Iterable[Usage]) -> Usage:
        every = list(usages)
        prompt, completion = sum(each.prompt_tokens for each in every), sum(each.completion_tokens for each in every)
        return cls(prompt, completion, sum(each.cached_tokens for each in every))

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
class Likelihood:
    """A token and the natural logarithm of its probability, before temperature and what else narrows the choice."""

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token of the answer, and the likeliest ones in its place."""

    token: Likelihood
    top: tuple[Likelihood, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer. ``tokens`` are those that it shows for the first time, where the request asks for them."""

    text: str
    tokens: tuple[Chosen, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model tells itself before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a recording, in seconds from its beginning."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Decoding:
    """How Whisper came to a segment; ``seek`` is where its window began, in hundredths of a second."""

    seek: int
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording, in seconds from its beginning, and what is said in it."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    decoding: Decoding | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a recording beside its text. ``language`` is None where the model does not tell it."""

    duration_s: float
    language: str | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """Always the last event, and the only one that says how it went.

    ``end_tokens`` are the texts of the tokens that ended it: none if something else did, several if the model emitted
    different ones in a row and the request asked to look. ``heard`` is there after a recording.
    """

    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    end_tokens: tuple[str, ...] = ()
    heard: Heard | None = None


Event = Started | Reasoning | Text | ToolCall | Finished


class Job(Protocol):
    """A request, whether it is still wanted, and where its events go, the error that ends it included."""

    @property
    def request(self) -> Generation: ...

    def cancelled(self) -> bool: ...

    def put(self, event: Event | MlxkError) -> None: ...


class Batch(Protocol):
    """The requests that one model answers at the same time. Whatever goes wrong with one of them ends that one only."""

    def __len__(self) -> int: ...

    def add(self, job: Job) -> None:
        """Begin, with the next step."""
        ...

    def step(self) -> None:
        """Go on with each of them by at most one token; leave those that are finished, failed or cancelled."""
        ...


class Engine(Protocol):
    """A loaded model, to be used on the thread that loaded it."""

    def stream(self, request: Generation, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Started, any number of Reasoning, Text, ToolCall, then Finished. Ends without Finished once ``cancelled`` says so."""
        ...

    def batch(self, prompt_cache_bytes: int) -> Batch:
        """An empty one; there is one at a time. It may keep that much of what it has read for requests to come."""
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
    tokens: tuple[Chosen, ...] = ()
    heard: Heard | None = None
    calls: tuple[ToolCall, ...] = ()


def complete(events: Iterable[Event]) -> Completion | None:
    """The whole answer: its stream, joined. None if the stream was cancelled."""
    text: list[str] = []
    reasoning: list[str] = []
    tokens: list[Chosen] = []
    calls: list[ToolCall] = []
    for event in events:
        if isinstance(event, Text):
            text.append(event.text)
            tokens.extend(event.tokens)
        elif isinstance(event, Reasoning):
            reasoning.append(event.text)
        elif isinstance(event, ToolCall):
            calls.append(event)
        elif isinstance(event, Finished):
            return Completion(
                "".join(text),
                "".join(reasoning),
                event.finish_reason,
                event.usage,
                event.timings,
                event.end_tokens,
                tuple(tokens),
                event.heard,
                tuple(calls),
            )
    return None


def load(model: Model, modality: Modality = "text") -> Engine:
    """Load a model that the library admitted for this. Raises LoadFailed."""
    modality = model.way(modality)
    return _loader(modality)(model)


@functools.cache
def _loader(modality: Modality) -> Callable[[Model], Engine]:
    """What loads a model for this. What it imports stays; a server would look through that for garbage, 30 ms each time."""
    loads: Callable[[Model], Engine]
    if modality == "vision":
        from mlxk.engines.vision import VisionEngine  # noqa: PLC0415 - imports mlx-vlm, which takes seconds

        loads = VisionEngine.load
    elif modality == "audio":
        from mlxk.engines.audio import AudioEngine  # noqa: PLC0415 - imports mlx-audio, which takes a second

        loads = AudioEngine.load
    else:
        from mlxk.engines.text import TextEngine  # noqa: PLC0415 - imports mlx-lm, which takes a second

        loads = TextEngine.load
    if gc.isenabled():  # or nobody looks
        gc.collect()
        gc.freeze()
    return loads


def check_media(request: Generation) -> None:
    """Whether what the request brings can be read, which needs no model. Raises MediaRefused."""
    messages = () if isinstance(request.prompt, str) else request.prompt
    for message in messages:
        for image in message.images:
            images.decode(image)
    if request.recording is not None:
        from mlxk.engines.audio import decode  # noqa: PLC0415 - imports mlx-audio, which takes a second

        decode(request.recording.sound)


def leave_thread() -> None:
    """The last thing that a thread other than the main one does after it has loaded models."""
    if used := sys.modules.get("mlxk.engines.release"):  # as every engine does
        used.destroy_streams()


def unexpected(error: Exception) -> GenerationFailed:
    """What a request is told of a failure that nobody foresaw; the log is told too."""
    log.warning("A request failed: %s: %s", type(error).__name__, error, exc_info=settings.debug())
    return GenerationFailed(f"The engine failed: {type(error).__name__}: {error}")
