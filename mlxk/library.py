"""The models of the cache as mlxk sees them: what each is, whether it is whole, whether it runs, and who may load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlxk import cache, contents, memory
from mlxk.cache import Snapshot
from mlxk.compatibility import MlxLm, obstacle
from mlxk.contents import Contents
from mlxk.errors import ModelNotRunnable, ModelUnhealthy
from mlxk.health import Problem, problems
from mlxk.model import Description, describe

_WEIGHTS = (".safetensors", ".bin", ".gguf", ".npz")


@dataclass(frozen=True, slots=True)
class Model:
    """Everything known of one snapshot. ``obstacle`` is why it does not run though its files are whole."""

    snapshot: Snapshot
    contents: Contents
    description: Description
    problems: tuple[Problem, ...]
    obstacle: str | None

    @property
    def name(self) -> str:
        return self.snapshot.name

    @property
    def healthy(self) -> bool:
        return not self.problems

    @property
    def runnable(self) -> bool:
        return self.healthy and self.obstacle is None

    @property
    def reason(self) -> str | None:
        """The first thing in the way, if anything is."""
        return self.problems[0].message if self.problems else self.obstacle

    @property
    def weights_bytes(self) -> int:
        return sum(size or 0 for name, size in self.contents.files.items() if name.endswith(_WEIGHTS))


@dataclass(frozen=True, slots=True)
class Library:
    """A hub cache, seen with one installation of mlx-lm."""

    hub: Path
    mlx_lm: MlxLm

    def models(self, pattern: str = "") -> Iterator[Model]:
        """The current snapshot of every model whose name holds the pattern in any case, sorted by name."""
        matching = (name for name in cache.names(self.hub) if pattern.lower() in name.lower())
        return (self.inspect(cache.current(self.hub, name)) for name in matching)

    def find(self, spec: str) -> Model:
        return self.inspect(cache.find(self.hub, spec))

    def inspect(self, snapshot: Snapshot) -> Model:
        held = contents.read(snapshot)
        described = describe(snapshot.name, held)
        reads_images = "vision" in described.capabilities
        found = problems(held, reads_text=described.reads_text, reads_images=reads_images)
        return Model(snapshot, held, described, found, obstacle(described, held, self.mlx_lm))

    def admit(self, snapshot: Snapshot, reclaimable_bytes: int = 0) -> Model:
        """The model, if it may be loaded: whole, runnable, and small enough. Raises the refusal otherwise.

        ``reclaimable_bytes`` is what a model that would make room holds now.
        """
        model = self.inspect(snapshot)
        if not model.healthy:
            listed = " ".join(problem.message for problem in model.problems)
            raise ModelUnhealthy(f"{model.name} is not whole: {listed} Download it again.")
        if model.obstacle is not None:
            raise ModelNotRunnable(f"{model.name} cannot be run. {model.obstacle}")
        available = memory.available_bytes()
        memory.check_fits(model.name, model.weights_bytes, available and available + reclaimable_bytes)
        return model
