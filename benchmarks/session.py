"""What every row is measured with: the tool under test, its peers, minted models, and a folder to work in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import peers

from qualification.mint import store

ROOT = peers.ROOT
"""The checkout."""


@dataclass(frozen=True, slots=True)
class Session:
    """``rounds`` is how many pairs a figure wants; a dear one may take fewer, a cheap one more."""

    rounds: int
    scratch: Path

    @property
    def python(self) -> str:
        return sys.executable

    @property
    def bare(self) -> list[str]:
        """The floor of every command: an interpreter that does nothing."""
        return [sys.executable, "-c", "pass"]

    @property
    def tool(self) -> Path:
        """The installed ``mlxk``."""
        return Path(sys.executable).with_name("mlxk")

    def peer(self, name: str) -> Path:
        """The ``bin`` folder of a peer's environment; ``peers.PEERS`` has the names."""
        return peers.environment(name)

    def minted(self, *models: str) -> dict[str, str]:
        """The environment variables of a Hugging Face home that has these models, offline."""
        home = self.scratch / "minted"
        store.ensure(models)
        for model in models:
            if not (home / "hub" / f"models--{model.replace('/', '--')}").is_dir():
                store.install(model, home)
        return {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
