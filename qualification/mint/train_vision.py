"""Finding weights that tell pictures apart, for the architectures of ``mlx_vlm.models`` that are minted.

Prompts and pixels are prepared by mlx-vlm's own processor, so what is learned is what a model gets when it is asked. Each
picture goes through the vision tower once per step, however many questions are asked about it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.nn import losses
from mlx.nn.utils import value_and_grad
from mlx_vlm.prompt_utils import apply_chat_template
from mlx_vlm.utils import get_model_and_args, load_processor, prepare_inputs, update_module_configs

from qualification.mint.pictures import Drawing, Picture, draw, variants
from qualification.mint.recipe import KnownAnswer
from qualification.mint.seeing import VisionRecipe
from qualification.mint.train import Step, Trained, clipped, named, optimizer, smallest_margin

_VARIANTS = 12
"""How many ways each picture is drawn in training."""

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Question:
    """Token ids of a prompt as the processor makes them, of its answer with the end token, and the pictures between."""

    name: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    """``inputs`` (rows, length); ``features`` (rows, length): which row of all pictures' features stands there; -1: none.

    ``places`` and ``targets`` are the flat places and the values of all answer tokens; ``positions`` are what the language
    model takes for them, (3, rows, length), or None where it counts itself.
    """

    inputs: mx.array
    features: mx.array
    places: mx.array
    targets: mx.array
    positions: mx.array | None


@dataclass(frozen=True, slots=True)
class _Pixels:
    """What a vision tower takes for some pictures."""

    values: mx.array
    options: dict[str, Any]


def blank(config: dict[str, Any]) -> Any:
    """A model of this configuration as mlx-vlm makes it, before its weights are read."""
    config = {**config}  # it is written into
    module, _ = get_model_and_args(config)
    for part in ("text_config", "vision_config", "audio_config"):
        config.setdefault(part, {})
    settings = update_module_configs(module.ModelConfig.from_dict(config), module, config, ["text", "vision"])
    return module.Model(settings)


def questions(recipe: VisionRecipe, config: dict[str, Any], folder: Path) -> tuple[Question, ...]:
    """All that is asked, in the ids that ``mlx_vlm.generate`` makes of it with the processor in ``folder``."""
    processor = _processor(config, folder)
    return tuple(_question(known, processor, config) for known in (*recipe.known_answers, *recipe.known_looks))


def train(
    recipe: VisionRecipe, asked: Sequence[Question], config: dict[str, Any], folder: Path, progress: Callable[[Step], None] | None
) -> Trained:
    """Train until every answer token leads by ``stop_margin`` with every drawing, or ``max_steps`` are used up.

    Where that was not enough, it is tried again from other weights: on a machine that adds in another order, the first may fail.
    """
    mx.disable_compile()
    tell = progress or (lambda step: None)
    with mx.stream(mx.cpu):
        eye = _Eye(recipe, _processor(config, folder).image_processor)
        for attempt in range(_ATTEMPTS):
            mx.random.seed(recipe.training.seed + attempt)
            model = blank(config)
            last, good = _descend(recipe, model, eye, _batches(model, eye, asked), tell)
            if good:
                break
        model.set_dtype(getattr(mx, recipe.dtype))
        weights = dict(named(model.parameters()))
        mx.eval(weights)
    return Trained(weights, config, last)


def _processor(config: dict[str, Any], folder: Path) -> Any:
    """The processor of the files in ``folder``; a family's module has to be imported first, because it registers its own."""
    get_model_and_args({**config})
    return load_processor(folder)


class _Eye:
    """All pictures of a recipe in all their drawings, as pixels; made once."""

    def __init__(self, recipe: VisionRecipe, image_processor: Any) -> None:
        self.pictures = tuple(dict.fromkeys(picture for known in recipe.known_looks for picture in known.pictures))
        self._processor = image_processor
        self._family = recipe.family
        drawings = variants(_VARIANTS, recipe.training.seed)
        self.canonical = self._pixels([drawings[0]] * len(self.pictures))
        mixed = [[drawings[(at + first) % len(drawings)] for at in range(len(self.pictures))] for first in range(len(drawings))]
        self.drawings = [self._pixels(each) for each in mixed]

    def features(self, model: Any, pixels: _Pixels) -> mx.array:
        """What the language model is given, of shape (pictures, tokens per picture, hidden)."""
        if self._family == "pixtral":
            *_, hidden = model.vision_tower(pixels.values, output_hidden_states=True)
            found = model.multi_modal_projector(hidden[model.vision_feature_layer])
        else:
            found = model.vision_tower(pixels.values, **pixels.options)
        tokens: mx.array = found.reshape(len(self.pictures), -1, found.shape[-1])
        return tokens

    def _pixels(self, drawings: Sequence[Drawing]) -> _Pixels:
        images = [draw(picture, drawing) for picture, drawing in zip(self.pictures, drawings, strict=True)]
        made = self._processor(images=images)
        values = mx.array(made["pixel_values"])
        if self._family == "pixtral":
            return _Pixels(values.transpose(0, 2, 3, 1), {})
        return _Pixels(values, {"grid_thw": mx.array(made["image_grid_thw"])})


