"""What ends a turn: tokens by declaration and by name, and the beginning of the other side's turn."""

from __future__ import annotations

import itertools

import pytest

from mlxk.answer import Answer
from mlxk.chat import TURN_STARTS, Message, end_tokens, ends_in_a_row, render
from mlxk.reasoning import Part, split

ENDS = {1: "<|end|>", 2: "<|endoftext|>", 3: "</s>"}


@pytest.mark.parametrize(
    ("following", "expected"),
    [
        ([], ["<|end|>"]),
        ([7, 2], ["<|end|>"]),
        ([2, 7], ["<|end|>", "<|endoftext|>"]),
        ([2, 3, 2, 1], ["<|end|>", "<|endoftext|>", "</s>"]),
        (itertools.repeat(1), ["<|end|>"]),
    ],
    ids=["nothing", "text first", "a second one", "three", "the same for ever"],
)
def test_different_end_tokens_in_a_row_are_told_and_the_same_again_is_not(following, expected):
    assert ends_in_a_row(1, following, ENDS) == tuple(expected)


@pytest.mark.parametrize("turn", ["\nHuman:", "\n\nHuman:", "\nAssistant:", "\n\nYou:"])
def test_an_answer_ends_before_the_other_side_s_turn_and_the_blank_line_above_it(turn):
    answer = Answer(split(None, ""), [], TURN_STARTS)

    assert [*answer.push(f"Hi.{turn} And you?"), *answer.finish()] == [Part("answer", "Hi.")]
    assert answer.complete


@pytest.mark.parametrize(
    ("declared", "special", "expected"),
    [
        ([5], {}, {5: ""}),
        ([], {4: "<|im_end|>", 6: "<|im_start|>"}, {4: "<|im_end|>"}),
        ([5], {4: "<|end|>", 5: "<|endoftext|>"}, {4: "<|end|>", 5: "<|endoftext|>"}),
        ([5], {4: "<|end|>", 5: "<|return|>", 6: "<|channel|>"}, {5: "<|return|>"}),
    ],
    ids=["declared", "by name", "both", "a channel's end is not the answer's"],
)
def test_end_tokens_are_those_declared_and_those_known_by_name(declared, special, expected):
    assert end_tokens(declared, special) == expected


def test_without_a_template_a_conversation_is_a_transcript_open_for_the_assistant():
    conversation = [Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Why?")]

    assert render(conversation, None) == "System: Be brief.\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant:"
