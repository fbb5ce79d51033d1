"""What ends an answer of each model: its end token is found, never seen, and told; the findings are left as a report."""

from __future__ import annotations

import pytest

from qualification.plugin.findings import Findings, place_of

pytestmark = [pytest.mark.live, pytest.mark.live_e2e, pytest.mark.live_stop_tokens]

CATS = "Write one sentence about cats."
GREEDY = ("run", "--json", "--temperature", "0", "--max-tokens")


@pytest.fixture(scope="module")
def empirical_report(pytestconfig):
    """Findings by model, left as ``stop_token_config_report.json``."""
    findings = Findings(place_of(pytestconfig, "stop_token_config_report.json"))
    yield findings
    findings.write()


@pytest.fixture(scope="module")
def whole():
    """``whole(mlxk, model)`` asks each model once, with room for all that it has to say."""
    answers = {}

    def ask(mlxk, model):
        if model not in answers:
            answers[model] = mlxk(*GREEDY, "400", "--verbose", model, CATS)
        return answers[model]

    return ask


def test_the_end_token_of_an_answer_is_told_and_not_seen(
    mlxk, text_model_info, text_known_answers, leaked, report_benchmark, empirical_report, whole
):
    known = {answer.name: answer for answer in text_known_answers}

    done = whole(mlxk, text_model_info.model_id)

    data = done.envelope["data"]
    seen = leaked(data["response"] + (data["reasoning"] or ""))
    several = len(data["end_tokens"]) > 1
    finding = {"end_tokens": data["end_tokens"], "finish_reason": data["finish_reason"], "several": several, "leaked": seen}
    report_benchmark(end_tokens=finding)
    empirical_report[text_model_info.model_id] = finding
    assert seen == []
    assert ("warning: the model emitted several end tokens in a row" in done.stderr) == several
    assert not known or (data["finish_reason"], data["end_tokens"]) == ("stop", [known["cats"].end_token])


def test_a_budget_of_the_answer_s_own_length_shows_it_whole_and_says_length(mlxk, text_model_info, leaked, whole):
    """The end token is the one that no longer fits, so nothing of it may be seen either."""
    expected = whole(mlxk, text_model_info.model_id).envelope["data"]
    tokens = expected["usage"]["completion_tokens"] - len(expected["end_tokens"])

    cut = mlxk(*GREEDY, str(tokens), text_model_info.model_id, CATS).envelope["data"]

    assert leaked(cut["response"]) == []
    assert (cut["finish_reason"], cut["usage"]["completion_tokens"]) == ("length", tokens)
    assert (cut["response"], cut["reasoning"]) == (expected["response"], expected["reasoning"])
