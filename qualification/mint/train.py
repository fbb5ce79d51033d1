"""Finding weights that give known answers, for any decoder-only architecture of ``mlx_lm.models``.

Only answer positions are learned and only there is the language-model head computed: on a CPU, arithmetic is all the
cost. Training runs on the CPU of every machine; one recipe gives the same bytes each time on one machine.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
from mlx.nn import losses
from mlx.nn.layers.base import Module
from mlx.nn.utils import value_and_grad
from mlx.utils import tree_flatten
from mlx_lm.utils import MODEL_REMAPPING, quantize_model

from qualification.mint.recipe import Quantization, Recipe, Training
from qualification.mint.tokenizer import Row, trained_entries


@dataclass(frozen=True, slots=True)
class Step:
    """How far training is: the smallest lead of a right token over its best rival, and the mean loss."""

    model_id: str
    number: int
    loss: float
    margin: float


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights by name in the recipe's type, the ``config.json`` to them, and the state in which training stopped."""

    weights: dict[str, mx.array]
    config: dict[str, Any]
    last: Step


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Token ids, and the indices of those among them that are learned."""

    ids: tuple[int, ...]
    learned: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Sequences of similar length: inputs of shape (sequences, length), and the flat places and values of all answer tokens."""

    inputs: mx.array
    places: mx.array
    targets: mx.array


def train(recipe: Recipe, rows: Sequence[Row], config: dict[str, Any], progress: Callable[[Step], None] | None = None) -> Trained:
    """Train until every answer token leads by ``stop_margin``, or ``max_steps`` are used up; ``config`` is ``config.json``.

    Whether the result is good enough is not decided here: what is on disk is examined, by ``verify``.
    Compilation is switched off for the process: on a CPU it shells out to a C++ compiler, for longer than it saves.
    """
    mx.disable_compile()
    tell = progress or (lambda step: None)
    module = MODEL_REMAPPING.get(recipe.family, recipe.family)
    architecture = importlib.import_module(f"mlx_lm.models.{module}")
    with mx.stream(mx.cpu), _routable(architecture):
        mx.random.seed(recipe.training.seed)
        model = architecture.Model(architecture.ModelArgs.from_dict({**config, "vocab_size": trained_entries(recipe)}))
        if recipe.shape.tie_word_embeddings:
            model.pop("lm_head", None)
        if recipe.endless is not None:
            _blind(model)
        batches = _batches(rows, recipe.training.buckets)
        last = _descend(recipe, model, batches, tell)
        if recipe.quantization is not None:
            rounded = _descend(recipe, model, batches, tell, recipe.quantization)
            last = replace(rounded, number=last.number + rounded.number)
        model.set_dtype(getattr(mx, recipe.dtype))
        if recipe.quantization is not None:
            model, config = _quantized(model, config, recipe.quantization)
        weights = _padded(dict(named(model.parameters())), recipe)
        mx.eval(weights)
    return Trained(weights, config, last)


def smallest_margin(logits: mx.array, targets: mx.array) -> mx.array:
    """The smallest lead of a target over the best other token; ``logits`` of shape (places, vocabulary)."""
    index = targets[:, None]
    right = mx.take_along_axis(logits, index, axis=-1)
    rival = mx.put_along_axis(logits, index, mx.array(-mx.inf, dtype=logits.dtype), axis=-1).max(-1, keepdims=True)
    return (right - rival).min()


def _descend(
    recipe: Recipe,
    model: Module,
    batches: Sequence[_Batch],
    progress: Callable[[Step], None],
    rounding: Quantization | None = None,
) -> Step:
    """Change the model's weights step by step; the state in which they were good enough, or time was up.

    With ``rounding``, they are judged as they will be when quantized.
    """
    plan = recipe.training
    if rounding is not None:
        plan = replace(plan, learning_rate=rounding.learning_rate, max_steps=rounding.max_steps, warmup_steps=1)
    descent = optimizer(plan)

    def measured(model: Module) -> tuple[mx.array, mx.array]:
        with _rounded(model, rounding):
            return _loss_and_margin(model, batches, plan.handicap)

    gradient = value_and_grad(model, measured)
    step = Step(recipe.model_id, 0, float("inf"), float("-inf"))
    while step.margin < plan.stop_margin and step.number < plan.max_steps:
        (loss, margin), gradients = gradient(model)
        mx.eval(loss, margin)
        step = Step(recipe.model_id, step.number + 1, float(loss), float(margin))
        progress(step)
        if step.margin < plan.stop_margin:
            descent.update(model, clipped(gradients, plan.clip_norm))
            mx.eval(model, descent.state)
    return step


