"""A local hub for a test: empty at its start, gone with everything in it at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qualification.hub.server import LocalHub


@pytest.fixture
def local_hub(tmp_path: Path) -> Iterator[LocalHub]:
    """``local_hub.url`` is what HF_ENDPOINT should be; ``store`` publishes, ``fail`` makes trouble, ``requests()`` tells."""
    from qualification.hub.server import running  # noqa: PLC0415 - bottle and waitress, for the tests that ask for it

    with running(tmp_path / "local-hub") as hub:
        yield hub
