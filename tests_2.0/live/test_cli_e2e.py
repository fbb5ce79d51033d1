"""``mlxk run``, ``list`` and ``show`` on a real model: exact text, exit codes, and no stop token, in a pipe and on a terminal."""

from __future__ import annotations

import pytest

from qualification.plugin import subject

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

CATS = "Write one sentence about cats."
SCRIPTS = ("emoji", "mixed", "story")
"""Known answers whose letters take two, three and four bytes, and the longest one; the server's test asks for all."""


def _performance(data):
    timings, usage = data["timings"], data["usage"]
    return {
        "tokens_per_sec": timings["generation_tps"],
        "generation_tps": timings["generation_tps"],
        "prompt_tps": timings["prompt_tps"],
        "model_load_time_s": timings["load_time_s"],
        "time_to_first_token_s": timings["time_to_first_token_s"],
        "peak_memory_gb": timings["peak_memory_gb"],
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
    }


def test_run_in_a_pipe_answers_exactly(mlxk, text_model_info, text_known_answers, leaked):
    known = {answer.name: answer for answer in text_known_answers}
    prompts = {name: known[name].prompt for name in SCRIPTS} if known else {"cats": CATS}

    for name, prompt in prompts.items():
        done = mlxk("run", text_model_info.model_id, prompt, "--temperature", "0", "--max-tokens", "200")

        assert (done.code, done.stderr) == (0, "")
        assert leaked(done.stdout) == []
        assert done.stdout.strip()
        assert name not in known or done.stdout == known[name].answer + "\n"


def test_run_on_a_terminal_shows_the_same_text_as_in_a_pipe(mlxk, text_model_info, text_known_answers, leaked):
    known = {answer.name: answer for answer in text_known_answers}
    prompt = known["mixed"].prompt if known else CATS
    arguments = ("run", text_model_info.model_id, prompt, "--temperature", "0", "--max-tokens", "50")
    expected = known["mixed"].answer + "\n" if known else mlxk(*arguments).stdout

    code, shown = subject.on_terminal(*arguments)

    assert code == 0
    assert leaked(shown) == []
    assert shown == expected


def test_run_json_tells_text_reason_usage_and_timings(mlxk, text_model_info, text_known_answers, report_benchmark, leaked):
    known = {answer.name: answer for answer in text_known_answers}

    done = mlxk("run", text_model_info.model_id, CATS, "--temperature", "0", "--max-tokens", "50", "--json")

    assert done.code == 0
    envelope = done.envelope
    assert (envelope["status"], envelope["command"], envelope["error"]) == ("success", "run", None)
    data = envelope["data"]
    report_benchmark(performance=_performance(data))
    assert leaked(data["response"]) == []
    assert not known or (data["response"], data["finish_reason"]) == (known["cats"].answer, "stop")
    assert data["usage"]["total_tokens"] == data["usage"]["prompt_tokens"] + data["usage"]["completion_tokens"]
    assert data["usage"]["completion_tokens"] <= 50


def test_run_stops_at_its_token_budget_and_says_length(mlxk, text_model_info):
    done = mlxk("run", text_model_info.model_id, CATS, "--temperature", "0", "--max-tokens", "3", "--json")

    data = done.envelope["data"]
    assert (data["finish_reason"], data["usage"]["completion_tokens"]) == ("length", 3)


def test_run_reads_its_prompt_from_stdin(mlxk, text_model_info, text_known_answers):
    known = {answer.name: answer for answer in text_known_answers}
    greedy = ("--temperature", "0", "--max-tokens", "50")
    expected = known["cats"].answer + "\n" if known else mlxk("run", text_model_info.model_id, CATS, *greedy).stdout

    by_stdin = mlxk("run", text_model_info.model_id, "-", *greedy, stdin=CATS)

    assert (by_stdin.code, by_stdin.stdout) == (0, expected)


def test_the_same_seed_gives_the_same_text(mlxk, text_model_info):
    arguments = (
        "run",
        text_model_info.model_id,
        "Once",
        "--temperature",
        "1.5",
        "--max-tokens",
        "30",
        "--seed",
        "7",
        "--no-chat-template",
    )

    first, second = mlxk(*arguments), mlxk(*arguments)

    assert first.code == 0
    assert first.stdout == second.stdout


def test_list_and_show_agree_on_the_model(mlxk, text_model_info):
    listed = {model["name"]: model for model in mlxk("list", "--json").envelope["data"]["models"]}

    shown = mlxk("--json", "show", text_model_info.model_id).envelope["data"]["model"]

    mine = listed[text_model_info.model_id]
    assert (mine["framework"], mine["health"], mine["runtime_compatible"]) == ("MLX", "healthy", True)
    assert {key: shown[key] for key in mine} == mine


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["run", "nobody/nothing", "Hi"], 3, "model_not_found"),
        (["show", "nobody/nothing"], 3, "model_not_found"),
        (["run", "--temperature", "hot", "{model}", "Hi"], 2, None),
        (["run", "{model}", "Hi", "--max-tokens", "0"], 2, None),
        (["run"], 2, None),
        (["walk"], 2, None),
        ([], 2, None),
    ],
    ids=["run unknown", "show unknown", "bad number", "no budget", "no model", "no such command", "nothing"],
)
def test_errors_have_their_exit_code_one_sentence_and_one_envelope(mlxk, text_model_info, arguments, code, error):
    arguments = [argument.format(model=text_model_info.model_id) for argument in arguments]

    for_people = mlxk(*arguments)
    for_programs = mlxk(*arguments, "--json")

    assert (for_people.code, for_programs.code) == (code, code)
    assert for_people.stdout == ""
    assert "Traceback" not in for_people.stderr + for_programs.stderr
    envelope = for_programs.envelope
    assert (envelope["status"], envelope["data"]) == ("error", None)
    assert envelope["command"]
    assert error is None or envelope["error"]["type"] == error
    assert envelope["error"]["message"] in for_people.stderr
