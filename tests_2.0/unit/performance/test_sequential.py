"""What may be said of pairs at each look: the decisions by hand, and the promised error rates on made-up noise."""

from __future__ import annotations

import random

import pytest

from qualification.performance.sequential import Rules, decide, look

RULES = Rules()
NINE = [1.0] * 9


@pytest.mark.parametrize(
    ("ratios", "answer"),
    [
        # The bound at a first look of nine pairs is the third average from either end: 3 of 512 is the most below 0.025 / 4.
        ([1.10] * 9, "FAIL"),
        ([1.00] * 9, "PASS"),
        ([0.50] * 9, "PASS"),
        ([1.05] * 9, "FAIL"),  # beyond the tolerance, and so not to be passed though within the margin
        ([1.02] * 9, "PASS"),
        ([1.00] * 5 + [1.20] * 4, "INCONCLUSIVE"),
        ([1.10] * 8 + [0.80], "INCONCLUSIVE"),
        ([1.00] * 8 + [1.50], "INCONCLUSIVE"),
    ],
)
def test_an_answer_needs_the_whole_interval(ratios, answer):
    assert look(ratios, NINE, RULES).answer == answer


def test_a_ratio_is_of_the_candidate_to_the_base():
    finding = look([3.0] * 9, [2.0] * 9, RULES)

    assert (finding.ratio, finding.low, finding.high) == pytest.approx((1.5, 1.5, 1.5))
    assert finding.sentence == "1.500 x [1.500, 1.500] in 9 pairs: FAIL"


def test_the_first_look_that_answers_ends_it():
    late = [1.00, 1.20] * 4 + [1.00] + [1.10] * 9
    endless = [1.00, 1.20] * 9

    assert decide([1.0] * 18, [1.0] * 18, RULES).pairs == 9
    assert decide(late, [1.0] * 18, RULES).pairs > 9
    assert (decide(endless, [1.0] * 18, RULES).pairs, decide(endless, [1.0] * 18, RULES).answer) == (18, "INCONCLUSIVE")


@pytest.mark.parametrize(("candidate", "base"), [([], []), ([1.0], []), ([1.0, 0.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, -1.0])])
def test_what_is_no_pair_of_times_is_refused(candidate, base):
    with pytest.raises(ValueError, match="pairs of times above zero"):
        look(candidate, base, RULES)


def test_fewer_pairs_than_the_first_look_are_refused():
    with pytest.raises(ValueError, match="8 pairs are fewer than the first look takes, 9"):
        decide([1.0] * 8, [1.0] * 8, RULES)


@pytest.mark.parametrize(
    ("slowdown", "wrong"),
    [(RULES.tolerance, "FAIL"), (RULES.margin, "PASS")],
    ids=["at the tolerance", "at the margin"],
)
def test_a_wrong_answer_is_as_rare_as_promised_where_it_is_likeliest(slowdown, wrong):
    chance = random.Random(f"{slowdown}")
    comparisons = 1000

    answers = [_compared(slowdown, chance) for _ in range(comparisons)]

    # 0.025 promised; 39 of 1000 is three standard deviations of a binomial above it.
    assert answers.count(wrong) <= 39


def test_a_tenth_is_found_and_nothing_is_passed_on_noise_of_four_percent():
    chance = random.Random(7)

    assert [_compared(0.10, chance) for _ in range(100)].count("FAIL") >= 97
    assert [_compared(0.0, chance) for _ in range(100)].count("PASS") >= 97


def _compared(slowdown, chance):
    """The answer to 18 pairs whose every time varies by 2.8 %, their ratio so by 4 %."""
    base, candidate = ([chance.lognormvariate(0, 0.028) for _ in range(18)] for _ in range(2))
    return decide([each * (1 + slowdown) for each in candidate], base, RULES).answer
