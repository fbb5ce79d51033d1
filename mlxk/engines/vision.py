"""Models that read images, on mlx-vlm: as text models, but for how a conversation becomes what the model is given."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlxk import images
from mlxk.chat import Message
from mlxk.engines import Batch, Generation, libraries
from mlxk.engines.faults import FAULTS, CancelledError
from mlxk.engines.text import NO_FOREIGN_CODE, TextEngine, ids
from mlxk.engines.turns import OneByOne
from mlxk.errors import GenerationFailed, LoadFailed, PromptRefused
from mlxk.library import Model

libraries.prepare()

import mlx.core as mx  # noqa: E402 - the libraries read the variables set above
from mlx_vlm.generate import generate_step  # noqa: E402
from mlx_vlm.prompt_utils import apply_chat_template  # noqa: E402
from mlx_vlm.utils import load, prepare_inputs  # noqa: E402

from mlxk.engines.answering import Answering  # noqa: E402
from mlxk.engines.sampling import processors, sampler  # noqa: E402

_MAX_TOKENS = 2048
"""Enough for what there is to say of some images; a request may ask for more."""

_PREFILL_STEP = 2048  # mlx-vlm's own: between two of them it can be seen whether the request was cancelled
_LOOKS_UP = "prompt_cache_checkpoint_lengths" in inspect.signature(generate_step).parameters


@dataclass(slots=True)
class _Looking(Answering):
    """``inputs`` are what the processor made of text and images, by the names that the model takes them under."""

    inputs: Mapping[str, Any] = field(default_factory=dict)


class VisionEngine(TextEngine):
    """One model of mlx-vlm and its processor."""

    _processor: Any

    @classmethod
    def load(cls, model: Model) -> VisionEngine:
        began = time.perf_counter()
        try:
            loaded, processor = load(str(model.snapshot.path), **NO_FOREIGN_CODE)
        except (*FAULTS, ImportError) as error:
            raise LoadFailed(f"{model.name} cannot be loaded: {error}") from error
        tokenizer = getattr(processor, "tokenizer", processor)
        own = model.contents.document("config.json").get("eos_token_id")
        ends = {*ids(own), *tokenizer.stopping_criteria.eos_token_ids, *ids(tokenizer.eos_token_id)}
        engine = cls(loaded, tokenizer, ends, model.description.context_length)
        engine._processor = processor
        engine.load_time_s = time.perf_counter() - began
        return engine

    def close(self) -> None:
        self._processor = None
        super().close()

    def batch(self, prompt_cache_bytes: int) -> Batch:
        return OneByOne(self.stream)

    def begin(self, request: Generation) -> Answering:
        """The request in tokens and pixels. Raises MediaRefused, GenerationFailed, ContextLengthExceeded."""
        messages = () if isinstance(request.prompt, str) else request.prompt
        shown = [image for message in messages for image in message.images]
        images.check_together(shown)
        pixels = [images.decode(image) for image in shown]
        text = self._written(request)
        bos = self._tokenizer.bos_token
        begun = bos is not None and text.startswith(bos)
        try:
            inputs = prepare_inputs(
                self._processor,
                images=pixels or None,
                prompts=text,
                image_token_index=getattr(self._model.config, "image_token_index", None),
                add_special_tokens=not begun,
            )
        except FAULTS as error:
            raise GenerationFailed(f"The model's processor does not take these images: {_words(error)}") from error
        prompt: list[int] = inputs["input_ids"].flatten().tolist()
        budget = self._budget(len(prompt), request.max_tokens or _MAX_TOKENS)
        answer = self._answer(request, text)
        return _Looking(request, prompt, budget, self._end_tokens, answer, self._decode, self.load_time_s, inputs=inputs)

    def _written(self, request: Generation) -> str:
        prompt = request.prompt
        self._check_tools(request)
        if isinstance(prompt, str):
            return prompt
        try:
            return str(apply_chat_template(self._processor, self._model.config, _turns(prompt), num_images=_count(prompt)))
        except FAULTS as error:
            raise PromptRefused(f"The model's chat template does not take this conversation: {_words(error)}") from error

    def _tokens(self, answering: Answering, cancelled: Callable[[], bool]) -> Generator[tuple[int, mx.array], None, None]:
        """The tokens as they are sampled; none any more once the request is cancelled."""
        assert isinstance(answering, _Looking)
        inputs = dict(answering.inputs)
        sampling = answering.request.sampling

        def look_up(read: int, cache: Any) -> None:
            if cancelled():
                raise CancelledError

        lengths = [*range(_PREFILL_STEP, len(answering.prompt), _PREFILL_STEP)] if _LOOKS_UP else []
        if lengths:
            inputs |= {"prompt_cache_checkpoint": look_up, "prompt_cache_checkpoint_lengths": lengths}
        try:
            steps = generate_step(
                inputs.pop("input_ids"),
                self._model,
                inputs.pop("pixel_values", None),
                inputs.pop("attention_mask", None),
                max_tokens=answering.budget,
                sampler=sampler(sampling),
                logits_processors=processors(sampling, answering.prompt),
                **inputs,
            )
            with contextlib.closing(steps):
                for token, logprobs in steps:
                    if cancelled():
                        return
                    yield int(token), logprobs
        except CancelledError:
            return
        except FAULTS as error:
            raise GenerationFailed(f"The model failed while generating: {_words(error)}") from error


def _turns(prompt: tuple[Message, ...]) -> list[dict[str, Any]]:
    """The conversation as mlx-vlm takes it: images of the last turn are counted, those of earlier ones stand in their turns."""
    *earlier, last = prompt
    turns = [{"role": message.role, "content": _parts(message) if message.images else message.content} for message in earlier]
    return [*turns, {"role": last.role, "content": last.content}]


def _parts(message: Message) -> list[dict[str, str]]:
    return [*({"type": "image"} for _ in message.images), {"type": "text", "text": message.content, "content": message.content}]


def _count(prompt: tuple[Message, ...]) -> int:
    return sum(len(message.images) for message in prompt)


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