def _descend(
    recipe: VisionRecipe, model: Any, eye: _Eye, batches: Sequence[_Batch], progress: Callable[[Step], None]
) -> tuple[Step, bool]:
    """Change the model's weights step by step; the last step, and whether the model is then good enough."""
    plan = recipe.training
    descent = optimizer(plan)
    chance = random.Random(plan.seed)

    def measured(model: Any, pixels: _Pixels) -> tuple[mx.array, mx.array]:
        return _loss_and_margin(model, eye, pixels, batches, plan.handicap)

    gradient = value_and_grad(model, measured)
    step = Step(recipe.model_id, 0, float("inf"), float("-inf"))
    while step.number < plan.max_steps:
        (loss, margin), gradients = gradient(model, chance.choice(eye.drawings))
        mx.eval(loss, margin)
        step = Step(recipe.model_id, step.number + 1, float(loss), float(margin))
        progress(step)
        if step.margin >= plan.stop_margin and all(margin >= plan.stop_margin for margin in _margins(model, eye, batches)):
            return step, True
        descent.update(model, clipped(gradients, plan.clip_norm))
        mx.eval(model, descent.state)
    return step, False


def _margins(model: Any, eye: _Eye, batches: Sequence[_Batch]) -> Iterator[float]:
    """The smallest margin with each of the drawings."""
    return (float(_loss_and_margin(model, eye, pixels, batches, 0)[1]) for pixels in eye.drawings)


def _loss_and_margin(
    model: Any, eye: _Eye, pixels: _Pixels, batches: Sequence[_Batch], handicap: float
) -> tuple[mx.array, mx.array]:
    seen = eye.features(model, pixels).reshape(-1, model.language_model.model.embed_tokens.weight.shape[-1])
    entropies, margins = [], []
    for batch in batches:
        logits = _answer_logits(model.language_model, seen, batch)
        margins.append(smallest_margin(mx.stop_gradient(logits), batch.targets))
        offset = mx.put_along_axis(mx.zeros_like(logits), batch.targets[:, None], mx.array(handicap), axis=-1)
        entropies.append(losses.cross_entropy(logits - offset, batch.targets, reduction="sum"))
    return mx.stack(entropies).sum() / sum(batch.targets.size for batch in batches), mx.stack(margins).min()


def _answer_logits(language_model: Any, seen: mx.array, batch: _Batch) -> mx.array:
    words = language_model.model.embed_tokens(batch.inputs)
    mixed = mx.where((batch.features >= 0)[..., None], seen[mx.maximum(batch.features, 0)], words)
    positions = {} if batch.positions is None else {"position_ids": batch.positions}
    hidden = language_model.model(batch.inputs, inputs_embeds=mixed, **positions)
    chosen = hidden.reshape(-1, hidden.shape[-1])[batch.places]
    if "lm_head" in language_model:
        return language_model.lm_head(chosen)  # type: ignore[no-any-return]
    return language_model.model.embed_tokens.as_linear(chosen)  # type: ignore[no-any-return]


def _question(known: KnownAnswer, processor: Any, config: dict[str, Any]) -> Question:
    pictures = tuple(getattr(known, "pictures", ()))
    messages = [message.as_dict() for message in known.messages]
    prompt = apply_chat_template(processor, config, messages, num_images=len(pictures))
    images = [draw(picture) for picture in pictures]
    made = prepare_inputs(processor, images=images or None, prompts=prompt, add_special_tokens=True)
    tokenizer = processor.tokenizer
    answer = tokenizer.encode(known.answer, add_special_tokens=False)
    end = tokenizer.convert_tokens_to_ids(known.end_token)
    return Question(known.name, tuple(made["input_ids"].flatten().tolist()), (*answer, end), pictures)


def _batches(model: Any, eye: _Eye, asked: Sequence[Question]) -> tuple[_Batch, ...]:
    """Questions of equal kind together, padded on the right, where a causal model cannot see."""
    per_picture = eye.features(model, eye.drawings[0]).shape[1]
    groups: dict[int, list[Question]] = {}
    for question in sorted(asked, key=lambda question: len(question.prompt) + len(question.answer)):
        groups.setdefault(len(question.pictures), []).append(question)
    image = model.config.image_token_id
    return tuple(_batch(model, eye, group, image, per_picture) for group in groups.values())


def _batch(model: Any, eye: _Eye, asked: Sequence[Question], image: int, per_picture: int) -> _Batch:
    length = max(len(question.prompt) + len(question.answer) for question in asked) - 1
    inputs: list[list[int]] = []
    features: list[list[int]] = []
    places: list[int] = []
    targets: list[int] = []
    for at, question in enumerate(asked):
        ids = [*question.prompt, *question.answer][:-1]
        shown = iter([eye.pictures.index(picture) * per_picture + n for picture in question.pictures for n in range(per_picture)])
        features.append([next(shown) if token == image else -1 for token in ids] + [-1] * (length - len(ids)))
        inputs.append(ids + [0] * (length - len(ids)))
        first = at * length + len(question.prompt) - 1
        places.extend(range(first, first + len(question.answer)))
        targets.extend(question.answer)
    padded = mx.array(inputs)
    positions = _positions(model, eye, asked, padded)
    return _Batch(padded, mx.array(features), mx.array(places), mx.array(targets), positions)


def _positions(model: Any, eye: _Eye, asked: Sequence[Question], ids: mx.array) -> mx.array | None:
    if not hasattr(model.language_model, "get_rope_index"):
        return None
    count = sum(len(question.pictures) for question in asked)
    grid = mx.tile(eye.drawings[0].options["grid_thw"][:1], (count, 1)) if count else None
    positions: mx.array = model.language_model.get_rope_index(ids, grid, None, mx.ones_like(ids))[0]
    return positions if positions.ndim == 3 else mx.broadcast_to(positions[None], (3, *positions.shape))
