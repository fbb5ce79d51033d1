"""What is shown of the text that a model writes: reasoning and answer apart, both ended at the first stop string."""

from __future__ import annotations

from collections.abc import Collection

from mlxk.reasoning import Kind, Part, Splitter
from mlxk.stop import StopMatcher


class Answer:
    """Passes the parts on that are certain. ``complete`` says that no more will come, whatever the model writes.

    ``ends`` are the texts of end tokens, which end everything; ``stops`` are what a request or a chat adds, and end the
    answer only: what a model reasons about must not cut it short.
    """

    def __init__(self, splitter: Splitter, ends: Collection[str], stops: Collection[str]) -> None:
        self._splitter = splitter
        self._matchers = {"reasoning": StopMatcher(ends), "answer": StopMatcher((*ends, *stops))}
        self._kind: Kind | None = None
        self._stopped = False

    @property
    def complete(self) -> bool:
        return self._splitter.ended or self._stopped

    @property
    def held(self) -> int:
        """How many characters of the text so far wait for what comes next."""
        return self._splitter.held + sum(matcher.held for matcher in self._matchers.values())

    def push(self, text: str) -> list[Part]:
        return self._matched(self._splitter.push(text))

    def finish(self) -> list[Part]:
        return [*self._matched(self._splitter.finish()), *self._flush()]

    def _matched(self, parts: list[Part]) -> list[Part]:
        passed: list[Part] = []
        for part in parts:
            if part.kind != self._kind:
                passed += self._flush()
                self._kind = part.kind
            if not self._stopped:
                passed += self._passed(part.kind, self._matchers[part.kind].push(part.text))
        return passed

    def _flush(self) -> list[Part]:
        return [] if self._kind is None else self._passed(self._kind, self._matchers[self._kind].finish())

    def _passed(self, kind: Kind, text: str) -> list[Part]:
        self._stopped = self._stopped or self._matchers[kind].matched
        return [Part(kind, text)] if text else []
