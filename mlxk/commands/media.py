"""Answers to questions about images: the options of ``run`` for them, and the images chunk by chunk."""

from __future__ import annotations

import argparse
import dataclasses
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlxk import exif, images, settings
from mlxk.chat import Message
from mlxk.commands.options import whole
from mlxk.engines import Completion, Timings, Usage
from mlxk.errors import UsageError

if TYPE_CHECKING:
    from mlxk.engines.audio import Transcript

DESCRIBE = "Describe the image."


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some images that a model is shown together. ``number`` counts from 1; ``first`` is the number of its first image."""

    number: int
    of: int
    first: int
    paths: tuple[Path, ...]

    @property
    def heading(self) -> str:
        """Empty where there is one chunk only."""
        names = ", ".join(path.name for path in self.paths)
        before = "\n" if self.number > 1 else ""
        return f"{before}Chunk {self.number}/{self.of}: {names}\n\n" if self.of > 1 else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="images to ask about (JPEG, PNG, GIF, WebP); patterns too",
    )
    parser.add_argument(
        "--chunk", type=whole(1), metavar="N", help="images that are shown to the model at once; 1, or $MLXK2_VISION_CHUNK_SIZE"
    )

    parser.add_argument(
        "--audio", metavar="FILE", help="a recording to transcribe (WAV, MP3, FLAC; with ffmpeg, M4A, OGG and more)"
    )
    parser.add_argument("--language", metavar="LANG", help="what is spoken in the recording, as en or German; default: as heard")


def transcribed(transcript: Transcript, load_time_s: float) -> Completion:
    """A transcript as the answer of a model."""
    listened = transcript.time_s
    return Completion(
        text=transcript.text,
        reasoning="",
        finish_reason="stop",
        usage=Usage(0, transcript.tokens),
        timings=Timings(
            load_time_s=load_time_s,
            time_to_first_token_s=listened,
            prompt_tps=0.0,
            generation_tps=transcript.tokens / listened if transcript.tokens else None,
            peak_memory_gb=transcript.peak_memory_gb,
        ),
        end_tokens=(),
    )


def segments(transcript: Transcript) -> str:
    """When what was said, as a Markdown table."""
    rows = [f"| {each.start_s:.2f} | {each.end_s:.2f} | {each.text} |" for each in transcript.segments]
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
    size = size or settings.images_at_once()
    count = -(-len(paths) // size)
    found = tuple(Chunk(at + 1, count, at * size + 1, tuple(paths[at * size : (at + 1) * size])) for at in range(count))
    for chunk in found:
        _check(chunk)
    return found


def shown(chunk: Chunk, prompt: str) -> tuple[Message, str]:
    """The turn that shows a chunk to the model, and what stands before its answer."""
    read = tuple(images.read(path) for path in chunk.paths)
    noted = [exif.facts(image) for image in read]
    told = exif.context(noted) if settings.exif_context_wanted() else ""
    message = Message("user", f"{told}\n\n{prompt}" if told else prompt, read)
    wanted = settings.exif_wanted() and any(facts.known for facts in noted)
    named = [dataclasses.replace(image, name=path.name) for image, path in zip(read, chunk.paths, strict=True)]
    return message, chunk.heading + (f"{exif.table(named, noted, chunk.first)}\n\n" if wanted else "")


def joined(completions: Sequence[Completion], texts: Sequence[str]) -> Completion:
    """The answers to all chunks as one: its tokens are those of all, its times those of the first."""
    first = completions[0]
    length = any(each.finish_reason == "length" for each in completions)
    return dataclasses.replace(
        first,
        text="\n".join(texts),
        reasoning="\n\n".join(filter(None, (each.reasoning for each in completions))),
        finish_reason="length" if length else "stop",
        usage=Usage(
            sum(each.usage.prompt_tokens for each in completions), sum(each.usage.completion_tokens for each in completions)
        ),
    )


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
