"""Which models a qualification runs over, how large they are, and how much memory each needs."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from qualification.declared import Modality, Source, Tier
from qualification.errors import QualificationError, UsageError, nearest

Origin = Literal["discovered", "fallback", "minted"]

_LIST_TIMEOUT_S = 60
_TEXT_OVERHEAD = 1.2
"""Key/value cache and activations on top of the weights, as measured over 23 text models from 0.5 to 47 GB."""

FALLBACK: dict[Modality, tuple[str, ...]] = {
    "text": (
        "mlx-community/gpt-oss-20b-MXFP4-Q8",
        "mlx-community/Qwen2.5-0.5B-Instruct-4bit",
        "mlx-community/Llama-3.2-3B-Instruct-4bit",
    ),
    "vision": ("mlx-community/pixtral-12b-4bit",),
    "audio": ("mlx-community/whisper-large-v3-turbo-4bit",),
}
"""Small models of known behaviour, taken when discovery finds none of a modality but these are cached."""

_FAMILIES = (
    "gpt-oss",
    "llama",
    "qwen",
    "phi",
    "deepseek",
    "mixtral",
    "mistral",
    "gemma",
    "whisper",
    "voxtral",
    "pixtral",
)


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the portfolio; ``revision`` is its snapshot's hash, or the recipe's digest when it is minted."""

    model_id: str
    modality: Modality
    family: str
    size_bytes: int
    origin: Origin
    revision: str | None


