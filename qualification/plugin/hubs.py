"""A local hub for a test, gone with everything in it at its end; and where a live test of pull, clone or push goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qualification import settings
from qualification.plugin.isolation import IsolatedCache

if TYPE_CHECKING:
    from qualification.hub.server import LocalHub

_MINTED, _PUBLISHED = "mint/phi3-tiny", "acme/tiny"
"""It has several shards."""
_SMALL = "mlx-community/Qwen2.5-0.5B-Instruct-4bit"


@dataclass(frozen=True, slots=True)
class Remote:
    """``model`` is on it; ``environment`` leads the tool there, with a cache of the test's own. ``local`` is None for the Hub."""

    model: str
    environment: dict[str, str]
    cache: IsolatedCache
    local: LocalHub | None
    published: Path | None


@pytest.fixture
def local_hub(tmp_path: Path) -> Iterator[LocalHub]:
    """``local_hub.url`` is what HF_ENDPOINT should be; ``store`` publishes, ``fail`` makes trouble, ``requests()`` tells."""
    from qualification.hub.server import running  # noqa: PLC0415 - bottle and waitress, for the tests that ask for it

    with running(tmp_path / "local-hub") as hub:
        yield hub


@pytest.fixture
def remote(request: pytest.FixtureRequest, isolated_cache: IsolatedCache, tmp_path: Path) -> Iterator[Remote]:
    """Leads to the Hub for ``live_pull`` with MLXK2_TEST_RESUMABLE_DOWNLOAD, ``live_clone`` with MLXK2_LIVE_CLONE, and
    ``live_push`` with MLXK2_LIVE_PUSH; else to a local one.
    """
    variables = settings.whole()
    usual = {**isolated_cache.environment(), "HF_HUB_DISABLE_TELEMETRY": "1"}
    usual.pop("HF_HUB_OFFLINE", None)
    if (model := _on_the_hub(request, variables)) is not None:
        yield Remote(model, usual, isolated_cache, None, None)
        return
    from qualification.hub.server import running  # noqa: PLC0415 - bottle and waitress, for the tests that ask for it
    from qualification.mint import store  # noqa: PLC0415 - likewise

    minted = store.ensure([_MINTED])[0]
    snapshot = minted.folder / "snapshots" / minted.revision
    with running(tmp_path / "hub") as hub:
        hub.store.import_folder(_PUBLISHED, snapshot)
        there = {**usual, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_local_write"}
        yield Remote(_PUBLISHED, there, isolated_cache, hub, snapshot)


def _on_the_hub(request: pytest.FixtureRequest, variables: dict[str, str]) -> str | None:
    """Which model of the Hub, if it is the Hub."""
    switches = {
        "live_pull": ("MLXK2_TEST_RESUMABLE_DOWNLOAD", _SMALL),
        "live_clone": ("MLXK2_LIVE_CLONE", variables.get("MLXK2_LIVE_CLONE_MODEL", _SMALL)),
        "live_push": ("MLXK2_LIVE_PUSH", variables.get("MLXK2_LIVE_REPO", "")),
    }
    for mark, (variable, model) in switches.items():
        if request.node.get_closest_marker(mark) and variables.get(variable) == "1":
            return model
    return None
