"""How images are shown to a model: the turn in which they stand, and what stands before its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mlxk import exif, settings
from mlxk.chat import Message
from mlxk.engines import Completion, Finished, Usage
from mlxk.images import Image

DESCRIBE = "Describe the image."

End = TypeVar("End", Completion, Finished)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An image, the number that it has in the conversation, and how people call it."""

    image: Image
    number: int
    name: str


def heading(number: int, of: int, names: Sequence[str]) -> str:
    """What tells the answers to chunks apart; empty where there is one chunk only. ``number`` counts from 1."""
    before = "\n" if number > 1 else ""
    return f"{before}Chunk {number}/{of}: {', '.join(names)}\n\n" if of > 1 else ""


def turn(prompt: str, shown: Sequence[Shown]) -> tuple[Message, str]:
    """The turn that shows images to the model together, and the table that stands before its answer, or nothing."""
    noted = [exif.facts(each.image) for each in shown]
    numbers = [each.number for each in shown]
    told = exif.context(noted, numbers) if settings.exif_context_wanted() else ""
    message = Message("user", f"{told}\n\n{prompt}" if told else prompt, tuple(each.image for each in shown))
    if not (settings.exif_wanted() and any(facts.known for facts in noted)):
        return message, ""
    rows = [exif.Row(each.number, each.image, each.name, facts) for each, facts in zip(shown, noted, strict=True)]
    return message, f"{exif.table(rows)}\n\n"


def joined(completions: Sequence[Completion], texts: Sequence[str]) -> Completion:
    """The answers to all chunks as one, which reads as ``texts`` below each other."""
    reasoning = "\n\n".join(filter(None, (each.reasoning for each in completions)))
    return dataclasses.replace(end(completions), text="\n".join(texts), reasoning=reasoning)


def end(ends: Sequence[End]) -> End:
    """How the answers to all chunks ended as one: its tokens are those of all, its times those of the first."""
    length = any(each.finish_reason == "length" for each in ends)
    usage = Usage.total(each.usage for each in ends)
    return dataclasses.replace(ends[0], finish_reason="length" if length else "stop", usage=usage)
