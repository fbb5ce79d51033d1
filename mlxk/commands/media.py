"""The options of ``run`` for images and recordings: which files are meant, and what is shown to the model at once."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlxk import images, showing
from mlxk.chat import Message
from mlxk.commands.options import add_chunk, images_per_chunk
from mlxk.engines import Segment
from mlxk.errors import UsageError
from mlxk.showing import Shown


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some images that a model is shown together. ``number`` counts from 1; ``first`` is the number of its first image."""

    number: int
    of: int
    first: int
    paths: tuple[Path, ...]

    @property
    def heading(self) -> str:
        return showing.heading(self.number, self.of, [path.name for path in self.paths])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image",
        nargs="+",
        action="extend",
        metavar="FILE",
        help=f"images to ask about ({', '.join(images.FORMATS)}); patterns too",
    )
    add_chunk(parser, "1")
    parser.add_argument(
        "--audio", metavar="FILE", help="a recording to transcribe (WAV, MP3, FLAC; with ffmpeg, M4A, OGG and more)"
    )
    parser.add_argument("--language", metavar="LANG", help="what is spoken in the recording, as en or German; default: as heard")


def table(segments: Sequence[Segment]) -> str:
    """When what was said, as a Markdown table."""
    rows = [f"| {each.start_s:.2f} | {each.end_s:.2f} | {each.text} |" for each in segments]
    return "\n".join(["", "", "| Start | End | Text |", "|---|---|---|", *rows])


def without_prompt(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files, and the words of a prompt that stand behind them: the shell does not tell where the files end.

    A word is of the prompt if there is no such file and it is ``-`` or has a blank in it.
    """
    at = len(given)
    while at > 1 and _is_prompt(given[at - 1]):
        at -= 1
    return list(given[:at]), list(given[at:])


def chunks(given: Sequence[str], size: int | None) -> tuple[Chunk, ...]:
    """All images in their order, each of them checked, and those of a chunk together. Raises UsageError, MediaRefused."""
    paths = [path for word in given for path in _expanded(word)]
    size = images_per_chunk(size) or 1
    count = -(-len(paths) // size)
    found = tuple(Chunk(at + 1, count, at * size + 1, tuple(paths[at * size : (at + 1) * size])) for at in range(count))
    for chunk in found:
        _check(chunk)
    return found


def shown(chunk: Chunk, prompt: str) -> tuple[Message, str]:
    """The turn that shows a chunk to the model, and what stands before its answer."""
    read = [Shown(images.read(path), chunk.first + at, path.name) for at, path in enumerate(chunk.paths)]
    message, table = showing.turn(prompt, read)
    return message, chunk.heading + table


def _check(chunk: Chunk) -> None:
    """Whether the model can be shown these; no more than the images of one chunk are in memory. Raises MediaRefused."""
    read: list[images.Image] = []
    for path in chunk.paths:
        read.append(images.read(path))
        images.check_together(read)
        images.decode(read[-1])


def _expanded(word: str) -> Iterator[Path]:
    if Path(word).exists():
        yield Path(word)
        return
    found = _matching(word)
    if not found:
        raise UsageError(f"There is no image {word}. A prompt of one word goes before --image, or after --prompt.")
    yield from found


def _is_prompt(word: str) -> bool:
    return word == "-" or (any(letter.isspace() for letter in word) and not Path(word).exists() and not _matching(word))


def _matching(pattern: str) -> list[Path]:
    return sorted(map(Path, glob.glob(pattern)))  # noqa: PTH207 - Path.glob knows no absolute patterns
