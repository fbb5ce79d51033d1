"""Text models, on mlx-lm."""

from __future__ import annotations

import contextlib
import gc
import random
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any, cast

from mlxk import settings
from mlxk.answer import Answer
from mlxk.chat import TURN_STARTS, Message, end_tokens, ends_in_a_row, render
from mlxk.detokenize import IncrementalDecoder
from mlxk.engines import Event, Finished, Generation, Reasoning, Sampling, Started, Text, Timings, Usage
from mlxk.errors import ContextLengthExceeded, GenerationFailed, LoadFailed
from mlxk.library import Model
from mlxk.reasoning import Part, find_format, split

settings.prepare_ml_libraries()

import mlx.core as mx  # noqa: E402 - the libraries read the variables set above
from jinja2 import TemplateError  # noqa: E402
from mlx_lm.generate import generate_step  # noqa: E402
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, make_logits_processors  # noqa: E402
from mlx_lm.utils import load  # noqa: E402

_MAX_TOKENS = 32768  # where neither the request nor the model's context sets a bound
_PREFILL_STEP = 512  # tokens between two looks at whether the request was cancelled
_PENALTY_WINDOW = 20
_NO_FOREIGN_CODE = {"trust_remote_code": False}  # left open, transformers asks on stdin and takes a "y" from a pipe

_Sampler = Callable[[mx.array], mx.array]
_Processor = Callable[[mx.array, mx.array], mx.array]


class TextEngine:
    """One model of mlx-lm and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, ends: Collection[int], context_length: int | None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._context_length = context_length
        added = _added_tokens(tokenizer)
        self._end_tokens = end_tokens(ends, added)
        self._format = find_format(str(tokenizer.chat_template or ""), added.values())
        self.load_time_s = 0.0

    @classmethod
    def load(cls, model: Model) -> TextEngine:
        began = time.perf_counter()
        try:
            loaded, tokenizer, config = cast(Any, load(str(model.snapshot.path), _NO_FOREIGN_CODE, return_config=True))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise LoadFailed(f"{model.name} cannot be loaded: {error}") from error
        own = model.contents.document("config.json").get("eos_token_id")  # ``config`` has that of generation_config.json
        ends = {*_ids(own), *_ids(config.get("eos_token_id")), *tokenizer.eos_token_ids, *_ids(tokenizer.eos_token_id)}
        engine = cls(loaded, tokenizer, ends, model.description.context_length)
        engine.load_time_s = time.perf_counter() - began
        return engine

    def close(self) -> None:
        self._model = self._tokenizer = None
        gc.collect()
        mx.clear_cache()

    def stream(self, request: Generation, cancelled: Callable[[], bool]) -> Iterator[Event]:
        text = self._written(request.prompt)
        prompt = self._encode(text, templated=self._templated(request.prompt))
        budget = self._budget(len(prompt), request.max_tokens)
        yield Started()
        decoder = IncrementalDecoder(self._decode)
        stops = (*self._turn_starts(request.prompt), *request.stop)
        answer = Answer(split(self._format, text), self._end_tokens.values(), stops)
        ended_by: tuple[str, ...] = ()
        clock = _Clock(len(prompt), self.load_time_s)
        with contextlib.closing(self._tokens(prompt, budget, request.sampling, cancelled)) as tokens:
            for token in tokens:
                clock.tick()
                if token in self._end_tokens:
                    ended_by = ends_in_a_row(token, tokens if request.look_past_end else (), self._end_tokens)
                    break
                yield from map(_event, answer.push(decoder.push(token)))
                if answer.complete:
                    break
        if cancelled():
            return
        yield from map(_event, answer.push(decoder.finish()))
        yield from map(_event, answer.finish())
        stopped = bool(ended_by) or answer.complete
        yield Finished("stop" if stopped else "length", clock.usage(), clock.timings(), ended_by)

    def _templated(self, prompt: tuple[Message, ...] | str) -> bool:
        return not isinstance(prompt, str) and bool(self._tokenizer.has_chat_template)

    def _written(self, prompt: tuple[Message, ...] | str) -> str:
        """The prompt as the text that the model continues."""
        if isinstance(prompt, str):
            return prompt
        try:
            return render(prompt, self._tokenizer if self._templated(prompt) else None)
        except (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise GenerationFailed(f"The model's chat template does not take this conversation: {why}") from error

    def _encode(self, text: str, *, templated: bool) -> list[int]:
        """A chat template writes the token that begins a text itself; so may a prompt."""
        tokenizer = self._tokenizer
        begun = templated or (tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token))
        tokens: list[int] = tokenizer.encode(text, add_special_tokens=not begun)
        if not tokens:
            raise GenerationFailed("The prompt has no tokens; there is nothing to continue.")
        return tokens

    def _decode(self, tokens: Sequence[int]) -> str:
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return str(self._tokenizer.decode(tokens, **options))

    def _budget(self, prompt_tokens: int, wanted: int | None) -> int:
        wanted = _MAX_TOKENS if wanted is None else wanted
        if self._context_length is None:
            return wanted
        if prompt_tokens >= self._context_length:
            raise ContextLengthExceeded(
                f"The prompt has {prompt_tokens} tokens, and the model's context holds {self._context_length}. Shorten it.",
                prompt_tokens=prompt_tokens,
                context_length=self._context_length,
            )
        return min(wanted, self._context_length - prompt_tokens)

    def _turn_starts(self, prompt: tuple[Message, ...] | str) -> tuple[str, ...]:
        return () if isinstance(prompt, str) else TURN_STARTS

    def _tokens(
        self, prompt: list[int], budget: int, sampling: Sampling, cancelled: Callable[[], bool]
    ) -> Generator[int, None, None]:
        """The tokens as they are sampled; none any more once the request is cancelled, be it while the prompt is read."""

        def progress(done: int, total: int) -> None:
            if cancelled():
                raise _CancelledError

        mx.reset_peak_memory()
        steps = generate_step(
            mx.array(prompt),
            self._model,
            max_tokens=budget,
            sampler=_sampler(sampling),
            logits_processors=_processors(sampling, prompt),
            prefill_step_size=_PREFILL_STEP,
            prompt_progress_callback=progress,
        )
        try:
            with contextlib.closing(steps):
                for token, _ in steps:
                    if cancelled():
                        return
                    yield int(token)
        except _CancelledError:
            return
        except (RuntimeError, ValueError) as error:
            raise GenerationFailed(f"The model failed while generating: {error}") from error


def destroy_streams() -> None:
    """End MLX's use of this thread: streams that outlive their thread abort the process when it exits."""
    mx.clear_streams()


