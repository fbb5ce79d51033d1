"""What a person sees: tables that fit the terminal, colour only where it can be shown, and no longer lines than it has."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios

import pytest

from mlxk.output import Row, Screen, plain, table

COLOUR = re.compile("\x1b\\[[0-9;]*m")
LONG = "mlx-community/Llama-3.2-11B-Vision-Instruct-4bit-of-some-length"


def on_terminal(hub, *arguments: str, columns: int = 80, **variables: str) -> str:
    """What the tool writes to a terminal of that width, line ends as in a file."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"HF_HUB_CACHE": str(hub.root), "TERM": "xterm", **variables}
    tool = subprocess.Popen([sys.executable, "-m", "mlxk", *arguments], env=environment, stdout=theirs)
    os.close(theirs)
    written = b""
    while piece := _read(ours):
        written += piece
    os.close(ours)

    assert tool.wait(timeout=60) == 0
    return written.decode("utf-8").replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so where others say end of file
        return b""


@pytest.fixture
def filled(hub):
    """One model that runs, one with a long name, and one with several problems."""
    hub.add("org/fine")
    hub.add(LONG)
    hub.add("org/broken", {"config.json": None, "tokenizer.json": b"{", "left.tmp": b"x"})
    return hub


@pytest.mark.parametrize("arguments", ["list", "list --all", "list --all --health", "list --all --health --verbose", "health"])
@pytest.mark.parametrize("columns", [80, 60])
def test_every_line_fits_the_terminal(filled, arguments, columns):
    shown = COLOUR.sub("", on_terminal(filled, *arguments.split(), columns=columns))
    names = (LONG, LONG.removeprefix("mlx-community/"))

    too_long = [line for line in shown.splitlines() if len(line) > columns and not any(name in line for name in names)]
    assert too_long == []
    assert "fine" in shown


def test_into_a_pipe_a_row_is_one_line_and_has_no_colour(filled):
    command = [sys.executable, "-m", "mlxk", "list", "--all", "--health"]
    environment = {**os.environ, "HF_HUB_CACHE": str(filled.root)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    assert [re.split(r" *\| ", line)[0] for line in shown.splitlines()[2:]] == [
        "Llama-3.2-11B-Vision-Instruct-4bit-of-some-length",
        "org/broken",
        "org/fine",
    ]
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]
)
def test_colour_is_for_terminals_that_want_it(filled, variables, coloured):
    assert bool(COLOUR.search(on_terminal(filled, "health", **variables))) is coloured


def test_every_problem_is_shown_with_its_code(filled):
    shown = COLOUR.sub("", on_terminal(filled, "health", "broken"))

    assert re.findall(r"^  (\w+): ", shown, re.MULTILINE) == ["config_missing", "partial_file", "tokenizer_invalid"]


def test_a_table_is_aligned():
    rows = [Row(("a", "10")), Row(("longer", "9"))]

    assert table(("Name", "N"), rows, Screen()) == "Name   | N\n-------+---\na      | 10\nlonger | 9"


def test_a_table_that_is_too_wide_puts_the_name_above_the_rest():
    rows = [Row(("a-name-of-some-length", "10", "x"), note="why it is so")]

    assert table(("Name", "N", "T"), rows, Screen(width=24)).splitlines() == [
        "Name",
        "  N  | T",
        "  ---+--",
        "a-name-of-some-length",
        "  10 | x",
        "    why it is so",
    ]


def test_colour_does_not_shift_a_column():
    rows = [Row(("a", "b"), colour="red"), Row(("aa", "b"))]
    shown = table(("N", "T"), rows, Screen(width=80, coloured=True))

    assert COLOUR.sub("", shown) == table(("N", "T"), rows, Screen())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 模型 🦙", "größe 模型 🦙"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\x9b", "\\x9b"),
        ("a\tb\n", "a\tb\n"),
    ],
)
def test_only_what_a_terminal_would_obey_is_escaped(text, shown):
    assert plain(text) == shown
