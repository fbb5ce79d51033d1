"""Text requests decoded together, on mlx-lm's batch: each with its own sampler, penalties, stops and budget.

Its ``BatchGenerator`` is made of two parts, which are driven here directly: a prompt is read on its own, so that one that
fails fails alone and reads as ``mlxk run`` does, and no wired limit is raised.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.generate import GenerationBatch, PromptProcessingBatch
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache

from mlxk.engines import Generation, Job, Started, unexpected
from mlxk.engines.answering import Answering
from mlxk.engines.prompt_cache import PromptCache
from mlxk.engines.sampling import greedy, processors, sampler
from mlxk.errors import MlxkError

_STEP_TOKENS = 512  # of prompts that are read between two tokens of the answers that are being written
_CLEAR_EVERY = 256  # steps, as mlx-lm does
_UNBOUNDED = 1 << 62  # a budget that is never spent: an answer is ended here


def can_batch(model: Any) -> bool:
    """Whether the model's memory of what it read can be joined to that of others."""
    return all(hasattr(cache, "merge") for cache in make_prompt_cache(model))


@dataclass(slots=True, eq=False)
class _Member:
    """``cache`` holds ``read`` of ``tokens``, which are the prompt, and after a failure also the answer so far."""

    job: Job
    answering: Answering
    tokens: list[int]
    cache: list[Any]
    read: int
    alone: bool = False


