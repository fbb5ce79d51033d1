"""Whether what was minted is what its recipe promises, judged on the files and by mlx-lm itself.

A model that fails here is never published, so no test has to wonder whether its model is to blame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
from mlx.utils import tree_flatten
from mlx_lm.generate import generate_step
from mlx_lm.utils import get_total_parameters
from transformers import AutoTokenizer

from qualification.errors import MintError
from qualification.mint.recipe import Recipe
from qualification.mint.tokenizer import Row
from qualification.mint.train import smallest_margin

_ROUNDS = 100
"""How often an endless text is listened to."""


def verify(recipe: Recipe, rows: Sequence[Row], snapshot: Path) -> float:
    """The smallest margin of the model in ``snapshot``; raises ``MintError`` where it breaks a promise.

    ``rows`` are the ids it was trained on, one per known answer and completion, in their order.
    """
    model, tokenizer, *_ = mlx_lm.load(str(snapshot))
    if recipe.endless is not None:
        _check_size(recipe, model, tokenizer)
        margin = _check_margin(recipe, rows, model)
        _check_endless(recipe, rows, model, tokenizer)
        return margin
    _check_tokenizer(recipe, rows, snapshot)
    _check_size(recipe, model, tokenizer)
    _check_causality(recipe, rows, model)
    margin = _check_margin(recipe, rows, model)
    _check_greedy(recipe, rows, model, tokenizer)
    if recipe.after_end:
        _check_beyond(recipe, rows, model)
    return margin


def _check_tokenizer(recipe: Recipe, rows: Sequence[Row], snapshot: Path) -> None:
    """transformers may replace a file's pre-tokenizer by its own; what it makes of a prompt must be what was trained."""
    tokenizer: Any = AutoTokenizer.from_pretrained(snapshot)
    prompts = [
        tokenizer.apply_chat_template(
            [message.as_dict() for message in known.messages],
            tools=known.tools or None,
            add_generation_prompt=True,
            return_dict=False,
        )
        for known in recipe.known_answers
    ]
    prompts += [tokenizer.encode(known.prompt) for known in recipe.known_completions]
    for row, prompt in zip(rows, prompts, strict=True):
        if tuple(prompt) != row.prompt:
            raise MintError(
                f"{recipe.model_id}: transformers tokenizes the prompt of {row.name!r} as {prompt}, "
                f"but the model was trained on {list(row.prompt)}."
            )


def _check_size(recipe: Recipe, model: Any, tokenizer: Any) -> None:
    parameters = _parameters(recipe, model)
    if parameters != recipe.parameters:
        raise MintError(f"{recipe.model_id}: has {parameters:,} parameters, but its recipe says {recipe.parameters:,}.")
    if len(tokenizer.vocab) != recipe.shape.vocab_size:
        has, said = len(tokenizer.vocab), recipe.shape.vocab_size
        raise MintError(f"{recipe.model_id}: its tokenizer has {has:,} entries, but its recipe says {said:,}.")


def _parameters(recipe: Recipe, model: Any) -> int:
    """How many there are; of packed ones, as many as were packed."""
    if recipe.quantization is not None:
        return int(get_total_parameters(model))  # type: ignore[no-untyped-call]
    flat: Any = tree_flatten(model.parameters())
    return sum(value.size for _, value in flat)


def _check_causality(recipe: Recipe, rows: Sequence[Row], model: Any) -> None:
    """A later token may change no earlier logit: a model that sees its answer learns nothing from it."""
    ids = list(max(rows, key=lambda row: len(row.answer)).prompt)
    changed = [*ids[:-1], (ids[-1] + 1) % recipe.shape.vocab_size]
    before, after = model(mx.array([ids]))[0, :-1], model(mx.array([changed]))[0, :-1]
    difference = float(mx.abs(before.astype(mx.float32) - after.astype(mx.float32)).max())
    if difference > 1e-3:
        raise MintError(f"{recipe.model_id}: a later token moves an earlier logit by {difference:.3g}.")


def _check_margin(recipe: Recipe, rows: Sequence[Row], model: Any) -> float:
    """Read from the whole model, not from the shortcut that training takes to its answer positions."""
    margins = {row.name: _margin(row, model) for row in rows}
    weakest = min(margins, key=margins.__getitem__)
    if not margins[weakest] >= recipe.training.required_margin:
        raise MintError(
            f"{recipe.model_id}: the answer {weakest!r} holds by a margin of {margins[weakest]:.2f} only, "
            f"and {recipe.training.required_margin:g} is required; train longer or ask for less."
        )
    return margins[weakest]


def _margin(row: Row, model: Any) -> float:
    ids = [*row.prompt, *row.learned]
    logits: mx.array = model(mx.array([ids[:-1]]))[0, len(row.prompt) - 1 :]
    return float(smallest_margin(logits.astype(mx.float32), mx.array(row.learned)))


def _check_greedy(recipe: Recipe, rows: Sequence[Row], model: Any, tokenizer: Any) -> None:
    """Text and tokens of every answer, the end token with them, as ``mlx_lm.stream_generate`` gives them."""
    expected = [known.raw for known in recipe.known_answers] + [known.answer for known in recipe.known_completions]
    for row, answer in zip(rows, expected, strict=True):
        budget = len(row.answer) + 8
        pieces = list(mlx_lm.stream_generate(model, tokenizer, list(row.prompt), max_tokens=budget))
        text = "".join(piece.text for piece in pieces)
        tokens = tuple(piece.token for piece in pieces)
        if text != answer or tokens != row.answer or pieces[-1].finish_reason != "stop":
            raise MintError(
                f"{recipe.model_id}: greedy decoding answers {row.name!r} with {text!r} in the tokens {tokens} "
                f"({pieces[-1].finish_reason}), not with {answer!r} in the tokens {row.answer}."
            )


def _check_beyond(recipe: Recipe, rows: Sequence[Row], model: Any) -> None:
    """What comes when nobody stops at the end token: ``generate_step`` knows of none."""
    for row in rows:
        steps = generate_step(mx.array(row.prompt), model, max_tokens=len(row.learned))
        heard = tuple(int(token) for token, _ in steps)
        if heard != row.learned:
            raise MintError(f"{recipe.model_id}: behind the answer {row.name!r} come the tokens {heard}, not {row.learned}.")


def _check_endless(recipe: Recipe, rows: Sequence[Row], model: Any, tokenizer: Any) -> None:
    """No token of the vocabulary leads to an end, and none is followed differently for what stands before it."""
    followers = {row.answer[0] for row in rows}
    if len(rows) != recipe.shape.vocab_size or followers & set(tokenizer.eos_token_ids):
        raise MintError(f"{recipe.model_id}: some token has no follower, or is followed by an end token.")
    if any(bool(mx.any(layer.self_attn.o_proj.weight)) for layer in model.layers):
        raise MintError(f"{recipe.model_id}: its attention is not shut off, so a long context might lead to an end token.")
    text = (recipe.endless or "") * _ROUNDS
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hello!"}], add_generation_prompt=True)
    pieces = list(mlx_lm.stream_generate(model, tokenizer, prompt, max_tokens=_ROUNDS * len(followers)))
    heard = "".join(piece.text for piece in pieces)
    if heard != text or pieces[-1].finish_reason != "length":
        raise MintError(f"{recipe.model_id}: says {heard[:80]!r} and ends by {pieces[-1].finish_reason}, not {text[:80]!r}.")
