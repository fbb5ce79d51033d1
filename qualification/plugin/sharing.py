"""The part of a shuffled cell that is this process's: every n-th test of an order that a seed gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from qualification.plugin.context import CELL


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Modules in a random order, and the tests of each; then every n-th test, so that its neighbours are others."""
    cell = config.stash[CELL]
    if cell is None or cell.share is None:
        return
    chance = random.Random(cell.share.seed)
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    shuffled = chance.sample(list(modules.values()), len(modules))
    mixed = [item for module in shuffled for item in chance.sample(module, len(module))]
    items[:] = mixed[cell.share.part :: cell.share.parts]
    kept = {id(item) for item in items}
    config.hook.pytest_deselected(items=[item for item in mixed if id(item) not in kept])
