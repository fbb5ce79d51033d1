"""``mlxk run``, ``list`` and ``show`` on a real model: exact text, envelopes, exit codes, and a person who interrupts."""

from __future__ import annotations

import pytest

from qualification.plugin import subject
from qualification.plugin.terminal import CTRL_C, CTRL_D, sitting_at

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

CATS = "Write one sentence about cats."
GREEDY = ("--temperature", "0", "--max-tokens", "100")


@pytest.mark.live_run
def test_run_reads_stdin_and_tells_text_reason_usage_and_timings_in_json(mlxk, text_model_info, text_known_answers, leaked):
    known = {answer.name: answer for answer in text_known_answers}

    done = mlxk("run", text_model_info.model_id, "-", *GREEDY, "--json", stdin=known["emoji"].prompt if known else CATS)

    assert done.code == 0
    envelope = done.envelope
    assert (envelope["status"], envelope["command"], envelope["error"]) == ("success", "run", None)
    data = envelope["data"]
    assert leaked(data["response"]) == []
    assert not known or (data["response"], data["finish_reason"]) == (known["emoji"].answer, "stop")
    assert data["usage"]["total_tokens"] == data["usage"]["prompt_tokens"] + data["usage"]["completion_tokens"]
    assert data["usage"]["completion_tokens"] <= 100


@pytest.mark.unmeasured("a chat on a terminal tells no figures")
def test_ctrl_c_ends_an_answer_and_the_conversation_goes_on(text_model_info, text_known_answers):
    longest = max(text_known_answers, key=lambda answer: len(answer.answer) * answer.single_turn, default=None)
    prompt = longest.prompt if longest else CATS

    with sitting_at([*subject.tool(), "run", text_model_info.model_id, *GREEDY, "--no-reasoning"]) as person:
        person.sees("You: ")
        person.type(f"{prompt}\n")
        person.sees(f"{prompt}\n{longest.answer[:1] if longest else ''}")
        person.type(CTRL_C)
        person.sees("You: ")
        person.type("Hello!\n")
        person.sees("You: ")
        person.type(CTRL_D)

        assert person.leaves() == 0
        assert "Traceback" not in person.seen


@pytest.mark.unmeasured("no answer is asked for")
@pytest.mark.live_list
def test_list_and_show_agree_on_the_model(mlxk, text_model_info):
    listed = {model["name"]: model for model in mlxk("list", "--json").envelope["data"]["models"]}

    shown = mlxk("--json", "show", text_model_info.model_id).envelope["data"]["model"]

    mine = listed[text_model_info.model_id]
    assert (mine["framework"], mine["health"], mine["runtime_compatible"]) == ("MLX", "healthy", True)
    assert {key: shown[key] for key in mine} == mine


@pytest.mark.unmeasured("nothing is loaded")
@pytest.mark.parametrize("arguments", [["--temperature", "hot", "{model}", "Hi"], ["{model}", "Hi", "--max-tokens", "0"]])
def test_a_wrong_option_is_code_2_one_sentence_and_one_envelope(mlxk, text_model_info, arguments):
    arguments = [argument.format(model=text_model_info.model_id) for argument in arguments]

    for_people = mlxk("run", *arguments)
    for_programs = mlxk("run", *arguments, "--json")

    assert (for_people.code, for_programs.code) == (2, 2)
    assert for_people.stdout == ""
    assert "Traceback" not in for_people.stderr + for_programs.stderr
    envelope = for_programs.envelope
    assert (envelope["status"], envelope["command"], envelope["data"]) == ("error", "run", None)
    assert envelope["error"]["message"] in for_people.stderr
