"""Which models are minted: looked up by id, without importing an ML library."""

from __future__ import annotations

import difflib

from qualification.errors import UsageError
from qualification.mint.families import FAMILIES
from qualification.mint.recipe import KnownAnswer, KnownCompletion, Message, Recipe

__all__ = [
    "KnownAnswer",
    "KnownCompletion",
    "Message",
    "Recipe",
    "families",
    "known_answers",
    "known_completions",
    "recipe",
    "recipes",
    "recipes_of",
    "size_bytes",
]


def recipes() -> tuple[Recipe, ...]:
    """All recipes, in a fixed order."""
    return FAMILIES


def recipe(model_id: str) -> Recipe:
    """The recipe of one model; raises ``UsageError`` with the nearest id if there is none."""
    by_id = {found.model_id: found for found in FAMILIES}
    if model_id not in by_id:
        raise UsageError(f"No minted model is called {model_id!r}{_nearest(model_id, tuple(by_id))}")
    return by_id[model_id]


def families() -> tuple[str, ...]:
    """The names of all families that have a recipe."""
    return tuple(dict.fromkeys(found.family for found in FAMILIES))


def recipes_of(family: str) -> tuple[Recipe, ...]:
    """The recipes of one family; raises ``UsageError`` with the valid names if there is none."""
    chosen = tuple(found for found in FAMILIES if found.family == family)
    if not chosen:
        raise UsageError(f"No family is called {family!r}; the families are {', '.join(families())}.")
    return chosen


def known_answers(model_id: str) -> tuple[KnownAnswer, ...]:
    """What a model answers exactly; empty for a model that was not minted."""
    return next((found.known_answers for found in FAMILIES if found.model_id == model_id), ())


def known_completions(model_id: str) -> tuple[KnownCompletion, ...]:
    """The raw prompts a model continues exactly; empty for a model that was not minted."""
    return next((found.known_completions for found in FAMILIES if found.model_id == model_id), ())


def size_bytes(model_id: str) -> int:
    """Rough size of a model's files, declared so that a plan can be made before anything is minted."""
    return recipe(model_id).size_bytes


def _nearest(name: str, valid: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(valid)}."
