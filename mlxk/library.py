"""The models of cache and workspaces as mlxk sees them: what each is, whether it is whole, whether it runs, who may load."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlxk import cache, contents, settings, workspace
from mlxk.cache import Snapshot
from mlxk.compatibility import Modality, Packages, general_obstacle, obstacles
from mlxk.contents import Contents
from mlxk.errors import CapabilityMissing, ModelNotFound, ModelNotRunnable, ModelUnhealthy
from mlxk.health import Problem, problems, unfinished
from mlxk.model import Description, describe

_LACKING = ("no_snapshot", "weights_missing", "shard_missing")


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Everything known of one snapshot. ``runtime`` is, for each modality that it declares, what is in its way, or None."""

    snapshot: Snapshot
    contents: Contents
    description: Description
    problems: tuple[Problem, ...]
    runtime: Mapping[Modality, str | None]

    @property
    def name(self) -> str:
        return self.snapshot.name

    @property
    def healthy(self) -> bool:
        return not self.problems

    @property
    def runnable(self) -> bool:
        """Whether it can be used for anything here."""
        return self.healthy and None in self.runtime.values()

    def runs(self, modality: Modality) -> bool:
        """Whether it can be used for this here."""
        return self.healthy and self.runtime.get(modality, "not declared") is None

    @property
    def main(self) -> Modality:
        """What it is loaded for before anything is asked of it."""
        found: tuple[Modality, ...] = ("text", "vision", "audio")
        return next((modality for modality in found if self.runs(modality)), "text")

    def way(self, modality: Modality) -> Modality:
        """What it is loaded for to do this: mlx-vlm answers text too, also with models that mlx-lm does not know."""
        return "vision" if modality == "text" and not self.runs("text") and self.runs("vision") else modality

    def check_runs(self, modality: Modality) -> None:
        """Raise the reason why it is not for this, or not here."""
        obstacle = self.runtime.get(modality, self.obstacle)
        if obstacle is not None:
            raise ModelNotRunnable(f"{self.name} cannot be run. {obstacle}")
        if modality not in self.runtime:
            can = " and ".join(self.runtime)
            raise CapabilityMissing(f"{self.name} cannot be run. It is a model for {can}, not for {modality}.")

    @property
    def obstacle(self) -> str | None:
        """Why it does not run though its files are whole, if it does not."""
        if None in self.runtime.values():
            return None
        return next(iter(self.runtime.values()), None) or general_obstacle(self.description, self.contents)

    @property
    def reason(self) -> str | None:
        """The first thing in the way, if anything is."""
        return self.problems[0].message if self.problems else self.obstacle

    @property
    def weights_bytes(self) -> int:
        return sum(self.contents.files[name] or 0 for name in self.contents.weights)


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """A hub cache and a folder of workspaces, seen with the packages that are installed."""

    hub: Path
    packages: Packages
    workspace_home: Path | None = None

    @classmethod
    def of_user(cls) -> Library:
        return cls(settings.hub_cache(), Packages.installed(), settings.workspace_home())

    def models(self, pattern: str = "") -> Iterator[Model]:
        """The workspaces, then the current snapshot of every model of the cache, whose name holds the pattern in any case.

        A path lists workspaces only; ``name@revision`` is the one model that it names.
        """
        return (self.inspect(snapshot) for snapshot in self._matching(pattern))

    def find(self, spec: str) -> Model:
        return self.inspect(self.locate(spec))

    def locate(self, spec: str) -> Snapshot:
        """The snapshot or workspace that a person's words mean. Raises NotFound."""
        if workspace.is_path(spec):
            folder = os.path.abspath(spec)  # noqa: PTH100 - as typed, links and all
            if not os.path.isdir(folder):  # noqa: PTH112
                raise ModelNotFound(
                    f"There is no folder {spec}. A model of the cache is named org/name, without a dot before it."
                )
            return _workspace(folder)
        if self.workspace_home is not None and _is_entry(spec) and (self.workspace_home / spec).is_dir():
            return _workspace(str(self.workspace_home / spec))
        return cache.find(self.hub, spec)

    def inspect(self, snapshot: Snapshot) -> Model:
        held = contents.read(snapshot)
        described = describe(snapshot.name, held)
        reads_images = "vision" in described.capabilities
        found = problems(held, reads_text=described.reads_text, reads_images=reads_images)
        if snapshot.cached and any(problem.code in _LACKING for problem in found):
            found += unfinished(contents.unfinished(snapshot))
        return Model(snapshot, held, described, found, obstacles(described, held, self.packages))

    def admit(self, snapshot: Snapshot, reclaimable_bytes: int = 0, modality: Modality | None = "text") -> Model:
        """The model, if it may be loaded: whole, runnable as asked (None: for anything), and small enough. Else raises.

        ``reclaimable_bytes`` is what a model that would make room holds now.
        """
        model = self.inspect(snapshot)
        if not model.healthy:
            listed = " ".join(problem.message for problem in model.problems)
            raise ModelUnhealthy(f"{model.name} is not whole: {listed} Download it again.")
        model.check_runs(model.way(modality or model.main))
        from mlxk import memory  # noqa: PLC0415 - for loading only, and it takes a while to import

        available = memory.available_bytes()
        memory.check_fits(model.name, model.weights_bytes, available and available + reclaimable_bytes)
        return model

    def _matching(self, pattern: str) -> Iterator[Snapshot]:
        if workspace.is_path(pattern):
            yield from map(_workspace, workspace.at(pattern))
            return
        if "@" in pattern:
            yield self.locate(pattern)
            return
        wanted = pattern.lower()
        if self.workspace_home is not None:
            for folder in workspace.in_folder(str(self.workspace_home)):
                if wanted in folder.rpartition("/")[2].lower():
                    yield _workspace(folder)
        for name in cache.names(self.hub):
            if wanted in name.lower():
                yield cache.current(self.hub, name)


def _workspace(folder: str) -> Snapshot:
    return Snapshot(folder, folder, None, cached=False)


def _is_entry(spec: str) -> bool:
    """Whether it can be the name of something in a folder, and of nothing outside it."""
    return bool(spec) and "/" not in spec and "\0" not in spec and not spec.startswith(".")
