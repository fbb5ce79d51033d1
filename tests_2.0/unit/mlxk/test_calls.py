"""Calls of functions told from text, however the text comes in pieces; read by mlx-lm's own parsers."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.tool_parsers import json_tools, mistral, pythonic

from mlxk.calls import CallFormat, CallSplitter
from mlxk.chat import Tool

HERMES = CallFormat(json_tools.tool_call_start, json_tools.tool_call_end, json_tools.parse_tool_call)
MISTRAL = CallFormat(mistral.tool_call_start, mistral.tool_call_end, mistral.parse_tool_call)
PYTHONIC = CallFormat(pythonic.tool_call_start, pythonic.tool_call_end, pythonic.parse_tool_call)
OPEN = CallFormat("[CALLS]", "", lambda text, _: json.loads(text))
TOOLS = tuple(Tool(name, {"type": "function", "function": {"name": name}}) for name in ("clock", "weather"))


def hermes(text):
    return f"<tool_call>\n{text}\n</tool_call>"


CLOCK, ROME = hermes('{"name": "clock", "arguments": {}}'), hermes('{"name": "weather", "arguments": {"city": "Rom 🏛"}}')
TIME, WEATHER = ("clock", {}), ("weather", {"city": "Rom 🏛"})


def told(form, pieces, **options):
    """Texts joined, and calls as name and arguments."""
    splitter = CallSplitter(form, TOOLS, **options)
    parts = [part for piece in pieces for part in splitter.push(piece)] + splitter.finish()
    joined = []
    for part in parts:
        if not isinstance(part, str):
            joined.append((part.name, json.loads(part.arguments)))
        elif joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


HERMES_TEXTS = (
    ("Just text.", ["Just text."]),
    ("", []),
    (" \n", [" \n"]),
    (CLOCK, [TIME]),
    (f"Let me look. \n\n{ROME}\n{CLOCK}\n", ["Let me look.", WEATHER, TIME]),
    (f"{CLOCK}\n\nIt is late.", [TIME, "It is late."]),
    ("<tool_cal", ["<tool_cal"]),
    (" a < b <tool> </tool_call> ", [" a < b <tool> </tool_call> "]),
    (CLOCK.removesuffix("\n</tool_call>"), [TIME]),
    (CLOCK.removesuffix("call>"), [CLOCK.removesuffix("call>")]),
    (hermes('{"name": "clock"}'), [TIME]),
    (hermes('{"name": "weather", "arguments": "{\\"city\\": \\"Rom 🏛\\"}"}'), [WEATHER]),
)
NO_CALLS = (
    '{"name": "weather", "arguments": {"city": ',
    '{"name": "nobody", "arguments": {}}',
    '{"name": "clock", "arguments": []}',
    '{"name": "clock", "arguments": {"x": NaN}}',
    '{"name": "clock", "arguments": {"x": "\\ud800"}}',
    '{"name": ["clock"], "arguments": {}}',
    '{"arguments": {}}',
    '["clock"]',
    "[]",
    "null",
    "[" * 100_000,
    "",
)


@pytest.mark.parametrize(("text", "expected"), HERMES_TEXTS)
def test_calls_are_told_from_text_also_one_character_at_a_time(text, expected):
    assert told(HERMES, [text]) == told(HERMES, text) == expected


@pytest.mark.parametrize("text", NO_CALLS, ids=lambda text: text[:40])
def test_what_is_no_call_of_an_offered_function_is_text_as_it_stands(text):
    written = f"Look: \n{hermes(text)} so."

    assert told(HERMES, [written]) == [written]
    assert told(HERMES, [f"{written}{CLOCK}"]) == [written, TIME]


@given(st.sampled_from([text for text, _ in HERMES_TEXTS]), st.lists(st.integers(0, 200)))
def test_pieces_of_any_length_tell_the_same(text, cuts):
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]

    assert told(HERMES, [text[start:end] for start, end in itertools.pairwise(places)]) == told(HERMES, [text])


@given(st.text(alphabet='<tool_cal/>{}" \n', max_size=60))
def test_what_is_held_back_is_what_was_not_told(text):
    splitter = CallSplitter(HERMES, TOOLS)
    shown = "".join(part for letter in text for part in splitter.push(letter) if isinstance(part, str))

    assert len(shown) + splitter.held == len(text)
    assert shown + "".join(splitter.finish()) == text


def test_only_one_call_is_told_where_only_one_is_wanted():
    splitter = CallSplitter(HERMES, TOOLS, only_one=True)
    told_first = splitter.push(f"{ROME}\n{CLOCK}\nMore.")

    assert [call.name for call in told_first] == ["weather"]
    assert splitter.ended
    assert splitter.finish() == []


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (OPEN, '[CALLS] [{"name": "clock", "arguments": {}}, {"name": "clock", "arguments": {}}]', [TIME, TIME]),
        (MISTRAL, 'Wait.[TOOL_CALLS]weather[ARGS]{"city": "Rom 🏛"}', ["Wait.", WEATHER]),
        (MISTRAL, '[TOOL_CALLS]weather[ARGS]{"city": ', ['[TOOL_CALLS]weather[ARGS]{"city": ']),
        (PYTHONIC, '<|tool_call_start|>[weather(city="Rom 🏛")]<|tool_call_end|>\nSo.', [WEATHER, "So."]),
        (PYTHONIC, "<|tool_call_start|>[clock(<|tool_call_end|>", ["<|tool_call_start|>[clock(<|tool_call_end|>"]),
    ],
)
def test_the_forms_of_other_models_are_read_too(form, text, expected):
    assert told(form, text) == told(form, [text]) == expected


def test_an_id_that_the_model_gives_is_kept_and_others_suit_every_template():
    splitter = CallSplitter(OPEN, TOOLS)
    splitter.push('[CALLS][{"name": "clock", "id": "abc123XYZ"}, {"name": "clock"}, {"name": "clock", "id": "a b"}]')
    first, *made = [call.id for call in splitter.finish()]

    assert first == "abc123XYZ"
    assert len({*made}) == 2
    assert all(len(each) == 9 and each.isalnum() for each in made)
