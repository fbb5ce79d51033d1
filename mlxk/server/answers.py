"""From what the engine does for a request to the body of its answer: whole, or a stream of events."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlxk import engines, showing
from mlxk.chat import ToolCall
from mlxk.engines import Completion, Event, Finished, Reasoning, Started, Text
from mlxk.errors import MlxkError
from mlxk.server import replies
from mlxk.server.replies import Shape
from mlxk.server.requests import Asked
from mlxk.server.tickets import Exchange, Silence

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Client:
    """Who waits for the answer: how it is called in the log, and whether it has left."""

    request_id: str
    gone: Callable[[], bool]
    keepalive_s: float


def whole(exchange: Exchange, client: Client, headings: Sequence[str] = ()) -> list[Completion] | None:
    """Every answer, complete; with ``headings``, one that has them all. None if the client left."""
    happened: list[list[Event]] = [[] for _ in (exchange.tickets if not headings else headings[:1])]
    try:
        for index, event in _events(exchange, client, headings):
            if not isinstance(event, Silence):
                happened[index].append(event)
    finally:
        exchange.cancel()
    answers = [engines.complete(events) for events in happened]
    complete = [answer for answer in answers if answer is not None]
    return complete if len(complete) == len(answers) else None


class EventStream(ABC):
    """The body of a streamed answer; with ``headings``, of all requests as one.

    However it ends, read to its end or dropped before it began, its requests are cancelled.
    Waits until a prompt is accepted: until then a failure is raised, and has a status of its own.
    """

    def __init__(
        self, exchange: Exchange, client: Client, done: Callable[[list[Finished]], None], headings: Sequence[str] = ()
    ) -> None:
        self._exchange = exchange
        self._client = client
        self._answers = 1 if headings else len(exchange.tickets)
        self._done = done
        self._events = _events(exchange, client, headings)
        try:
            next(self._events, None)
        except MlxkError:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """The opening, what happens, what stands at the end, and the end; or an error, after which nothing comes."""
        yield self._opening()
        finished = []
        try:
            for index, event in self._events:
                if isinstance(event, Finished):
                    finished.append(event)
                if (encoded := self._encoded(index, event)) is not None:
                    yield encoded
        except MlxkError as error:
            log.warning("%s", error.message, extra={"request_id": self._client.request_id})
            yield replies.event(replies.error_object(error))
            return
        if len(finished) == self._answers:
            self._done(finished)
            yield from self._ending(finished)
            yield replies.LAST_EVENT

    def close(self) -> None:
        self._exchange.cancel()

    def _opening(self) -> bytes:
        return replies.KEEPALIVE

    @abstractmethod
    def _encoded(self, index: int, event: Event | Silence) -> bytes | None: ...

    def _ending(self, finished: list[Finished]) -> Iterator[bytes]:
        yield from ()


class TranscriptStream(EventStream):
    """Of one recording: its text, and at the end all of it once more, as OpenAI's API has it."""

    _text = ""

    def _encoded(self, index: int, event: Event | Silence) -> bytes | None:
        if isinstance(event, Text):
            self._text += event.text
            return replies.event({"type": "transcript.text.delta", "delta": event.text})
        if isinstance(event, Finished):
            return replies.event({"type": "transcript.text.done", "text": self._text})
        return replies.KEEPALIVE if isinstance(event, Silence) else None


class CompletionStream(EventStream):
    """Of conversations and texts: text, how each answer ended, and usage if it was asked for."""

    def __init__(
        self, exchange: Exchange, client: Client, shape: Shape, asked: Asked, done: Callable[[list[Finished]], None]
    ) -> None:
        self._shape = shape
        self._include_usage = asked.include_usage
        super().__init__(exchange, client, done, asked.headings)

    def _opening(self) -> bytes:
        opening = self._shape.opening()
        return super()._opening() if opening is None else self._chunk(self._shape.chunk(0, opening))

    def _ending(self, finished: list[Finished]) -> Iterator[bytes]:
        if self._include_usage:
            yield replies.event(self._shape.usage_chunk(finished))

    def _encoded(self, index: int, event: Event | Silence) -> bytes | None:
        shape = self._shape
        if isinstance(event, Text):
            return self._chunk(shape.chunk(index, shape.part(event), event.tokens))
        if isinstance(event, (Reasoning, ToolCall)):
            return self._chunk(shape.chunk(index, shape.part(event)))
        if isinstance(event, Finished):
            return self._chunk(shape.chunk(index, shape.part(None), ended=event.finish_reason))
        return replies.KEEPALIVE if isinstance(event, Silence) else None

    def _chunk(self, chunk: dict[str, object]) -> bytes:
        """With usage asked for every chunk names it, as OpenAI's do."""
        return replies.event(chunk | ({"usage": None} if self._include_usage else {}))


def _events(exchange: Exchange, client: Client, headings: Sequence[str]) -> Iterator[tuple[int, Event | Silence]]:
    happened = exchange.events(client.gone, client.keepalive_s)
    return _in_one(happened, headings) if headings else happened


def _in_one(happened: Iterator[tuple[int, Event | Silence]], headings: Sequence[str]) -> Iterator[tuple[int, Event | Silence]]:
    """Answers that are made one after another, as one: each below its heading."""
    finished: list[Finished] = []
    for index, event in happened:
        if not isinstance(event, Finished):
            yield 0, event
            if isinstance(event, Started):
                yield 0, Text(headings[index])
            continue
        finished.append(event)
        if len(finished) == len(headings):
            yield 0, showing.end(finished)
