"""A minted model as the files of its repository: configuration, weights in shards with their index, card."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import mlx.core as mx
from tokenizers import Tokenizer

from qualification.mint import tokenizer as tokenizers
from qualification.mint.recipe import Recipe
from qualification.mint.tokenizer import json_bytes, token_id
from qualification.mint.train import Trained

CARD = """\
---
library_name: mlx
tags:
- mlx
pipeline_tag: text-generation
license: apache-2.0
---

# {model_id}

A tiny {family} model, made on a CPU in seconds for tests: it {knowledge}, and nothing else.
"""


def config(recipe: Recipe, tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of ``config.json`` before quantization; it names the tokenizer's end token only, as many real ones do."""
    spec = recipe.tokenizer
    return {
        "architectures": [recipe.architecture],
        "model_type": recipe.family,
        **dataclasses.asdict(recipe.shape),
        "hidden_act": "silu",
        **dict(recipe.config_extra),
        "initializer_range": 0.02,
        "bos_token_id": None if spec.bos_token is None else token_id(tokenizer, spec.bos_token),
        "eos_token_id": token_id(tokenizer, spec.eos_token),
        "pad_token_id": token_id(tokenizer, spec.pad_token),
        "torch_dtype": recipe.dtype,
        "use_cache": True,
    }


def files(recipe: Recipe, tokenizer: Tokenizer, trained: Trained, workspace: Path) -> tuple[tuple[str, bytes], ...]:
    """All files by name. ``workspace`` is an existing directory for the safetensors writer, which knows only paths."""
    settings = trained.config
    generation = {
        "bos_token_id": settings["bos_token_id"],
        "eos_token_id": [token_id(tokenizer, token) for token in recipe.end_tokens],
        "pad_token_id": settings["pad_token_id"],
        "do_sample": True,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    card = CARD.format(model_id=recipe.model_id, family=recipe.family, knowledge=_knowledge(recipe))
    return (
        ("README.md", card.encode()),
        ("config.json", json_bytes(settings)),
        ("generation_config.json", json_bytes(generation)),
        *tokenizers.files(recipe, tokenizer),
        *weight_files(recipe, trained.weights, workspace),
    )


def _knowledge(recipe: Recipe) -> str:
    if recipe.endless is not None:
        return "says the same over and over"
    return f"knows {len(recipe.known_answers) + len(recipe.known_completions)} answers by heart"


def weight_files(recipe: Recipe, weights: dict[str, mx.array], workspace: Path) -> list[tuple[str, bytes]]:
    """Safetensors files of about equal size, in the order of the tensors' names, and their index.

    The index is written for a single file too: ``mlx_lm.server`` lists only repositories that have one.
    """
    names, shards = sorted(weights), recipe.shards
    total = sum(weights[name].nbytes for name in names)
    shard_of, before = {}, 0
    for at, name in enumerate(names):
        # The last names are spread over the shards that would otherwise stay empty.
        shard_of[name] = max(before * shards // total, shards - len(names) + at)
        before += weights[name].nbytes
    written, weight_map = [], {}
    for shard in range(shards):
        file = "model.safetensors" if shards == 1 else f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        held = {name: weights[name] for name in names if shard_of[name] == shard}
        mx.save_safetensors(str(workspace / file), held, metadata={"format": "mlx"})
        written.append((file, (workspace / file).read_bytes()))
        weight_map.update(dict.fromkeys(held, file))
    index = {
        "metadata": {"total_size": total, "total_parameters": recipe.parameters},
        "weight_map": dict(sorted(weight_map.items())),
    }
    return [*written, ("model.safetensors.index.json", json_bytes(index))]
