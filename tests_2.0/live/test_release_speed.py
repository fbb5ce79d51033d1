"""What a release takes beside the one before it, as servers of both tell it in turns on the same machine."""

from __future__ import annotations

import pytest

from qualification.performance import gate

pytestmark = [
    pytest.mark.live,
    pytest.mark.benchmark,
    pytest.mark.unmeasured("two releases answer, and what each takes stands in the comparison"),
]


def test_no_figure_is_worse_than_that_of_the_release_before(text_model_info, release_comparison):
    if release_comparison.answer == "INCONCLUSIVE":
        pytest.skip(f"INCONCLUSIVE, {gate.TOO_BUSY}: {gate.doubts(release_comparison)}")

    assert release_comparison.answer == "PASS", gate.doubts(release_comparison)
