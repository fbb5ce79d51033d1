"""What the commands print: one JSON envelope or text for people on stdout, errors for people on stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from mlxk.errors import Interrupted, MlxkError, NotFound, Refused, UsageError

_EXIT_CODES: tuple[tuple[type[MlxkError], int], ...] = (
    (UsageError, 2),
    (NotFound, 3),
    (Refused, 4),
    (Interrupted, 130),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command found out: ``data`` for programs, ``text`` for people."""

    data: dict[str, Any]
    text: str


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
    write(_dump(envelope(command, result.data)) if as_json else result.text)


def show_error(command: str, error: MlxkError, *, as_json: bool) -> None:
    if as_json:
        write(_dump(envelope(command, None, error)))
    else:
        program = command if command == "mlxk" else f"mlxk {command}"
        notice(f"{program}: {error.message}")


def write(text: str, *, end: str = "\n") -> None:
    """Text on stdout, at once. A reader that has left raises BrokenPipeError."""
    if text or end:
        sys.stdout.write(text + end)
        sys.stdout.flush()


def notice(text: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Aligned columns, as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _dump(value: dict[str, Any]) -> str:
    """Indented for eyes; one line for a program, which is ten times as fast to write."""
    return json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False)
