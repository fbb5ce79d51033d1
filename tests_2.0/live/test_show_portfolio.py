"""``pytest -m show_model_portfolio -s`` shows which models the live tests would run over, and why not over others."""

from __future__ import annotations

import pytest

from qualification.plugin import models, portfolios

pytestmark = [pytest.mark.live, pytest.mark.show_model_portfolio]


def test_the_portfolios_of_this_cache_are_shown(capsys):
    shown = portfolios.here(models.tool())

    with capsys.disabled():
        print("\n" + shown)
    assert [line.partition(":")[0] for line in shown.splitlines() if line[:1].isupper()] == ["TEXT", "VISION", "AUDIO"]
