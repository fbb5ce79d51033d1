"""Telling a model's reasoning from its answer, while both are still being written."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["reasoning", "answer"]

_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_MESSAGE_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of what a model wrote; never empty."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Tags:
    """Reasoning stands before the answer, between two marks."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True)
class Channels:
    """OpenAI's harmony: every message names its channel, and only the one called final is the answer.

    Source: https://cookbook.openai.com/articles/openai-harmony
    """


Format = Tags | Channels

_TAGS = (
    Tags("<think>", "</think>"),
    Tags("<thinking>", "</thinking>"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("<longcat_think>", "</longcat_think>"),
    Tags("<|think:start|>", "<|think:end|>"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    Tags("<|channel>thought", "<channel|>"),
    Tags("[THINK]", "[/THINK]"),
)


def find_format(template: str, tokens: Collection[str]) -> Format | None:
    """How a model marks its reasoning, from its chat template and the tokens added to its vocabulary; None: it does not."""
    if {"<|channel|>", "<|message|>"} <= {*tokens}:
        return Channels()
    known = {*tokens}
    for tags in _TAGS:
        if all(tag in known or tag in template for tag in (tags.opening, tags.closing)):
            return tags
    return None


class Splitter(Protocol):
    """``ended`` says that the answer is complete although the model would go on."""

    ended: bool

    @property
    def held(self) -> int:
        """How many characters of the text so far wait for what comes next."""
        ...

    def push(self, text: str) -> list[Part]:
        """The parts that are now certain."""
        ...

    def finish(self) -> list[Part]:
        """What was held back, when no more text will come."""
        ...


def split(form: Format | None, prompt: str) -> Splitter:
    """A splitter for what follows ``prompt``, which may have opened the reasoning already."""
    if isinstance(form, Tags):
        return _TagSplitter(form, opened=prompt.rstrip().endswith(form.opening))
    if isinstance(form, Channels):
        return _ChannelSplitter(prompt)
    return _NoSplitter()


class _NoSplitter:
    ended = False
    held = 0

    def push(self, text: str) -> list[Part]:
        return [Part("answer", text)] if text else []

    def finish(self) -> list[Part]:
        return []


class _TagSplitter:
    """Reasoning can begin at the very beginning only, so an answer may speak of the tags; white space round it is dropped."""

    ended = False

    def __init__(self, tags: Tags, *, opened: bool) -> None:
        self._tags = tags
        self._opened = opened
        self._state: Literal["beginning", "reasoning", "gap", "answer"] = "beginning"
        self._reasoning = _Trimmer()
        self._held = ""

    @property
    def held(self) -> int:
        return len(self._held)

    def push(self, text: str) -> list[Part]:
        self._held += text
        parts: list[Part] = []
        if self._state == "beginning":
            self._begin()
        if self._state == "reasoning":
            self._reason(parts)
        if self._state == "gap":
            self._held = self._held.lstrip()
            self._state = "answer" if self._held else "gap"
        if self._state == "answer" and self._held:
            parts.append(Part("answer", self._held))
            self._held = ""
        return parts

    def finish(self) -> list[Part]:
        held, self._held = self._held, ""
        if self._state == "reasoning" or self._opened:
            said = self._reasoning.push(held)
            return [Part("reasoning", said)] if said else []
        return [Part("answer", held)] if held else []

    def _begin(self) -> None:
        start = self._held.lstrip()
        if start.startswith(self._tags.opening):  # also where the prompt has opened it: some models repeat the tag
            self._state = "reasoning"
            self._held = start[len(self._tags.opening) :]
        elif not self._tags.opening.startswith(start):
            self._state = "reasoning" if self._opened else "answer"

    def _reason(self, parts: list[Part]) -> None:
        before, closing, self._held = until((self._tags.closing,), self._held)
        if said := self._reasoning.push(before):
            parts.append(Part("reasoning", said))
        if closing is not None:
            self._state = "gap"


class _ChannelSplitter:
    """A message is ``<|start|>role<|channel|>name<|message|>text<|end|>``; the prompt may end anywhere within one."""

    def __init__(self, prompt: str) -> None:
        self._kind: Kind = "answer"
        self._held = ""
        self._header: str | None = None  # what was read of it; None within the text of a message
        self._begun = False
        self._separator = self._lead = ""  # between two messages of reasoning
        self.ended = False
        if (place := prompt.rfind("<|start|>")) >= 0:
            self.push(prompt[place:])
        self._given = len(self._pending())  # characters of the header that the prompt wrote
        self._begun = self.ended = False

    @property
    def held(self) -> int:
        return len(self._held)

    def push(self, text: str) -> list[Part]:
        self._held += text
        parts: list[Part] = []
        while not self.ended and (self._read_text(parts) if self._header is None else self._read_header()):
            pass
        return parts

    def finish(self) -> list[Part]:
        """Shows a header without a message where there was no message at all: the model does not keep to the form."""
        rest = self._pending()[self._given :] if not self._begun else self._held if self._header is None else ""
        return [Part(self._kind if self._header is None else "answer", rest)] if rest and not self.ended else []

    def _pending(self) -> str:
        return (self._header or "") + self._held

    def _read_header(self) -> bool:
        before, mark, self._held = until(("<|message|>",), self._held)
        header = (self._header or "") + before
        if mark is None:
            self._header = header
            return False
        name = _CHANNEL.search(header)
        self._kind = "answer" if name is None or name[1] == "final" else "reasoning"
        self._header = None
        self._begun = True
        self._lead = self._separator
        return True

    def _read_text(self, parts: list[Part]) -> bool:
        before, mark, self._held = until(_MESSAGE_ENDS, self._held)
        self._begun = self._begun or bool(before)
        if before and self._kind == "reasoning":
            parts.append(Part("reasoning", self._lead + before))
            self._lead, self._separator = "", "\n\n"
        elif before:
            parts.append(Part("answer", before))
        if mark is None:
            return False
        self._header = mark if mark == "<|channel|>" else ""
        self.ended = self._kind == "answer" and mark in ("<|end|>", "<|return|>", "<|call|>")
        return True


class _Trimmer:
    """Passes text on without the white space at both of its ends."""

    def __init__(self) -> None:
        self._begun = False
        self._blank = ""

    def push(self, text: str) -> str:
        text = self._blank + text if self._begun else text.lstrip()
        certain = text.rstrip()
        self._blank = text[len(certain) :]
        self._begun = self._begun or bool(certain)
        return certain


def until(marks: Sequence[str], text: str) -> tuple[str, str | None, str]:
    """The text before the first mark, the mark, the rest; without one what is certain, None, and what could begin one."""
    places = [(place, mark) for mark in marks if (place := text.find(mark)) >= 0]
    if places:
        place, mark = min(places)
        return text[:place], mark, text[place + len(mark) :]
    longest = min(len(text), max(map(len, marks)) - 1)
    held = next((size for size in range(longest, 0, -1) if any(mark.startswith(text[-size:]) for mark in marks)), 0)
    certain = len(text) - held
    return text[:certain], None, text[certain:]