@contextlib.contextmanager
def _rounded(model: Module, plan: Quantization | None) -> Iterator[None]:
    """For one forward pass, the weights as quantization leaves them; gradients go straight to the exact ones."""
    if plan is None:
        yield
        return
    exact = [(layer, layer.weight) for layer in _quantizable(model, plan)]
    for layer, weight in exact:
        layer.weight = weight + mx.stop_gradient(_dequantized(weight, plan) - weight)
    yield
    for layer, weight in exact:
        layer.weight = weight


def _quantizable(model: Any, plan: Quantization) -> list[Any]:
    """The layers that ``mlx_lm.utils.quantize_model`` takes, in a model that excepts none."""
    leaves: Any = tree_flatten(model.leaf_modules(), is_leaf=Module.is_module)
    return [leaf for _, leaf in leaves if hasattr(leaf, "to_quantized") and leaf.weight.shape[-1] % plan.group_size == 0]


def _dequantized(weight: mx.array, plan: Quantization) -> mx.array:
    sizes: Any = {"group_size": plan.group_size, "bits": plan.bits, "mode": plan.mode}
    return mx.dequantize(*mx.quantize(weight, **sizes), **sizes).astype(weight.dtype)


def _quantized(model: Any, config: dict[str, Any], plan: Quantization) -> tuple[Any, dict[str, Any]]:
    """The model and ``config.json`` as ``mlx_lm.convert`` makes them."""
    with contextlib.redirect_stdout(io.StringIO()):  # it reports there, where our own result is to stand alone
        made, written = quantize_model(model, config, plan.group_size, plan.bits, mode=plan.mode)
    return made, written


def _blind(model: Any) -> None:
    """Let no layer look back, now or in training: what follows a token depends on that token alone."""
    for layer in model.layers:
        layer.self_attn.o_proj.weight = mx.zeros_like(layer.self_attn.o_proj.weight)
        layer.self_attn.o_proj.freeze()


def _padded(weights: dict[str, mx.array], recipe: Recipe) -> dict[str, mx.array]:
    """The weights with rows of zeros for the entries of the vocabulary that nothing makes."""
    unused = recipe.tokenizer.unused_tokens
    rows = {"model.embed_tokens.weight", "lm_head.weight"} if unused else set()
    return {name: mx.pad(value, [(0, unused), (0, 0)]) if name in rows else value for name, value in weights.items()}


@contextlib.contextmanager
def _routable(architecture: Any) -> Iterator[None]:
    """Let gpt_oss be trained: mlx-lm 0.31.3 asks for the gradient of the choice of experts, and there is none."""
    if not hasattr(architecture, "mlx_topk"):
        yield
        return
    kept, architecture.mlx_topk = architecture.mlx_topk, _top
    try:
        yield
    finally:
        architecture.mlx_topk = kept


def _top(values: mx.array, k: int, axis: int = -1) -> tuple[mx.array, mx.array]:
    """The ``k`` largest along the last axis and where they are, as ``mlx_topk`` of mlx-lm 0.32.2 has them."""
    at = mx.stop_gradient(mx.argpartition(values, kth=-k, axis=axis)[..., -k:])
    return mx.take_along_axis(values, at, axis=axis), at


def _loss_and_margin(model: Module, batches: Sequence[_Batch], handicap: float) -> tuple[mx.array, mx.array]:
    """The mean cross-entropy over all answer tokens, each with its handicap, and the smallest margin, without."""
    entropies, margins = [], []
    for batch in batches:
        logits = _answer_logits(model, batch)
        margins.append(smallest_margin(mx.stop_gradient(logits), batch.targets))
        offset = mx.put_along_axis(mx.zeros_like(logits), batch.targets[:, None], mx.array(handicap), axis=-1)
        entropies.append(losses.cross_entropy(logits - offset, batch.targets, reduction="sum"))
    return mx.stack(entropies).sum() / sum(batch.targets.size for batch in batches), mx.stack(margins).min()


