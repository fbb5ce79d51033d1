"""Telling the calls of functions that a model writes from its answer, while both are still being written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlxk.chat import Tool, ToolCall
from mlxk.reasoning import until

_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a model marks its calls; ``closing`` is empty where they go on to the end.

    ``parse`` reads what stands between the marks, and raises what it likes. It comes with the ML library.
    """

    opening: str
    closing: str
    parse: Callable[[str, list[Any]], Any]


class CallSplitter:
    """Holds a call back until it is whole. What cannot be read as one, or calls what was not offered, is text as it stands.

    White space round calls is dropped. ``ended`` says that no other call is wanted after the first.
    """

    def __init__(self, form: CallFormat, tools: Sequence[Tool], *, only_one: bool = False) -> None:
        self._form = form
        self._tools = {tool.name: tool.definition for tool in tools}
        self._only_one = only_one
        self._held = ""
        self._blank = ""  # before a call
        self._within = self._after = False
        self.ended = False

    @property
    def held(self) -> int:
        """How many characters of the text so far wait for what comes next."""
        return len(self._held) + (len(self._blank) + len(self._form.opening) if self._within else 0)

    def push(self, text: str) -> list[str | ToolCall]:
        """The pieces that are now certain."""
        self._held += text
        pieces: list[str | ToolCall] = []
        if self._within:
            unread = max(0, len(self._held) - len(text) - len(self._form.closing))
            self._read_call(pieces, unread)
        while not self._within and not self.ended and self._read_text(pieces):
            self._read_call(pieces, 0)
        return pieces

    def finish(self) -> list[str | ToolCall]:
        """What was held back, when no more text will come: a call may lack its end."""
        held, self._held = self._held, ""
        if self._within:
            self._within = False
            return [*self._parsed(held, "")]
        return [held] if held and not self._after and not self.ended else []

    def _read_text(self, pieces: list[str | ToolCall]) -> bool:
        """Whether a call begins behind it."""
        if self._after:
            self._held = self._held.lstrip()
            self._after = not self._held
        before, opening, rest = until((self._form.opening,), self._held)
        text = before.rstrip()
        if text:
            pieces.append(text)
        self._within = opening is not None
        self._blank = before[len(text) :]
        self._held = rest if self._within else self._blank + rest
        return self._within

    def _read_call(self, pieces: list[str | ToolCall], unread: int) -> None:
        """To its end, if it has come; ``unread`` is from where it may."""
        place = self._held.find(self._form.closing, unread) if self._form.closing else -1
        if place < 0:
            return
        written, self._held = self._held[:place], self._held[place + len(self._form.closing) :]
        self._within = False
        pieces += self._parsed(written, self._form.closing)

    def _parsed(self, written: str, closing: str) -> Sequence[str | ToolCall]:
        calls = self._calls(written)
        self._after = bool(calls)
        if not calls:
            return [self._blank + self._form.opening + written + closing]
        self.ended = self._only_one
        return calls[:1] if self._only_one else calls

    def _calls(self, written: str) -> list[ToolCall]:
        """None at all if one of them is none."""
        try:
            found = self._form.parse(written, list(self._tools.values()))
            return [self._call(each) for each in (found if isinstance(found, list) else [found])]
        except (ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError):
            return []

    def _call(self, found: Any) -> ToolCall:
        """Raises ValueError and its like for what is no call of a function that was offered."""
        name, arguments, given = found["name"], found.get("arguments", {}), found.get("id")
        if isinstance(arguments, str):  # some templates show them as a text
            arguments = json.loads(arguments)
        if name not in self._tools or not isinstance(arguments, dict):
            raise ValueError(name)
        encoded = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        encoded.encode()  # half of a surrogate pair has no encoding
        return ToolCall(given if isinstance(given, str) and _ID.fullmatch(given) else _new_id(), name, encoded)


def _new_id() -> str:
    """Nine letters and digits, because the templates of Mistral's models take no other."""
    return os.urandom(5).hex()[:9]
