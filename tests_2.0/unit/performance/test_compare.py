"""Two sides measured in turns: the order, when it ends, and what the whole amounts to."""

from __future__ import annotations

import pytest

from qualification.performance.compare import compare
from qualification.performance.sequential import Rules

QUICK = Rules(looks=(9, 12))


def scripted(factors):
    """A measuring function and the list of whom it measured: the candidate takes ``factors[metric][pair]`` of the base's 1.0."""
    measured = []

    def measure(sides):
        pair = max(0, len(measured) // 2 - 1)  # the first is for warming up
        measured.extend(sides)
        taken = {
            "base": dict.fromkeys(factors, 1.0),
            "candidate": {name: each[pair % len(each)] for name, each in factors.items()},
        }
        return taken[sides[0]], taken[sides[1]]

    return measure, measured


def test_the_order_is_turned_round_in_every_second_pair_after_one_unmeasured():
    measure, measured = scripted({"token_s": [1.0]})

    found = compare("base", "candidate", measure, dict.fromkeys(("token_s",), QUICK))

    assert measured[:2] == ["base", "candidate"]
    assert measured[2:8] == ["base", "candidate", "candidate", "base", "base", "candidate"]
    assert (len(found.base), len(found.candidate)) == (9, 9)


def test_a_sample_is_counted_for_whom_it_was_taken_of():
    measure, _ = scripted({"token_s": [2.0]})

    found = compare("base", "candidate", measure, dict.fromkeys(("token_s",), QUICK))

    assert {each["token_s"] for each in found.base} == {1.0}
    assert {each["token_s"] for each in found.candidate} == {2.0}


@pytest.mark.parametrize(
    ("factors", "answer", "pairs"),
    [
        ({"one": [1.0], "other": [1.0]}, "PASS", 9),
        ({"one": [1.0], "other": [1.1]}, "FAIL", 9),
        ({"one": [1.0], "other": [0.8, 1.3]}, "INCONCLUSIVE", 12),
        ({"one": [1.2], "other": [0.8, 1.3]}, "FAIL", 12),
    ],
)
def test_one_failure_fails_all_and_one_doubt_leaves_all_in_doubt(factors, answer, pairs):
    measure, measured = scripted(factors)

    found = compare("base", "candidate", measure, dict.fromkeys(factors, QUICK))

    assert found.answer == answer
    assert len(measured) == 2 * (1 + pairs)


def test_a_figure_that_has_its_answer_keeps_it():
    measure, _ = scripted({"early": [1.0] * 9 + [1.9], "late": [0.8, 1.3]})

    found = compare("base", "candidate", measure, dict.fromkeys(("early", "late"), QUICK))

    assert (found.findings["early"].answer, found.findings["early"].pairs) == ("PASS", 9)
    assert found.findings["late"].pairs == 12


def test_each_figure_is_held_to_its_own_rules_and_one_without_any_is_not_judged():
    measure, _ = scripted({"strict": [1.06], "lenient": [1.06], "unjudged": [9.0]})
    rules = {"strict": Rules(0.03, 0.08, (9,)), "lenient": Rules(0.10, 0.20, (9,))}

    found = compare("base", "candidate", measure, rules)

    assert {metric: finding.answer for metric, finding in found.findings.items()} == {"strict": "FAIL", "lenient": "PASS"}
    assert found.candidate[0]["unjudged"] == 9.0
