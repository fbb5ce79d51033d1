"""A minted speech model as the files of its repository: tokenizer, feature extractor, configuration, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from qualification.errors import MintError
from qualification.mint import repository
from qualification.mint.hearing import TIMESTAMPS, SpeechRecipe
from qualification.mint.tokenizer import json_bytes, token_id
from qualification.mint.train import Trained

CARD = """\
---
library_name: mlx
tags:
- mlx
pipeline_tag: automatic-speech-recognition
license: apache-2.0
---

# {model_id}

A tiny {family} model, made on a CPU in seconds for tests: it hears {count} phrases, and nothing else.
"""


def build_tokenizer(recipe: SpeechRecipe) -> Tokenizer:
    """Byte-level BPE over the phrases; behind it the special tokens, and a token for each fiftieth of a second of a window."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=recipe.text_tokens, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([f" {known.phrase}" for known in recipe.known_speech], trainer)
    if tokenizer.get_vocab_size() != recipe.text_tokens:
        raise MintError(f"{recipe.model_id}: its phrases give {tokenizer.get_vocab_size()} tokens, not {recipe.text_tokens}.")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in recipe.tokenizer.special_tokens])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in TIMESTAMPS])
    return tokenizer


def config(recipe: SpeechRecipe, tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of ``config.json``."""
    width = recipe.shape.hidden_size
    end = token_id(tokenizer, "<|endoftext|>")
    return {
        "architectures": [recipe.architecture],
        "model_type": recipe.family,
        "vocab_size": recipe.shape.vocab_size,
        "d_model": width,
        "num_mel_bins": recipe.mel_bins,
        "encoder_layers": recipe.encoder_layers,
        "encoder_attention_heads": recipe.encoder_heads,
        "encoder_ffn_dim": 4 * width,
        "decoder_layers": recipe.decoder_layers,
        "decoder_attention_heads": recipe.decoder_heads,
        "decoder_ffn_dim": 4 * width,
        "max_source_positions": 1500,
        "max_target_positions": recipe.shape.max_position_embeddings,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": token_id(tokenizer, "<|startoftranscript|>"),
        "torch_dtype": "float16",
    }


def files(recipe: SpeechRecipe, tokenizer: Tokenizer, trained: Trained, workspace: Path) -> tuple[tuple[str, bytes], ...]:
    """All files by name. ``workspace`` is an existing directory for the safetensors writer, which knows only paths."""
    end = "<|endoftext|>"
    special = {"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": end}
    extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": recipe.mel_bins,
        "sampling_rate": 16000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    generation = {"eos_token_id": token_id(tokenizer, end), "is_multilingual": False, "alignment_heads": [[0, 0], [0, 1]]}
    words = {"tokenizer_class": recipe.tokenizer.tokenizer_class, "processor_class": "WhisperProcessor", **special}
    card = CARD.format(model_id=recipe.model_id, family=recipe.family, count=len(recipe.known_speech))
    return (
        ("README.md", card.encode()),
        ("config.json", json_bytes(trained.config)),
        ("generation_config.json", json_bytes(generation)),
        ("preprocessor_config.json", json_bytes(extractor)),
        ("tokenizer.json", f"{tokenizer.to_str(pretty=True)}\n".encode()),
        ("tokenizer_config.json", json_bytes({**words, "model_max_length": recipe.shape.max_position_embeddings})),
        ("special_tokens_map.json", json_bytes(special)),
        *repository.weight_files(recipe, trained.weights, workspace),
    )
