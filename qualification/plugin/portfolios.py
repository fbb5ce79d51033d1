"""The portfolios as a person reads them: every model with its key, what it needs, and whether it would run here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qualification import machine, portfolio, settings
from qualification.declared import Modality, Tier
from qualification.portfolio import Capacity, Model
from qualification.units import format_bytes

_GIB = 1 << 30
_BUDGETS = ((16, 0.4), (32, 0.5), (64, 0.6), (96, 0.7))
TIERS = tuple(Tier(f"{size}gb", size * _GIB, share, 0.7, 4 * _GIB) for size, share in _BUDGETS)
"""As in ``matrices/``, whose tiers count in a qualification; outside of one there is no matrix."""

_MODALITIES: tuple[Modality, ...] = ("text", "vision", "audio")


def here(command: Sequence[str]) -> str:
    """The portfolios of the user's cache on this machine; ``command`` starts the tool that lists it."""
    listed = portfolio.listed(command, {**settings.whole(), "HF_HOME": str(settings.hf_home())})
    ram_bytes = machine.observe().ram_bytes
    return show(portfolio.resolve("auto", listed), Capacity(machine.tier_of(ram_bytes, TIERS), ram_bytes))


def show(models: Sequence[Model], capacity: Capacity) -> str:
    """A table for each modality, and the memory that all are measured by."""
    tables = [_table(modality, [model for model in models if model.modality == modality], capacity) for modality in _MODALITIES]
    head = f"{format_bytes(capacity.memory_bytes)} of memory, tier {capacity.tier.name}"
    return "\n\n".join([head, *("\n".join(table) for table in tables)])


def _table(modality: Modality, models: Sequence[Model], capacity: Capacity) -> Iterator[str]:
    budget = portfolio.budget_bytes(modality, capacity)
    yield f"{modality.upper()}: {len(models)} models, budget {format_bytes(budget)}"
    width = max((len(model.model_id) for model in models), default=0)
    for number, model in enumerate(models):
        need = portfolio.need_bytes(model, capacity)
        told = "SKIP (above the vision limit)" if math.isinf(need) else f"needs {format_bytes(need)}"
        fate = "" if math.isinf(need) else "  RUN" if need <= budget else "  SKIP (above the budget)"
        row = f"{model.model_id:{width}}  {format_bytes(model.size_bytes):>9}  {model.origin}, {model.family}  {told}{fate}"
        yield f"  {modality}_{number:02d}  {row}"