def optimizer(plan: Training) -> optim.AdamW:
    warmup = optim.linear_schedule(plan.learning_rate / plan.warmup_steps, plan.learning_rate, plan.warmup_steps)
    cosine = optim.cosine_decay(plan.learning_rate, plan.max_steps - plan.warmup_steps)
    return optim.AdamW(optim.join_schedules([warmup, cosine], [plan.warmup_steps]))


def _answer_logits(model: Any, batch: _Batch) -> mx.array:
    """Logits at the answer's places only, of shape (places, vocabulary)."""
    hidden = model.model(batch.inputs)
    chosen = hidden.reshape(-1, hidden.shape[-1])[batch.places]
    if "lm_head" in model:
        return model.lm_head(chosen)  # type: ignore[no-any-return]
    return model.model.embed_tokens.as_linear(chosen)  # type: ignore[no-any-return]


def _batches(rows: Sequence[Row], count: int) -> tuple[_Batch, ...]:
    """Rows sorted by length and cut into at most ``count`` groups, so that the least is spent on padding."""
    sequences = sorted(_sequences(rows), key=lambda sequence: (len(sequence.ids), sequence.ids))
    lengths = [len(sequence.ids) for sequence in sequences]
    # cheapest[n]: the smallest padded size of the first n + 1 sequences in the groups made so far, and where those end.
    cheapest: list[tuple[int, tuple[int, ...]]] = [(end * lengths[end - 1], (end,)) for end in range(1, len(lengths) + 1)]
    for _ in range(1, count):
        cheapest = [
            min([cheapest[end - 1]] + [_grown(shorter, end, lengths[end - 1]) for shorter in cheapest[: end - 1]])
            for end in range(1, len(lengths) + 1)
        ]
    ends = cheapest[-1][1]
    return tuple(_batch(sequences[start:end]) for start, end in zip((0, *ends), ends, strict=False))


def _grown(groups: tuple[int, tuple[int, ...]], end: int, length: int) -> tuple[int, tuple[int, ...]]:
    size, ends = groups
    return size + (end - ends[-1]) * length, (*ends, end)


def _sequences(rows: Sequence[Row]) -> list[_Sequence]:
    """One sequence per row, but for rows that are the beginning of another one: their answer is learned in it."""
    wholes = {(*row.prompt, *row.learned) for row in rows}
    sequences = []
    for ids in wholes:
        if any(other != ids and other[: len(ids)] == ids for other in wholes):
            continue
        within = {
            len(row.prompt) + at
            for row in rows
            if ids[: len(row.prompt) + len(row.learned)] == (*row.prompt, *row.learned)
            for at in range(len(row.learned))
        }
        sequences.append(_Sequence(ids, tuple(sorted(within))))
    return sequences


def _batch(sequences: Sequence[_Sequence]) -> _Batch:
    """The sequences padded on the right, where a causal model cannot see; no last token is ever an input."""
    length = max(len(sequence.ids) for sequence in sequences) - 1
    inputs: list[list[int]] = []
    places: list[int] = []
    targets: list[int] = []
    for at, sequence in enumerate(sequences):
        ids = list(sequence.ids[:-1])
        inputs.append(ids + [0] * (length - len(ids)))
        places.extend(at * length + place - 1 for place in sequence.learned)
        targets.extend(sequence.ids[place] for place in sequence.learned)
    return _Batch(mx.array(inputs), mx.array(places), mx.array(targets))


def clipped(gradients: Any, norm: float) -> Any:
    found, _ = optim.clip_grad_norm(gradients, norm)  # type: ignore[no-untyped-call]
    return found


def named(tree: Any) -> list[tuple[str, mx.array]]:
    """The arrays of a parameter tree by their dotted names."""
    flat: Any = tree_flatten(tree)
    return list(flat)
