"""Estimate and interval, against published data, another program's answers, and all ways of giving signs."""

from __future__ import annotations

import itertools
import math

import pytest

from qualification.performance.signed_rank import estimate

DEPRESSION = [0.952, -0.147, 1.022, 0.43, 0.62, 0.59, 0.49, -0.08, 0.01]
"""Differences of nine patients: Hollander and Wolfe, Nonparametric Statistical Methods (1973), also R's ``?wilcox.test``."""

SAMPLES = [
    # What scipy 1.18's exact ``wilcoxon`` rejects for no shift inside, and for every shift outside, at 0.00625 on either side.
    ([0.05, 0.0619, 0.039, 0.0144, 0.0318, 0.0103, 0.0524, 0.1036, 0.0303], 0.0409, 0.0144, 0.078),
    (
        [0.0252, 0.0696, 0.0643, 0.0542, 0.0128, 0.0488, 0.0778, -0.0038, 0.0317, -0.026, -0.0016, -0.0237],
        0.026675,
        -0.00545,
        0.0619,
    ),
    (
        [
            *(0.0406, -0.0007, 0.0609, 0.0563, 0.0425, -0.0507, 0.0285, 0.0481),
            *(0.0545, -0.0112, 0.0309, 0.0109, 0.0176, 0.0924, 0.0177),
        ],
        0.0301,
        0.0032,
        0.0545,
    ),
    (
        [
            *(0.0487, 0.0854, 0.0267, 0.0455, 0.0544, 0.0526, 0.001, 0.053, 0.1044),
            *(-0.0119, 0.0844, 0.0548, 0.0243, 0.13, 0.0805, 0.002, 0.053, 0.0731),
        ],
        0.053,
        0.0273,
        0.0787,
    ),
]


def test_published_data_give_the_published_interval():
    found = estimate(DEPRESSION, error=0.025)

    assert (found.middle, found.low, found.high) == pytest.approx((0.46, 0.01, 0.786))
    assert found.pairs == 9


@pytest.mark.parametrize(
    ("differences", "middle", "low", "high"), SAMPLES, ids=lambda value: f"{len(value)}" if isinstance(value, list) else ""
)
def test_the_interval_is_what_scipy_s_exact_test_does_not_reject(differences, middle, low, high):
    found = estimate(differences, error=0.00625)

    assert (found.middle, found.low, found.high) == pytest.approx((middle, low, high))


@pytest.mark.parametrize("error", [0.01, 0.025, 0.05, 0.2])
def test_over_all_signs_a_bound_errs_as_often_as_it_may_and_no_more(error):
    sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
    signed = [[size * sign for size, sign in zip(sizes, signs, strict=True)] for signs in itertools.product((-1, 1), repeat=7)]

    wrong = sum(estimate(differences, error).low > 0 for differences in signed)

    # Positive ranks that sum to 28, 27, 26, 25, 24, 23, … : 1, 1, 1, 2, 2, 3, 4, 5, 5, 5, 6 of the 128 ways.
    allowed = max(total for total in itertools.accumulate((0, 1, 1, 1, 2, 2, 3, 4, 5, 5)) if total <= error * 128)
    assert wrong == allowed


def test_too_few_pairs_bound_nothing():
    assert estimate([0.1, 0.2, 0.3, 0.4], error=1 / 16).low == 0.1
    assert estimate([0.1, 0.2, 0.3, 0.4], error=1 / 17).low == -math.inf
    assert estimate([0.1, 0.2, 0.3, 0.4], error=1 / 17).high == math.inf


@pytest.mark.parametrize(
    ("differences", "error"), [([], 0.1), ([math.nan], 0.1), ([math.inf, 1.0], 0.1), ([1.0], 0.0), ([1.0], 0.5)]
)
def test_what_is_no_sample_or_no_probability_is_refused(differences, error):
    with pytest.raises(ValueError, match=r"finite|probability"):
        estimate(differences, error)
