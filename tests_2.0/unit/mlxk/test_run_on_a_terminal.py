"""`mlxk run` as a person at a terminal meets it: a conversation, its keys, and how it ends."""

from __future__ import annotations

import sys

import pytest

from qualification.mint import store
from qualification.plugin.terminal import CTRL_C, CTRL_D, CTRL_U, UP, sitting_at

MODEL = "mint/llama-tiny"
ENDLESS = "mint-pathology/never-stops"
OPENED = "mint-pathology/opened-thinking"
PROMPT = "You: "


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for model in (MODEL, ENDLESS, OPENED):
        store.install(model, home)

    def begin(model, *options):
        return sitting_at([sys.executable, "-m", "mlxk", "run", model, "--temperature", "0", *options], {"HF_HOME": str(home)})

    return begin


def test_it_remembers_the_conversation_and_the_lines_and_ctrl_d_ends_it(chat):
    with chat(MODEL, "--verbose") as person:
        person.sees(PROMPT)
        person.type("My name is Ada.\n")
        person.sees("Hello Ada, nice to meet you.\nload ")
        person.sees(PROMPT)
        person.type("What is my nome\b\b\bame?\n")
        person.sees("Your name is Ada.\n")
        person.sees(PROMPT)
        person.type("xx")
        person.sees("xx")
        person.type(CTRL_C)
        person.type("\n")  # ends the line, should the signal have come just before Python waits for keys
        person.sees(PROMPT)
        person.type("Spell it.\n")
        person.sees("A-d-a.\n")
        person.sees(PROMPT)
        person.type(UP)
        person.sees("Spell it.")
        person.type(CTRL_U + CTRL_D)

        assert person.leaves() == 0
        assert "Traceback" not in person.seen


def test_ctrl_c_ends_an_answer_that_has_no_end_and_not_the_conversation(chat):
    with chat(ENDLESS) as person:
        for _ in range(2):
            person.sees(PROMPT)
            person.type("Hello!\n")
            person.sees("tick, tock;\ntick, tock;\n")
            person.type(CTRL_C)
            person.sees("[Generation interrupted by user]\n")
        person.sees(PROMPT)
        person.type("quit\n")

        assert person.leaves() == 0
        assert "Traceback" not in person.seen


def test_ctrl_c_in_an_answer_to_a_prompt_ends_it_with_130(chat):
    with chat(ENDLESS, "Hello!") as person:
        person.sees("tick, tock;\n")
        person.type(CTRL_C)

        assert person.leaves() == 130
        assert person.seen.endswith("mlxk run: Interrupted.\n")
        assert "Traceback" not in person.seen


def test_a_budget_that_cut_the_answer_is_told_on_a_line_of_its_own(chat):
    with chat(ENDLESS, "Hello!", "--max-tokens", "3") as person:
        assert person.leaves() == 0
        assert person.seen.partition("\n")[2] == "mlxk run: The answer was cut after 3 tokens: --max-tokens allows no more.\n"


def test_reasoning_that_the_template_opened_is_told_from_the_answer(chat):
    with chat(OPENED, "What color is the sky?") as person:
        assert person.leaves() == 0
        assert person.seen == "[Reasoning]\nBy day it is blue.\n\n[Answer]\nThe sky is blue.\n"


def test_reasoning_that_never_ends_is_no_answer_and_that_is_said(chat):
    with chat(OPENED, "What is pi?", "--no-reasoning") as person:
        assert person.leaves() == 0
        assert person.seen == "\nmlxk run: The model ended within its reasoning, so there is no answer.\n"