def listed(command: Sequence[str], environment: dict[str, str]) -> list[dict[str, Any]]:
    """The model objects that ``mlxk list --json`` reports in ``environment``; ``command`` starts the tool."""
    argv = [*command, "list", "--json"]
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, timeout=_LIST_TIMEOUT_S, check=False, encoding="utf-8")
        envelope = json.loads(done.stdout)
        models: list[dict[str, Any]] = envelope["data"]["models"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        raise QualificationError(f"`{' '.join(argv)}` gave no model list ({error}); the portfolio cannot be known") from error
    return models


def resolve(source: Source, models: Sequence[dict[str, Any]], families: Sequence[str] | None = None) -> tuple[Model, ...]:
    """The portfolio, sorted by modality and name.

    ``auto`` takes, for each modality by itself, what was discovered, else what is cached of the fallback list, else what is
    minted; the other sources take their one kind and nothing else. ``families`` are those to mint, None for all; raises
    UsageError for one that nobody can mint.
    """
    mintable = minted()
    for family in families or ():
        if family not in {model.family for model in mintable}:
            raise UsageError(
                f"portfolio.minted: no family {family!r} is minted{nearest(family, {each.family for each in mintable})}"
            )
    usable = [entry for entry in models if _usable(entry)]
    chosen: list[Model] = []
    for modality, fallback in FALLBACK.items():
        kinds = {
            "discovered": [_of(entry, modality, "discovered") for entry in usable if _modality(entry) == modality],
            "fallback": [
                _of(entry, modality, "fallback") for entry in usable if entry["name"] in fallback and _runs(entry, modality)
            ],
            "minted": [each for each in mintable if each.modality == modality and (families is None or each.family in families)],
        }
        chosen += next(filter(None, kinds.values()), []) if source == "auto" else kinds[source]
    return tuple(sorted(chosen, key=lambda model: (model.modality, model.model_id)))


def minted() -> tuple[Model, ...]:
    """Every model that the catalog can mint; nothing is minted by asking."""
    from qualification.mint import catalog  # noqa: PLC0415 - its recipes take longer to import than a small cell to run

    return tuple(
        Model(
            model_id=recipe.model_id,
            modality=recipe.modality,
            family=recipe.family,
            size_bytes=recipe.size_bytes,
            origin="minted",
            revision=recipe.digest(),
        )
        for recipe in catalog.recipes()
    )


_MEASURED = "mint-pathology/never-stops"
"""It fills every budget, so that every release writes equally much."""


def measured() -> tuple[Model, ...]:
    """What the speed of a release is measured on: a minted model, because it must be the same one for each."""
    from qualification.mint import catalog  # noqa: PLC0415 - as above

    recipe = catalog.recipe(_MEASURED)
    return (Model(recipe.model_id, recipe.modality, recipe.family, recipe.size_bytes, "minted", recipe.digest()),)


NOMINAL = 0.9
"""A machine sold as 16 GB reports up to a tenth less to its system: firmware and graphics keep the rest."""

_LEARNED_MARGIN = 1.1


@dataclass(frozen=True, slots=True)
class Capacity:
    """The memory that models may use on one machine: that of its tier, its own where it was measured, and what Metal
    recommends at most. ``peaks`` are what cells of earlier runs held, by model and revision.
    """

    tier: Tier
    ram_bytes: int | None = None
    working_set_bytes: int | None = None
    peaks: Mapping[tuple[str, str | None], int] = field(default_factory=dict)

    @property
    def is_nominal(self) -> bool:
        """Whether the machine has what its tier is named for, but for the tenth that systems keep."""
        return self.ram_bytes is None or NOMINAL * self.tier.ram_bytes <= self.ram_bytes <= self.tier.ram_bytes

    @property
    def memory_bytes(self) -> int:
        """What shares are taken of."""
        return self.tier.ram_bytes if self.ram_bytes is None or self.is_nominal else self.ram_bytes


def need_bytes(model: Model, capacity: Capacity) -> float:
    """Memory that a model needs; infinite where it must not be tried.

    Text: 1.2 × its files. Vision: its files, and never above ``vision_limit`` of the memory, because the image encoder's
    peak is unpredictable there. Audio: its files, and at least ``audio_floor_bytes``. Where a cell of this model has been
    measured, 1.1 × that peak if it is more.
    """
    learned = round(capacity.peaks.get((model.model_id, model.revision), 0) * _LEARNED_MARGIN)
    tier = capacity.tier
    if model.modality == "text":
        return max(round(model.size_bytes * _TEXT_OVERHEAD), learned)
    if model.modality == "vision":
        return max(model.size_bytes, learned) if model.size_bytes <= _share(tier.vision_limit, capacity) else math.inf
    return max(model.size_bytes, tier.audio_floor_bytes, learned)


def budget_bytes(modality: Modality, capacity: Capacity) -> int:
    """Memory that a model may use; in whole bytes, so that a model exactly at its budget runs."""
    tier = capacity.tier
    share = _share(tier.text_budget if modality == "text" else tier.vision_limit, capacity)
    return share if capacity.working_set_bytes is None else min(share, capacity.working_set_bytes)


def _share(share: float, capacity: Capacity) -> int:
    return round(capacity.memory_bytes * share)


def _usable(entry: dict[str, Any]) -> bool:
    """Whether the tool says that it can run this model: a broken or foreign one qualifies nothing, by whatever name."""
    return bool(entry["framework"] == "MLX" and entry["health"] == "healthy" and entry["runtime_compatible"] and entry["cached"])


def _runs(entry: dict[str, Any], modality: Modality) -> bool:
    """What the tool says of this very modality; what it says of the model as a whole, where it is an older one."""
    runtime = entry.get("runtime")
    return bool(runtime[modality]["compatible"]) if runtime and modality in runtime else bool(entry["runtime_compatible"])


def _modality(entry: dict[str, Any]) -> Modality | None:
    """The one portfolio that a model is in: the portfolios are disjoint.

    What declares vision belongs there only where its vision runs here; a model whose text alone does is a text model.
    """
    if entry["model_type"] == "audio":
        return "audio" if _runs(entry, "audio") else None
    if "vision" in entry["capabilities"] and _runs(entry, "vision"):
        return "vision"
    told = entry["model_type"] == "chat" and "audio" not in entry["capabilities"]
    return "text" if told and _runs(entry, "text") else None


def _of(entry: dict[str, Any], modality: Modality, origin: Origin) -> Model:
    return Model(
        model_id=entry["name"],
        modality=modality,
        family=family_of(entry["name"]),
        size_bytes=entry["size_bytes"],
        origin=origin,
        revision=entry["hash"],
    )


def family_of(model_id: str) -> str:
    """The family that a model's name tells: ``org/Qwen2.5-0.5B-Instruct-4bit`` is ``qwen``; ``unknown`` otherwise.

    A word of the name must begin or end with it: TinyLlama is a llama, and a dolphin is no phi.
    """
    name = re.sub(r"[_.]", "-", model_id.rpartition("/")[2].lower())
    words = (rf"(?<![a-z]){family}|{family}(?![a-z])" for family in _FAMILIES)
    return next((family for family, word in zip(_FAMILIES, words, strict=True) if re.search(word, name)), "unknown")
