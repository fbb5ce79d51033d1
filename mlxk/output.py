"""What the commands print: one JSON envelope or text for people on stdout, errors for people on stderr."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from mlxk import settings
from mlxk.errors import Interrupted, MlxkError, NotFound, Refused, UsageError

_EXIT_CODES: tuple[tuple[type[MlxkError], int], ...] = (
    (UsageError, 2),
    (NotFound, 3),
    (Refused, 4),
    (Interrupted, 130),
)
_COLOURS = {"green": 32, "red": 31, "yellow": 33, "bold": 1, "dim": 2}
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_stdout: TextIO | None = None
"""Where the answer goes, while libraries are not heard."""

Colour = Literal["green", "red", "yellow", "bold", "dim"]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a command found out: ``data`` for programs, ``text`` for people."""

    data: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """Where text for people goes. ``width`` in columns is None where lines may be as long as they like: into a file or pipe."""

    width: int | None = None
    coloured: bool = False

    @classmethod
    def of_stdout(cls) -> Screen:
        if not sys.stdout.isatty():
            return cls()
        return cls(os.get_terminal_size(sys.stdout.fileno()).columns or 80, settings.colour_wanted())

    def paint(self, text: str, colour: Colour | None) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.coloured and colour is not None else text


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A line of a table. ``colour`` is for its last cell; ``note`` is a sentence below it."""

    cells: tuple[str, ...]
    colour: Colour | None = None
    note: str | None = None


def exit_code(error: MlxkError) -> int:
    """0 success, 1 failed, 2 usage, 3 not found or ambiguous, 4 refused, 130 interrupted."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def envelope(command: str, data: dict[str, Any] | None, error: MlxkError | None = None) -> dict[str, Any]:
    return {
        "status": "success" if error is None else "error",
        "command": command,
        "data": data,
        "error": None if error is None else {"type": error.type, "message": error.message, **error.details},
    }


def show_result(command: str, result: Result, *, as_json: bool) -> None:
    """For a command that goes on after it has said something; what others return is printed when they have ended."""
    write(result_text(command, result, as_json=as_json))


def result_text(command: str, result: Result, *, as_json: bool) -> str:
    return _dump(envelope(command, result.data)) if as_json else result.text


def error_text(command: str, error: MlxkError, *, as_json: bool) -> str:
    if as_json:
        return _dump(envelope(command, None, error))
    program = command if command == "mlxk" else f"mlxk {command}"
    return f"{program}: {plain(error.message)}"


def write(text: str, *, end: str = "\n") -> None:
    """Text on stdout, at once; what its encoding lacks is escaped. A reader that has left raises BrokenPipeError."""
    if text or end:
        try:
            sys.stdout.write(text + end)
        except UnicodeEncodeError:
            encoding = sys.stdout.encoding
            sys.stdout.write((text + end).encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


@contextmanager
def unheard() -> Iterator[None]:
    """What libraries print while they are imported, or load a model, is no part of an answer; MLXK2_DEBUG has it on stderr.

    huggingface_hub prints that one of its modules cannot be imported, also where Ctrl-C is the reason.
    """
    global _stdout  # noqa: PLW0603 - there is one, and it belongs to the process
    _stdout = sys.stdout
    try:
        with redirect_stdout(sys.stderr if settings.debug() else io.StringIO()):
            yield
    finally:
        hear()


def hear() -> None:
    """Stdout is ours again; an interrupt may have come in the midst of ``unheard``."""
    global _stdout
    if _stdout is not None:
        sys.stdout, _stdout = _stdout, None


def notice(text: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def ask(question: str, *, default: bool = False) -> bool:
    """Whether the person at the terminal says yes; an empty line means ``default``. The end of input is a no."""
    sys.stderr.write(f"{plain(question)} {'[Y/n]' if default else '[y/N]'} ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    return default if line == "\n" else line.strip().lower() in ("y", "yes")


def somebody_answers() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def plain(text: str) -> str:
    """The text, with what a terminal would obey, hide or turn round made visible; tab and line end stay."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def table(header: tuple[str, ...], rows: Sequence[Row], screen: Screen) -> str:
    """Aligned columns, as wide as their widest cell.

    Where the screen is too narrow for them, the first column, which is the name, stands on a line of its own, and the rest
    below it on as many lines as it takes.
    """
    cells = [tuple(plain(cell).replace("\n", "\\n").replace("\t", "\\t") for cell in row.cells) for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    parts = _parts(widths, screen.width)
    lines = [screen.paint(line, "bold") for line in _row_lines(header, widths, parts)]
    lines.append(("  " if len(parts) > 1 else "") + "-+-".join("-" * widths[column] for column in parts[-1]))
    for row, texts in zip(rows, cells, strict=True):
        shown = _row_lines(texts, widths, parts)
        before = shown[-1].removesuffix(texts[-1])
        lines += [*shown[:-1], before + screen.paint(texts[-1], row.colour)]
        if row.note:
            lines += [screen.paint(line, "dim") for line in wrap(row.note, screen, "    ")]
    return "\n".join(lines)


def _parts(widths: Sequence[int], available: int | None) -> list[list[int]]:
    """The columns by the line that they stand on: all on one if they fit, else the first alone, and the rest as they fit."""
    if available is None or sum(widths) + 3 * (len(widths) - 1) <= available:
        return [list(range(len(widths)))]
    parts: list[list[int]] = [[0], []]
    for column in range(1, len(widths)):
        used = 2 + sum(widths[other] + 3 for other in parts[-1])
        if parts[-1] and used + widths[column] > available:
            parts.append([])
        parts[-1].append(column)
    return parts


def _row_lines(cells: Sequence[str], widths: Sequence[int], parts: list[list[int]]) -> list[str]:
    """A row in its lines; all below the one with the name are indented."""
    lines = []
    for part in parts:
        padded = [cells[column].ljust(widths[column]) for column in part[:-1]]
        lines.append(("  " if part[0] else "") + " | ".join([*padded, cells[part[-1]]]))
    return lines


def wrap(sentence: str, screen: Screen, indent: str) -> list[str]:
    """The sentence in lines that fit the screen, each after ``indent``."""
    sentence = plain(sentence)
    if screen.width is None:
        return [indent + sentence]
    from textwrap import wrap as wrapped  # noqa: PLC0415 - for terminals only

    return wrapped(sentence, max(20, screen.width - 1), initial_indent=indent, subsequent_indent=indent)


def _dump(value: dict[str, Any]) -> str:
    """Indented for eyes; one line for a program, which is ten times as fast to write.

    What is not UTF-8 in a file's name is written as the escape that JSON has for it.
    """
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text
