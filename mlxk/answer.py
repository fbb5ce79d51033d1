"""What is shown of the text that a model writes: reasoning and answer apart, both ended at the first stop string."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from mlxk.calls import CallSplitter
from mlxk.chat import ToolCall
from mlxk.reasoning import Kind, Part, Splitter
from mlxk.stop import StopMatcher


class Answer:
    """Passes the parts on that are certain. ``complete`` says that no more will come, whatever the model writes.

    ``ends`` are the texts of end tokens, which end everything; ``stops`` are what a request or a chat adds, and end the
    answer only: what a model reasons about, or calls a function with, must not cut it short. Without ``calls`` it calls none.
    """

    def __init__(
        self, splitter: Splitter, ends: Collection[str], stops: Collection[str], calls: CallSplitter | None = None
    ) -> None:
        self._splitter = splitter
        self._calls = calls
        self._matchers = {"reasoning": StopMatcher(ends), "answer": StopMatcher((*ends, *stops))}
        self._kind: Kind | None = None
        self._stopped = False

    @property
    def complete(self) -> bool:
        return self._splitter.ended or self._stopped or (self._calls is not None and self._calls.ended)

    @property
    def held(self) -> int:
        """How many characters of the text so far wait for what comes next."""
        matching = sum(matcher.held for matcher in self._matchers.values())
        return self._splitter.held + matching + (self._calls.held if self._calls is not None else 0)

    def push(self, text: str) -> list[Part | ToolCall]:
        return self._matched(self._told_apart(self._splitter.push(text)))

    def finish(self) -> list[Part | ToolCall]:
        last = self._matched(self._told_apart(self._splitter.finish()))
        if self._calls is not None:
            last += self._matched(map(_answer, self._calls.finish()))
        return [*last, *self._flush()]

    def _told_apart(self, parts: Iterable[Part]) -> Iterator[Part | ToolCall]:
        """Calls and answer."""
        for part in parts:
            if part.kind == "answer" and self._calls is not None:
                yield from map(_answer, self._calls.push(part.text))
            else:
                yield part

    def _matched(self, parts: Iterable[Part | ToolCall]) -> list[Part | ToolCall]:
        passed: list[Part | ToolCall] = []
        for part in parts:
            kind = part.kind if isinstance(part, Part) else None
            if kind != self._kind:
                passed += self._flush()
                self._kind = kind
            if self._stopped:
                break
            passed += self._passed(part.kind, self._matchers[part.kind].push(part.text)) if isinstance(part, Part) else [part]
        return passed

    def _flush(self) -> list[Part]:
        return [] if self._kind is None else self._passed(self._kind, self._matchers[self._kind].finish())

    def _passed(self, kind: Kind, text: str) -> list[Part]:
        self._stopped = self._stopped or self._matchers[kind].matched
        return [Part(kind, text)] if text else []


def _answer(piece: str | ToolCall) -> Part | ToolCall:
    return Part("answer", piece) if isinstance(piece, str) else piece
