"""A conversation outlives whatever happens to one answer, and ends when it is told to; with an engine that follows a script."""

from __future__ import annotations

import pytest

from mlxk.chat import Message
from mlxk.display import Display, as_text
from mlxk.engines import Completion, Finished, Generation, Reasoning, Started, Text, Timings, Usage
from mlxk.errors import ContextLengthExceeded
from mlxk.interactive import Terminal, converse

USAGE, TIMINGS = Usage(1, 1), Timings(0.0, 0.1, 1.0, None, 0.0)


class Script:
    """An engine that answers with the last message in capitals; it notes the conversations that it was given."""

    def __init__(self):
        self.given = []

    def stream(self, request, cancelled):
        self.given.append([(message.role, message.content) for message in request.prompt])
        said = request.prompt[-1].content
        if said == "too long":
            raise ContextLengthExceeded("Too long.")
        yield Started()
        if said == "interrupt at once":
            raise KeyboardInterrupt
        yield Reasoning("hm")
        yield Text(said[:2].upper())
        if said == "interrupt":
            raise KeyboardInterrupt
        yield Text(said[2:].upper())
        yield Finished("stop", USAGE, TIMINGS)

    def close(self):
        raise AssertionError("a conversation does not close its engine")


def talk(*lines, opening=(), reasoning=True):
    """The conversations given to the engine, and what the terminal showed; a line may be an exception to raise."""
    typed = iter(lines)
    screen = []

    def ask():
        line = next(typed)
        if isinstance(line, type):
            raise line
        screen.append(f"> {line}\n")
        return line

    engine = Script()
    terminal = Terminal(
        ask=ask,
        show=lambda: Display(screen.append, reasoning=reasoning).show,
        finish=lambda completion: screen.append("\n"),
        say=lambda text: screen.append(f"{text}\n"),
    )
    converse(engine, Generation(()), opening, terminal)

    assert list(typed) == []
    return engine.given, "".join(screen)


def test_each_turn_is_given_all_turns_before_it_without_their_reasoning():
    opening = (Message("system", "Shout."),)
    given, screen = talk("one", "two", EOFError, opening=opening)

    first = [("system", "Shout."), ("user", "one")]
    assert given == [first, [*first, ("assistant", "ONE"), ("user", "two")]]
    assert screen.startswith("> one\n[Reasoning]\nhm\n\n[Answer]\nONE\n> two\n")


@pytest.mark.parametrize("last", ["exit", "quit", " EXIT ", EOFError])
def test_it_ends_when_it_is_told_to(last):
    assert talk("one", last)[0] == [[("user", "one")]]


def test_an_empty_line_asks_nothing():
    assert talk("", "  ", "quit")[0] == []


def test_ctrl_c_at_the_prompt_clears_the_line_only():
    assert talk(KeyboardInterrupt, "one", "quit")[0] == [[("user", "one")]]


def test_ctrl_c_ends_an_answer_whose_beginning_stays_in_the_conversation():
    given, screen = talk("interrupt", "two", "quit")

    assert given[1] == [("user", "interrupt"), ("assistant", "IN"), ("user", "two")]
    assert "IN\n[Generation interrupted by user]\n> two\n" in screen


@pytest.mark.parametrize("failing", ["interrupt at once", "too long"])
def test_a_question_without_an_answer_leaves_no_trace(failing):
    given, screen = talk(failing, "two", "quit")

    assert given[1] == [("user", "two")]
    assert ("Too long.\n" in screen) == (failing == "too long")


def test_hidden_reasoning_leaves_no_headings():
    assert talk("one", "quit", reasoning=False)[1] == "> one\nONE\n> quit\n"


@pytest.mark.parametrize(
    ("reasoning", "text", "expected"),
    [
        ("", "Hi", "Hi"),
        ("hm", "Hi", "[Reasoning]\nhm\n\n[Answer]\nHi"),
        ("hm", "", "[Reasoning]\nhm"),
        ("", "", ""),
    ],
)
def test_a_whole_answer_has_the_form_of_a_streamed_one(reasoning, text, expected):
    completion = Completion(text, reasoning, "stop", USAGE, TIMINGS, ())
    pieces = []
    display = Display(pieces.append)
    for event in [*map(Reasoning, reasoning), *map(Text, text)]:
        display.show(event)

    assert as_text(completion, reasoning=True) == "".join(pieces) == expected
    assert as_text(completion, reasoning=False) == text