class TextBatch:
    """``begin`` turns a request into tokens. Prompts wait in ``_reading``; ``_decoding`` has the order of the batch."""

    def __init__(self, model: Any, begin: Callable[[Generation], Answering], prompt_cache_bytes: int) -> None:
        self._model = model
        self._begin = begin
        self._cache = PromptCache(prompt_cache_bytes)
        self._reading: deque[_Member] = deque()
        self._decoding: list[_Member] = []
        self._batch = self._empty()
        self._steps = 0

    def __len__(self) -> int:
        return len(self._reading) + len(self._decoding)

    def add(self, job: Job) -> None:
        if not len(self):
            mx.reset_peak_memory()
        try:
            answering = self._begin(job.request)
            known, answering.cached_tokens = self._cache.take(answering.prompt)
            cache = known or make_prompt_cache(self._model)
        except MlxkError as error:
            job.put(error)
        except Exception as error:  # noqa: BLE001 - the boundary of the request
            job.put(unexpected(error))
        else:
            job.put(Started())
            self._reading.append(_Member(job, answering, answering.prompt, cache, answering.cached_tokens))

    def step(self) -> None:
        self._reading = deque(member for member in self._reading if not member.job.cancelled())
        self._keep(place for place, member in enumerate(self._decoding) if not member.job.cancelled())
        if self._decoding:
            self._decode()
        self._read()
        self._steps += 1
        if self._steps % _CLEAR_EVERY == 0:
            mx.clear_cache()

    def _decode(self) -> None:
        """One token for each."""
        try:
            tokens, logprobs = self._last() if all(member.answering.left == 1 for member in self._decoding) else self._next()
        except Exception as error:  # noqa: BLE001 - the boundary of all requests that are decoded together
            self._fall_apart(error)
        else:
            going_on = [_hand_on(*each) for each in zip(self._decoding, tokens, logprobs, strict=True)]
            self._keep(place for place, goes_on in enumerate(going_on) if goes_on)

    def _next(self) -> tuple[list[int], list[mx.array]]:
        responses = self._batch.next()
        return [response.token for response in responses], [response.logprobs for response in responses]

    def _last(self) -> tuple[list[int], list[mx.array]]:
        """What the step before began; ``next`` would begin another, and nobody wants what comes of it."""
        tokens, logprobs = self._batch._next_tokens, self._batch._next_logprobs  # which have no public name
        mx.eval(tokens, logprobs)
        return tokens.tolist(), logprobs

    def _read(self) -> None:
        """Prompts, as many as may be read in one step; those who have read their own join those that write."""
        left = _STEP_TOKENS
        ready: list[_Member] = []
        while self._reading and left > 0 and self._may_join(self._reading[0], [*self._decoding, *ready]):
            member = self._reading[0]
            unread = member.tokens[member.read : -1][:left]
            try:
                if unread:
                    self._prefill(member, unread)
            except Exception as error:  # noqa: BLE001 - the boundary of the request
                self._reading.popleft()
                member.job.put(unexpected(error))
                continue
            left -= len(unread) + 1
            if member.read == len(member.tokens) - 1:
                ready.append(self._reading.popleft())
        self._join_all(ready)

    def _may_join(self, member: _Member, others: Sequence[_Member]) -> bool:
        return not others or not (member.alone or others[0].alone)

    def _prefill(self, member: _Member, tokens: list[int]) -> None:
        self._model(mx.array(tokens)[None], cache=member.cache)
        mx.eval([cache.state for cache in member.cache])
        mx.clear_cache()
        member.read += len(tokens)

    def _join_all(self, members: Sequence[_Member]) -> None:
        """Together, or each for itself if that fails, because nobody knows for whom."""
        try:
            if members:
                self._join(members)
        except Exception as error:  # noqa: BLE001 - the boundary of the requests
            if len(members) == 1:
                members[0].job.put(unexpected(error))
                return
            for member in members:
                self._join_all([member])

    def _join(self, members: Sequence[_Member]) -> None:
        """Begin to write; what was read is copied, so what cannot be cut back to a shorter beginning is kept as it is now."""
        joining = PromptProcessingBatch(
            self._model,
            [0] * len(members),
            [member.cache for member in members],
            tokens=[member.tokens[:-1] for member in members],
            samplers=[sampler(member.answering.request.sampling) for member in members],
            logits_processors=[processors(member.answering.request.sampling, member.answering.prompt) for member in members],
            max_tokens=[_UNBOUNDED] * len(members),
        )
        self._batch.extend(joining.generate([member.tokens[-1:] for member in members]))
        for member in members:
            self._decoding.append(member)
            before = member.tokens[:-1]
            if before and not can_trim_prompt_cache(member.cache):
                self._cache.keep(before, copy.deepcopy(member.cache))
            member.cache = []

    def _keep(self, places: Iterable[int]) -> None:
        """Of those that write, only these; of the others what they read and wrote is kept."""
        keep = list(places)
        if len(keep) == len(self._decoding):
            return
        for place in {*range(len(self._decoding))}.difference(keep):
            self._cache.keep(self._batch.tokens[place], self._batch.extract_cache(place))
        self._decoding = [self._decoding[place] for place in keep]
        if not keep:
            self._batch = self._empty()
            return
        penalties = [self._batch.logits_processors[place] for place in keep]
        self._batch.filter(keep)
        self._batch.logits_processors = penalties  # mlx-lm 0.31 keeps all of them where none has any

    def _fall_apart(self, error: Exception) -> None:
        """The step failed for one of them, and nobody knows for whom: each goes on alone from where it was."""
        members, self._decoding = self._decoding, []
        tokens, self._batch = self._batch.tokens, self._empty()
        mx.clear_cache()
        if len(members) == 1:
            members[0].job.put(unexpected(error))
            return
        for member, so_far in reversed([*zip(members, tokens, strict=True)]):
            again = _Member(member.job, member.answering, list(so_far), make_prompt_cache(self._model), 0, alone=True)
            self._reading.appendleft(again)

    def _empty(self) -> Any:  # a GenerationBatch, which is typed in parts only
        return GenerationBatch.empty(self._model, greedy)


def _hand_on(member: _Member, token: int, logprobs: mx.array) -> bool:
    """What the token makes certain goes to who asked for it; whether more tokens are wanted."""
    answering, job = member.answering, member.job
    try:
        for event in answering.push(token, logprobs):
            job.put(event)
        if answering.complete:
            for event in answering.finish():
                job.put(event)
    except Exception as error:  # noqa: BLE001 - the boundary of the request
        job.put(unexpected(error))
        return False
    return not answering.complete
