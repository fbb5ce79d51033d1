"""Which models are minted: looked up by id, without importing an ML library."""

from __future__ import annotations

import difflib
from typing import Literal

from qualification.errors import UsageError
from qualification.mint.families import FAMILIES
from qualification.mint.hearing import HEARING, KnownSpeech, SpeechRecipe
from qualification.mint.pathologies import PATHOLOGIES
from qualification.mint.recipe import KnownAnswer, KnownCompletion, Message, Modality, Recipe
from qualification.mint.seeing import SEEING, KnownLook, VisionRecipe

__all__ = [
    "KnownAnswer",
    "KnownCompletion",
    "KnownLook",
    "KnownSpeech",
    "Message",
    "Recipe",
    "families",
    "known_answers",
    "known_completions",
    "known_looks",
    "known_speech",
    "pathologies",
    "recipe",
    "recipes",
    "recipes_of",
    "set_of",
    "size_bytes",
]


_BEHAVED = (*FAMILIES, *SEEING, *HEARING)
_KNOWN = {known.model_id: known for known in (*_BEHAVED, *PATHOLOGIES)}


def recipes(modality: Modality | None = None) -> tuple[Recipe, ...]:
    """The recipes of the default portfolio, which is every well-behaved model, in a fixed order; or those of one modality."""
    return tuple(found for found in _BEHAVED if modality in {None, found.modality})


def pathologies() -> tuple[Recipe, ...]:
    """The recipes of the models that misbehave, in a fixed order; no portfolio has them."""
    return PATHOLOGIES


def set_of(model_id: str) -> Literal["default", "pathology"]:
    """Whether a minted model is one that behaves."""
    return "pathology" if recipe(model_id) in PATHOLOGIES else "default"


def recipe(model_id: str) -> Recipe:
    """The recipe of one model; raises ``UsageError`` with the nearest id if there is none."""
    if model_id not in _KNOWN:
        raise UsageError(f"No minted model is called {model_id!r}{_nearest(model_id, tuple(_KNOWN))}")
    return _KNOWN[model_id]


def families() -> tuple[str, ...]:
    """The names of all families that have a well-behaved model."""
    return tuple(dict.fromkeys(found.family for found in _BEHAVED))


def recipes_of(family: str) -> tuple[Recipe, ...]:
    """The well-behaved models of one family; raises ``UsageError`` with the valid names if there is none."""
    chosen = tuple(found for found in _BEHAVED if found.family == family)
    if not chosen:
        raise UsageError(f"No family is called {family!r}; the families are {', '.join(families())}.")
    return chosen


def known_answers(model_id: str) -> tuple[KnownAnswer, ...]:
    """What a model answers exactly; empty for a model that was not minted."""
    return _KNOWN[model_id].known_answers if model_id in _KNOWN else ()


def known_looks(model_id: str) -> tuple[KnownLook, ...]:
    """What a model tells of pictures exactly; empty for a model that has no eyes or was not minted."""
    found = _KNOWN.get(model_id)
    return found.known_looks if isinstance(found, VisionRecipe) else ()


def known_speech(model_id: str) -> tuple[KnownSpeech, ...]:
    """What a model hears exactly; empty for a model that hears nothing or was not minted."""
    found = _KNOWN.get(model_id)
    return found.known_speech if isinstance(found, SpeechRecipe) else ()


def known_completions(model_id: str) -> tuple[KnownCompletion, ...]:
    """The raw prompts a model continues exactly; empty for a model that was not minted."""
    return _KNOWN[model_id].known_completions if model_id in _KNOWN else ()


def size_bytes(model_id: str) -> int:
    """Rough size of a model's files, declared so that a plan can be made before anything is minted."""
    return recipe(model_id).size_bytes


def _nearest(name: str, valid: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(valid)}."
