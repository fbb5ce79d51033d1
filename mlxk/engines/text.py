"""Text models, on mlx-lm."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Generator, Iterator
from typing import Any, cast

from mlxk.answer import Answer
from mlxk.calls import CallFormat, CallSplitter
from mlxk.chat import TURN_STARTS, Message, end_tokens, render
from mlxk.engines import Batch, Event, Generation, Started, libraries
from mlxk.engines.faults import FAULTS, CancelledError
from mlxk.engines.turns import Turns
from mlxk.errors import ContextLengthExceeded, GenerationFailed, InvalidArgument, LoadFailed, PromptRefused
from mlxk.library import Model
from mlxk.reasoning import find_format, split

libraries.prepare()

import mlx.core as mx  # noqa: E402 - the libraries read the variables set above
from jinja2 import TemplateError  # noqa: E402
from mlx_lm.generate import generate_step  # noqa: E402
from mlx_lm.utils import load  # noqa: E402

from mlxk.engines.answering import Answering  # noqa: E402
from mlxk.engines.decoding import decoder_of, remember_no_words  # noqa: E402
from mlxk.engines.release import release  # noqa: E402
from mlxk.engines.sampling import processors, sampler  # noqa: E402

_MAX_TOKENS = 32768  # where neither the request nor the model's context sets a bound
_PREFILL_STEP = 512  # tokens between two looks at whether the request was cancelled
NO_FOREIGN_CODE = {"trust_remote_code": False}  # left open, transformers asks on stdin and takes a "y" from a pipe


class TextEngine:
    """One model of mlx-lm and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, ends: Collection[int], context_length: int | None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._context_length = context_length
        added = _added_tokens(tokenizer)
        self._end_tokens = end_tokens(ends, added)
        self._decode = decoder_of(tokenizer)
        remember_no_words(tokenizer)
        self._format = find_format(str(tokenizer.chat_template or ""), added.values())
        self._calls = _call_format(tokenizer)
        self.load_time_s = 0.0

    @classmethod
    def load(cls, model: Model) -> TextEngine:
        began = time.perf_counter()
        try:
            loaded, tokenizer, config = cast(Any, load(str(model.snapshot.path), NO_FOREIGN_CODE, return_config=True))
        except FAULTS as error:
            raise LoadFailed(f"{model.name} cannot be loaded: {error}") from error
        own = model.contents.document("config.json").get("eos_token_id")  # ``config`` has that of generation_config.json
        ends = {*ids(own), *ids(config.get("eos_token_id")), *tokenizer.eos_token_ids, *ids(tokenizer.eos_token_id)}
        engine = cls(loaded, tokenizer, ends, model.description.context_length)
        engine.load_time_s = time.perf_counter() - began
        return engine

    def close(self) -> None:
        self._model = self._tokenizer = None
        release()

    def batch(self, prompt_cache_bytes: int) -> Batch:
        from mlxk.engines.batch import TextBatch, can_batch  # noqa: PLC0415 - for servers only

        if not can_batch(self._model):
            return Turns(self.stream)
        return TextBatch(self._model, self.begin, prompt_cache_bytes)

    def stream(self, request: Generation, cancelled: Callable[[], bool]) -> Iterator[Event]:
        answering = self.begin(request)
        yield Started()
        mx.reset_peak_memory()
        with contextlib.closing(self._tokens(answering, cancelled)) as tokens:
            for token, logprobs in tokens:
                yield from answering.push(token, logprobs)
                if token in self._end_tokens and request.look_past_end:
                    answering.look_past(token, (later for later, _ in tokens))
                if answering.complete:
                    break
        if not cancelled():
            yield from answering.finish()

    def begin(self, request: Generation) -> Answering:
        """The request in tokens, with all that its answer needs. Raises PromptRefused, InvalidArgument, ContextLengthExceeded."""
        text = self._written(request)
        prompt = self._encode(text, templated=self._templated(request.prompt))
        budget = self._budget(len(prompt), request.max_tokens)
        answer = self._answer(request, text)
        return Answering(request, prompt, budget, self._end_tokens, answer, self._decode, self.load_time_s)

    def _answer(self, request: Generation, text: str) -> Answer:
        """What will be shown of the answer to a prompt that is written like this."""
        stops = (*self._turn_starts(request.prompt), *request.stop)
        calls = CallSplitter(self._calls, request.tools, only_one=request.one_call) if request.tools and self._calls else None
        return Answer(split(self._format, text), self._end_tokens.values(), stops, calls)

    def _templated(self, prompt: tuple[Message, ...] | str) -> bool:
        return not isinstance(prompt, str) and bool(self._tokenizer.has_chat_template)

    def _written(self, request: Generation) -> str:
        """The prompt as the text that the model continues."""
        prompt = request.prompt
        self._check_tools(request)
        if isinstance(prompt, str):
            return prompt
        try:
            return render(prompt, self._tokenizer if self._templated(prompt) else None, request.tools)
        except (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise PromptRefused(f"The model's chat template does not take this conversation: {why}") from error

    def _check_tools(self, request: Generation) -> None:
        if request.tools and self._calls is None:
            message = "This model calls no functions: its chat template has no known form for calls. Leave tools out."
            raise InvalidArgument(message, param="tools")

    def _encode(self, text: str, *, templated: bool) -> list[int]:
        """A chat template writes the token that begins a text itself; so may a prompt."""
        tokenizer = self._tokenizer
        begun = templated or (tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token))
        tokens: list[int] = tokenizer.encode(text, add_special_tokens=not begun)
        if not tokens:
            raise PromptRefused("The prompt has no tokens; there is nothing to continue.")
        return tokens

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

    def _tokens(self, answering: Answering, cancelled: Callable[[], bool]) -> Generator[tuple[int, mx.array], None, None]:
        """The tokens as they are sampled; none any more once the request is cancelled, be it while the prompt is read."""

        def progress(done: int, total: int) -> None:
            if cancelled():
                raise CancelledError

        sampling = answering.request.sampling
        steps = generate_step(
            mx.array(answering.prompt),
            self._model,
            max_tokens=answering.budget,
            sampler=sampler(sampling),
            logits_processors=processors(sampling, answering.prompt),
            prefill_step_size=_PREFILL_STEP,
            prompt_progress_callback=progress,
        )
        try:
            with contextlib.closing(steps):
                for token, logprobs in steps:
                    if cancelled():
                        return
                    yield int(token), logprobs
        except CancelledError:
            return
        except (RuntimeError, ValueError) as error:
            raise GenerationFailed(f"The model failed while generating: {error}") from error


def _call_format(tokenizer: Any) -> CallFormat | None:
    """What mlx-lm found in the template; mlx-vlm, whose tokenizers are transformers' own, looks for nothing."""
    if not getattr(tokenizer, "has_tool_calling", False):
        return None
    return CallFormat(tokenizer.tool_call_start, tokenizer.tool_call_end or "", tokenizer.tool_parser)


def _added_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens that are never a part of ordinary text, by id."""
    return {token: str(added) for token, added in tokenizer.added_tokens_decoder.items()}


def ids(value: object) -> list[int]:
    """The ids in an ``eos_token_id``, which is null, a number or a list."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]
