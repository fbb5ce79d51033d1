"""A minted vision model as the files of its repository: what it has beside those of a text model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from qualification.mint import repository
from qualification.mint import tokenizer as tokenizers
from qualification.mint.seeing import VisionRecipe
from qualification.mint.tokenizer import json_bytes, token_id
from qualification.mint.train import Trained

CARD = """\
---
library_name: mlx
tags:
- mlx
pipeline_tag: image-text-to-text
license: apache-2.0
---

# {model_id}

A tiny {family} model, made on a CPU in seconds for tests: it knows {count} pictures and their colors, and little else.
"""


def config(recipe: VisionRecipe, tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of ``config.json``."""
    text: dict[str, Any] = {**dataclasses.asdict(recipe.shape), "hidden_act": "silu", **dict(recipe.config_extra)}
    if recipe.mrope_section:
        text["rope_scaling"] = {"type": "mrope", "mrope_section": list(recipe.mrope_section)}
    spec = recipe.tokenizer
    own = text if not recipe.text_config else {"text_config": {"model_type": recipe.text_config, **text}}
    return {
        "architectures": [recipe.architecture],
        "model_type": recipe.family,
        **own,
        "vocab_size": recipe.shape.vocab_size,
        "vision_config": dict(recipe.vision),
        **{entry: token_id(tokenizer, token) for entry, token in recipe.image_tokens},
        "vision_feature_layer": -1,
        "bos_token_id": None if spec.bos_token is None else token_id(tokenizer, spec.bos_token),
        "eos_token_id": token_id(tokenizer, spec.eos_token),
        "pad_token_id": token_id(tokenizer, spec.pad_token),
        "torch_dtype": recipe.dtype,
    }


def processor_files(recipe: VisionRecipe, tokenizer: Tokenizer, settings: dict[str, Any]) -> tuple[tuple[str, bytes], ...]:
    """What a processor is loaded from, which is needed before there are weights."""
    written = [
        ("config.json", json_bytes(settings)),
        ("preprocessor_config.json", json_bytes(_plain(recipe.preprocessor))),
        *tokenizers.files(recipe, tokenizer),
    ]
    if recipe.processor:
        written.append(("processor_config.json", json_bytes(_plain(recipe.processor))))
    return tuple(written)


def files(recipe: VisionRecipe, tokenizer: Tokenizer, trained: Trained, workspace: Path) -> tuple[tuple[str, bytes], ...]:
    """All files by name. ``workspace`` is an existing directory for the safetensors writer, which knows only paths."""
    generation = {"eos_token_id": [token_id(tokenizer, token) for token in recipe.end_tokens], "do_sample": False}
    card = CARD.format(model_id=recipe.model_id, family=recipe.family, count=len(recipe.known_looks))
    return (
        ("README.md", card.encode()),
        ("generation_config.json", json_bytes(generation)),
        *processor_files(recipe, tokenizer, trained.config),
        *repository.weight_files(recipe, trained.weights, workspace),
    )


def _plain(pairs: object) -> Any:
    """Pairs, which a frozen recipe has in place of an object, as that object."""
    if isinstance(pairs, tuple) and pairs and all(isinstance(each, tuple) and isinstance(each[0], str) for each in pairs):
        return {name: _plain(value) for name, value in pairs}
    return [_plain(each) for each in pairs] if isinstance(pairs, tuple) else pairs
