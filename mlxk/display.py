"""An answer on a terminal, as it comes: the reasoning and the answer under headings of their own."""

from __future__ import annotations

from collections.abc import Callable

from mlxk.engines import Completion, Event, Reasoning, Text


class Display:
    """Writes with ``write``. An answer without reasoning has no headings, and neither has one whose reasoning is hidden."""

    def __init__(self, write: Callable[[str], None], *, reasoning: bool = True) -> None:
        self._write = write
        self._reasoning = reasoning
        self._reasoned = self._answered = False

    def show(self, event: Event) -> None:
        if isinstance(event, Reasoning) and self._reasoning:
            self._write(event.text if self._reasoned else f"[Reasoning]\n{event.text}")
            self._reasoned = True
        elif isinstance(event, Text):
            self._write(f"\n\n[Answer]\n{event.text}" if self._reasoned and not self._answered else event.text)
            self._answered = True


def as_text(completion: Completion, *, reasoning: bool) -> str:
    """A whole answer in the form in which it would have been streamed."""
    pieces: list[str] = []
    display = Display(pieces.append, reasoning=reasoning)
    for event in (Reasoning(completion.reasoning), Text(completion.text)):
        if event.text:
            display.show(event)
    return "".join(pieces)
