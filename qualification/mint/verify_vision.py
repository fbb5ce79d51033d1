"""Whether a minted vision model is what its recipe promises, judged on the files and by mlx-vlm itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_vlm
from mlx.utils import tree_flatten
from mlx_vlm.prompt_utils import apply_chat_template

from qualification.errors import MintError
from qualification.mint.pictures import CANONICAL, Drawing, draw
from qualification.mint.recipe import KnownAnswer
from qualification.mint.seeing import KnownLook, VisionRecipe

_DRAWINGS = (CANONICAL, Drawing(side=200, jpeg_quality=90))
"""What is shown: a picture as it was learned, and a larger one that has been a JPEG."""


def verify(recipe: VisionRecipe, snapshot: Path) -> float:
    """The smallest margin of the model in ``snapshot``; raises ``MintError`` where it breaks a promise."""
    model, processor = mlx_vlm.load(str(snapshot))
    flat: Any = tree_flatten(model.parameters())
    parameters = sum(value.size for _, value in flat)
    if parameters != recipe.parameters:
        raise MintError(f"{recipe.model_id}: has {parameters:,} parameters, but its recipe says {recipe.parameters:,}.")
    margins = {known.name: _margin(recipe, known, CANONICAL, model, processor) for known in recipe.known_answers}
    for drawing in _DRAWINGS:
        for look in recipe.known_looks:
            margins[f"{look.name}, {drawing.side} pixels"] = _margin(recipe, look, drawing, model, processor)
    weakest = min(margins, key=margins.__getitem__)
    if not margins[weakest] >= recipe.training.required_margin:
        raise MintError(
            f"{recipe.model_id}: the answer {weakest!r} holds by a margin of {margins[weakest]:.2f} only, "
            f"and {recipe.training.required_margin:g} is required; train longer or ask for less."
        )
    return margins[weakest]


def _margin(recipe: VisionRecipe, known: KnownAnswer, drawing: Drawing, model: Any, processor: Any) -> float:
    """By how much the likeliest token led at least; raises ``MintError`` where text or end token are not the known ones."""
    pictures = known.pictures if isinstance(known, KnownLook) else ()
    messages = [message.as_dict() for message in known.messages]
    prompt = apply_chat_template(processor, model.config, messages, num_images=len(pictures))
    images: Any = [draw(picture, drawing) for picture in pictures]
    pieces = list(mlx_vlm.stream_generate(model, processor, prompt, image=images, max_tokens=64, temperature=0.0))
    text, last = "".join(piece.text for piece in pieces), pieces[-1]
    ended = processor.tokenizer.convert_ids_to_tokens(last.token)
    if (text, ended, last.finish_reason) != (known.answer, known.end_token, "stop"):
        raise MintError(
            f"{recipe.model_id}: greedy decoding answers {known.name!r} with {text!r}, ended by {ended} "
            f"({last.finish_reason}), not with {known.answer!r} and {known.end_token}."
        )
    return min(_lead(piece.logprobs) for piece in pieces)


def _lead(logprobs: mx.array) -> float:
    best = mx.sort(logprobs.astype(mx.float32).flatten())[-2:]
    return float(best[1] - best[0])
