"""How a request chooses its tokens: a sampler with a random key of its own, and its penalties."""

from __future__ import annotations

import random
from collections.abc import Callable

import mlx.core as mx
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, make_logits_processors

from mlxk.engines import Sampling

_PENALTY_WINDOW = 20

Sampler = Callable[[mx.array], mx.array]
Processor = Callable[[mx.array, mx.array], mx.array]


def greedy(logprobs: mx.array) -> mx.array:
    return mx.argmax(logprobs, axis=-1)


def sampler(sampling: Sampling) -> Sampler:
    """From log-probabilities of shape (1, vocabulary) to a token of shape (1,); requests do not disturb each other's choices."""
    if sampling.temperature == 0:
        return greedy
    seed = random.getrandbits(64) if sampling.seed is None else sampling.seed
    key = mx.random.key(seed % 2**64)

    def sample(logprobs: mx.array) -> mx.array:
        nonlocal key
        key, now = mx.random.split(key)
        logprobs = logprobs.astype(mx.float32)
        if 0 < sampling.top_p < 1:
            likeliest = logprobs == mx.max(logprobs, axis=-1, keepdims=True)  # which mlx-lm 0.31 drops for a very small top_p
            logprobs = mx.where(likeliest, logprobs, apply_top_p(logprobs, sampling.top_p))
        if sampling.min_p > 0:
            logprobs = apply_min_p(logprobs, sampling.min_p)
        if 0 < sampling.top_k < logprobs.shape[-1]:
            logprobs = apply_top_k(logprobs, sampling.top_k)
        return mx.random.categorical(logprobs * (1 / sampling.temperature), key=now)

    return sample


def processors(sampling: Sampling, prompt: list[int]) -> list[Processor]:
    """The penalties, on logits of shape (1, vocabulary); none if the request has none.

    mlx-lm 0.31 shows a processor only the last token of the prompt, 0.32 all of it; here it is all of it with both.
    """
    if sampling.repetition_penalty == 1 and not sampling.presence_penalty and not sampling.frequency_penalty:
        return []
    repetition = sampling.repetition_penalty if sampling.repetition_penalty != 1 else None
    penalize = make_logits_processors(repetition_penalty=repetition, repetition_context_size=_PENALTY_WINDOW)
    unseen: mx.array | None = None

    def process(tokens: mx.array, logits: mx.array) -> mx.array:
        nonlocal unseen
        if unseen is None:
            unseen = mx.array(prompt[: max(0, len(prompt) - tokens.size)], dtype=tokens.dtype)
        tokens = mx.concatenate([unseen, tokens])
        for each in penalize:
            logits = each(tokens, logits)
        return _subtract(sampling, tokens[len(prompt) :], logits)

    return [process]


def _subtract(sampling: Sampling, said: mx.array, logits: mx.array) -> mx.array:
    """OpenAI's penalties: ``logits[t] - presence * (count[t] > 0) - frequency * count[t]``, counted in the answer."""
    if not said.size:
        return logits
    if sampling.presence_penalty:
        logits[:, said] = logits[:, said] - sampling.presence_penalty
    if sampling.frequency_penalty:
        logits = logits.at[:, said].subtract(sampling.frequency_penalty)
    return logits