class _CancelledError(Exception):
    pass


def _event(part: Part) -> Event:
    return Reasoning(part.text) if part.kind == "reasoning" else Text(part.text)


class _Clock:
    """Counts tokens, and takes the time of the first and of the last."""

    def __init__(self, prompt_tokens: int, load_time_s: float) -> None:
        self._prompt_tokens = prompt_tokens
        self._load_time_s = load_time_s
        self._count = 0
        self._began = self._first = self._last = time.perf_counter()

    def tick(self) -> None:
        self._last = time.perf_counter()
        if self._count == 0:
            self._first = self._last
        self._count += 1

    def usage(self) -> Usage:
        return Usage(self._prompt_tokens, self._count)

    def timings(self) -> Timings:
        waited, decoding = self._first - self._began, self._last - self._first
        return Timings(
            load_time_s=self._load_time_s,
            time_to_first_token_s=waited,
            prompt_tps=self._prompt_tokens / waited,
            generation_tps=(self._count - 1) / decoding if decoding > 0 else None,
            peak_memory_gb=mx.get_peak_memory() / 1e9,
        )


def _sampler(sampling: Sampling) -> _Sampler:
    """Chooses with a random key of its own, so that requests do not disturb each other's choices."""
    if sampling.temperature == 0:
        return lambda logprobs: mx.argmax(logprobs, axis=-1)
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


def _processors(sampling: Sampling, prompt: list[int]) -> list[_Processor]:
    """The repetition penalty, over the last tokens of prompt and answer together.

    mlx-lm 0.31 shows a processor only the last token of the prompt, 0.32 all of it; here it is all of it with both.
    """
    if sampling.repetition_penalty == 1:
        return []
    (penalize,) = make_logits_processors(repetition_penalty=sampling.repetition_penalty, repetition_context_size=_PENALTY_WINDOW)
    unseen: mx.array | None = None

    def process(tokens: mx.array, logits: mx.array) -> mx.array:
        nonlocal unseen
        if unseen is None:
            unseen = mx.array(prompt[: len(prompt) - tokens.size], dtype=tokens.dtype)
        return penalize(mx.concatenate([unseen, tokens]), logits)

    return [process]


def _added_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens that are never a part of ordinary text, by id."""
    return {token: str(added) for token, added in tokenizer.added_tokens_decoder.items()}


def _ids(value: object) -> list[int]:
    """The ids in an ``eos_token_id``, which is null, a number or a list."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]
