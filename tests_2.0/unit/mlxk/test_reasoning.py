"""Reasoning is told from the answer by the marks that a model's own files name, however its text is cut into pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlxk.answer import Answer
from mlxk.reasoning import Channels, Part, Tags, find_format, split

THINK = Tags("<think>", "</think>")
ANALYSIS = "<|channel|>analysis<|message|>They greet.<|end|>"
HARMONY = f"{ANALYSIS}<|start|>assistant<|channel|>final<|message|>Hi!"
ASSISTANT = "<|start|>user<|message|>Hello<|end|><|start|>assistant"


def told(form, prompt, pieces):
    """(reasoning, answer) of the text that the pieces make."""
    splitter = split(form, prompt)
    parts = [part for piece in pieces for part in splitter.push(piece)] + splitter.finish()

    assert all(part.text for part in parts)
    return tuple("".join(part.text for part in parts if part.kind == kind) for kind in ("reasoning", "answer"))


@pytest.mark.parametrize(
    ("template", "tokens", "expected"),
    [
        ("{{ messages }}", ["<|im_start|>", "<|im_end|>"], None),
        ("{{ messages }}", ["<|start|>", "<|channel|>", "<|message|>", "<|end|>"], Channels()),
        ("{{ messages }}", ["<think>", "</think>"], THINK),
        ("{{ content.split('</think>')[-1] }}{{ '<think>\n' }}", ["<|im_end|>"], THINK),
        ("{{ '<think>' }}", [], None),
        ("{{ messages }}", ["[THINK]", "[/THINK]"], Tags("[THINK]", "[/THINK]")),
        ("", ["<|START_THINKING|>", "<|END_THINKING|>"], Tags("<|START_THINKING|>", "<|END_THINKING|>")),
        ("{{ '<|channel>thought\n<channel|>' }}", ["<|channel>", "<channel|>"], Tags("<|channel>thought", "<channel|>")),
    ],
)
def test_the_form_is_found_in_template_and_tokens(template, tokens, expected):
    assert find_format(template, tokens) == expected


THOUGHTS = [
    # what the model writes, after a prompt that opened the reasoning or did not: reasoning, answer
    ("Hi <b>.", False, "", "Hi <b>."),
    ("<think>\nA greeting.\n</think>\n\nHi!", False, "A greeting.", "Hi!"),
    ("\n<think>A\n\nB</think>Hi!\n", False, "A\n\nB", "Hi!\n"),
    ("A greeting.\n</think>\n\nHi!", True, "A greeting.", "Hi!"),
    ("<think>\nA greeting.\n</think>\n\nHi!", True, "A greeting.", "Hi!"),
    ("<think>\n\n</think>\n\nHi!", False, "", "Hi!"),
    ("\n</think>\n\nHi!", True, "", "Hi!"),
    ("<think>\nNo end is", False, "No end is", ""),
    ("No end </thi", True, "No end </thi", ""),
    ("  Hi", False, "", "  Hi"),
    ("  ", False, "", "  "),
    ("<thi", False, "", "<thi"),
    ("<thi", True, "<thi", ""),
    ("A tag is <think>, its end </think>.", False, "", "A tag is <think>, its end </think>."),
    ("<think>a</think> Then <think>b</think>", False, "a", "Then <think>b</think>"),
    ("", False, "", ""),
    ("", True, "", ""),
]


@pytest.mark.parametrize(("text", "opened", "reasoning", "answer"), THOUGHTS)
def test_tags_whole_or_one_character_at_a_time(text, opened, reasoning, answer):
    prompt = "<|im_start|>assistant\n" + ("<think>\n" if opened else "")

    assert told(THINK, prompt, [text]) == told(THINK, prompt, text) == (reasoning, answer)


MESSAGES = [
    # what the model writes after a prompt: reasoning, answer
    (ASSISTANT, HARMONY, "They greet.", "Hi!"),
    ("Hello", HARMONY, "They greet.", "Hi!"),
    (ASSISTANT, "<|channel|>final<|message|>Hi!", "", "Hi!"),
    (ASSISTANT, "<|message|>Hi!", "", "Hi!"),
    (ASSISTANT, "Hi!", "", "Hi!"),
    (f"{ASSISTANT}<|channel|>analysis<|message|>", HARMONY.partition("<|message|>")[2], "They greet.", "Hi!"),
    (f"{ASSISTANT}<|channel|>final<|message|>", "Hi!", "", "Hi!"),
    (ASSISTANT, f"{ANALYSIS}<|start|>assistant{HARMONY}", "They greet.\n\nThey greet.", "Hi!"),
    (ASSISTANT, f"{HARMONY}<|end|><|start|>user<|message|>And you?", "They greet.", "Hi!"),
    (ASSISTANT, f"{HARMONY}<|en", "They greet.", "Hi!<|en"),
    (ASSISTANT, f"{ANALYSIS}<|start|>assist", "They greet.", ""),
    (ASSISTANT, "<|channel|>analysis<|message|>They gr", "They gr", ""),
    ("Hello", " world <|start|>assist", "", " world "),
    (ASSISTANT, "<|channel|>commentary to=f <|constrain|>json<|message|>{}<|call|>", "{}", ""),
    (ASSISTANT, "", "", ""),
]


@pytest.mark.parametrize(("prompt", "text", "reasoning", "answer"), MESSAGES)
def test_channels_whole_or_one_character_at_a_time(prompt, text, reasoning, answer):
    assert told(Channels(), prompt, [text]) == told(Channels(), prompt, text) == (reasoning, answer)


def test_an_answer_that_is_complete_says_so_although_the_model_goes_on():
    splitter = split(Channels(), ASSISTANT)
    splitter.push(HARMONY)

    assert not splitter.ended
    assert splitter.push("<|end|>") == []
    assert splitter.ended


TAGS_AND_TEXT = ("<think>", "</think>", "<", "thi", "</", ">", " ", "\n", "é", "a")
MARKS = ("<|channel|>", "analysis", "final", "<|message|>", "<|end|>", "<|start|>", "assistant", "<|")
WRITTEN = st.lists(st.sampled_from(TAGS_AND_TEXT + MARKS), max_size=14)


@given(WRITTEN, WRITTEN, st.sampled_from([None, THINK, Channels()]), st.lists(st.integers(1, 6), min_size=1))
@example(["<think>", "a", " "], [], THINK, [1])
def test_what_is_told_does_not_depend_on_the_pieces(written, before, form, sizes):
    text, pieces, place = "".join(written), [], 0
    while place < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[place : place + size])
        place += size

    assert told(form, "".join(before), pieces) == told(form, "".join(before), [text])


@given(st.text("ab<>/think \n|"), st.booleans())
def test_without_a_form_nothing_is_lost(text, opened):
    assert told(None, "<think>" if opened else "", [text]) == ("", text)


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "\n", "<", "/think>"]), max_size=12))
def test_tags_are_read_as_a_regular_expression_reads_the_whole(written):
    text = "".join(written)
    whole = re.fullmatch(r"\s*<think>(.*?)(?:</think>(.*))?", text, re.DOTALL)

    assert told(THINK, "", text) == ((whole[1].strip(), (whole[2] or "").lstrip()) if whole else ("", text))


def shown(answer, *pieces):
    return [part for piece in pieces for part in answer.push(piece)] + list(answer.finish())


def test_a_stop_string_ends_the_answer_and_not_the_reasoning_that_speaks_of_it():
    answer = Answer(split(THINK, ""), ["<|im_end|>"], ["STOP"])

    assert shown(answer, "<think>a STOP sign</think>It says ", "ST", "OP here") == [
        Part("reasoning", "a STOP sign"),
        Part("answer", "It says "),
    ]
    assert answer.complete


def test_an_end_token_spelled_in_ordinary_tokens_ends_the_reasoning_too():
    answer = Answer(split(THINK, ""), ["<|im_end|>"], [])

    assert shown(answer, "<think>a sign<|im_", "end|>more</think>It says") == [Part("reasoning", "a sign")]
    assert answer.complete


def test_what_could_have_become_a_stop_string_is_shown_before_the_next_kind_of_part():
    answer = Answer(split(THINK, ""), ["<|im_end|>"], [])

    assert shown(answer, "<think>a <|im_</think>b") == [
        Part("reasoning", "a "),
        Part("reasoning", "<|im_"),
        Part("answer", "b"),
    ]
    assert not answer.complete
