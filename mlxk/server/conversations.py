"""From a conversation with images and recordings to what a model is asked: which of them count, and how they are numbered.

What the last message of the user brings is what is asked about, and by itself: no model remembers an image. Of what came with
earlier messages it is only told that there was something.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from mlxk import exif, images, showing
from mlxk.chat import Message
from mlxk.engines import Recording
from mlxk.errors import MediaRefused, RequestError
from mlxk.showing import Shown

_MOST_ROWS = 10_000

Prompt = tuple[Message, ...] | str


@dataclass(frozen=True, slots=True)
class Posed:
    """Where images are shown in chunks, there is a prompt for each of them, and something that stands before the answer to it:

    ``headings`` are as many as prompts, or none. Only one ``recording`` is heard.
    """

    prompts: tuple[Prompt, ...]
    headings: tuple[str, ...] = ()
    recording: Recording | None = None


def pose(messages: Sequence[Message], at_once: int | None) -> Posed:
    """``at_once`` images are shown together; None: all of them. Raises RequestError, MediaRefused."""
    last = next((message for message in reversed(messages) if message.role == "user"), None)
    if last is None or not (last.images or last.sounds):
        return Posed((tuple(_told(message) for message in messages),))
    if last.images and last.sounds:
        raise RequestError("The last message brings images and a recording; no model here takes both.", param="messages")
    if last.sounds:
        if len(last.sounds) > 1:
            raise RequestError("The last message brings more than one recording.", param="messages")
        return Posed((last.content,), recording=Recording(last.sounds[0]))
    try:
        images.check_together(last.images)
    except MediaRefused as error:
        raise MediaRefused(error.message, "messages", too_large=True) from error
    opening = tuple(message for message in messages if message.role == "system")
    return _shown(opening, last, _numbers(messages), at_once or len(last.images))


def _shown(opening: tuple[Message, ...], last: Message, numbers: dict[str, int], at_once: int) -> Posed:
    shown = [Shown(image, numbers[image.id], "—") for image in last.images]
    chunks = [shown[at : at + at_once] for at in range(0, len(shown), at_once)]
    prompts, headings = [], []
    for number, chunk in enumerate(chunks, start=1):
        message, table = showing.turn(last.content or showing.DESCRIBE, chunk)
        heading = showing.heading(number, len(chunks), [f"image {each.number}" for each in chunk])
        prompts.append((*opening, message))
        headings.append(("\n" if number > 1 else "") + heading + table)
    return Posed(tuple(prompts), tuple(headings) if any(headings) else ())


def _numbers(messages: Sequence[Message]) -> dict[str, int]:
    """The same image has the same number in every turn; clients that send no image twice send the tables of earlier answers."""
    found: dict[str, int] = {}
    highest = rows = 0
    for message in messages:
        for known, number in exif.numbers(message.content) if message.role == "assistant" else ():
            rows += 1
            if rows > _MOST_ROWS:
                raise RequestError(f"The tables of earlier answers have more than {_MOST_ROWS} rows.", param="messages")
            highest = max(highest, found.setdefault(known, number))
        for known in (image.id for image in message.images):
            highest = max(highest, found.setdefault(known, highest + 1))
    return found


def _told(message: Message) -> Message:
    """A message without what it brought."""
    counted = ((len(message.images), "image(s)"), (len(message.sounds), "recording(s)"))
    notes = [f"[{count} {what} were attached]" for count, what in counted if count]
    return dataclasses.replace(message, content="\n".join(filter(None, (message.content, *notes))), images=(), sounds=())
