"""A conversation on a terminal: who says what next, and what ends an answer or the whole."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable

from mlxk import interrupts, run
from mlxk.chat import Message
from mlxk.engines import Completion, Engine, Event, Generation, Text
from mlxk.errors import MlxkError

LEAVE = ("exit", "quit")


@dataclasses.dataclass(frozen=True, slots=True)
class Terminal:
    """Where the conversation takes place. ``ask`` returns a line, and raises EOFError at the end of the input."""

    ask: Callable[[], str]
    show: Callable[[], Callable[[Event], None]]
    """Makes what shows the next answer."""
    finish: Callable[[Completion], None]
    """Ends an answer that is complete."""
    say: Callable[[str], None]
    """Writes a line about the conversation."""


def prepare_line_editing() -> None:
    """Let ``input`` edit its line and remember the ones before, where Python was built with that."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - importing it is all that it takes


def converse(engine: Engine, request: Generation, opening: Iterable[Message], terminal: Terminal) -> None:
    """Ask and answer until the input ends or says so. Ctrl-C ends an answer or clears a line, never the conversation."""
    said = list(opening)
    while (line := _next_line(terminal)) is not None:
        if line.strip():
            said = _turn(engine, request, [*said, Message("user", line)], terminal)


def _next_line(terminal: Terminal) -> str | None:
    while True:
        try:
            line = terminal.ask()
        except EOFError:
            terminal.say("")
            return None
        except KeyboardInterrupt:
            interrupts.forget()
            terminal.say("")
            continue
        return None if line.strip().lower() in LEAVE else line


def _turn(engine: Engine, request: Generation, asked: list[Message], terminal: Terminal) -> list[Message]:
    """The conversation after an answer. What failed or was ended before its first word leaves no trace in it."""
    written: list[str] = []
    show = terminal.show()

    def keep(event: Event) -> None:
        if isinstance(event, Text):
            written.append(event.text)
        show(event)

    try:
        terminal.finish(run.answer(engine, dataclasses.replace(request, prompt=tuple(asked)), keep))
    except KeyboardInterrupt:
        interrupts.forget()
        terminal.say("\n[Generation interrupted by user]")
    except MlxkError as error:
        terminal.say(error.message)
    answer = "".join(written)
    return [*asked, Message("assistant", answer)] if answer else asked[:-1]
