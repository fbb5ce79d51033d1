"""What the server says, in the shapes of OpenAI's API: completions, chunks, models, and every error."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mlxk import __version__
from mlxk.chat import ToolCall
from mlxk.compatibility import Modality
from mlxk.engines import Chosen, Completion, Finished, Likelihood, Reasoning, Text, Usage
from mlxk.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    InsufficientMemory,
    MediaRefused,
    MlxkError,
    NotFound,
    PromptRefused,
    Refused,
    RequestError,
    Unavailable,
    UsageError,
)
from mlxk.library import Model

_STATUS: tuple[tuple[type[MlxkError], int], ...] = (
    (RequestError, 400),
    (UsageError, 400),
    (ContextLengthExceeded, 400),
    (PromptRefused, 400),
    (NotFound, 404),
    (InsufficientMemory, 507),
    (Refused, 422),
    (Unavailable, 503),
    (DeadlineExceeded, 504),
)


_MODALITIES: dict[str, Modality] = {"text-generation": "text", "vision": "vision", "audio": "audio"}
"""The capabilities that depend on what is installed."""


def new_id() -> str:
    """One that no other request or answer has. It is no secret, and the system is not asked: 50 threads that do wait for it."""
    return f"{random.getrandbits(128):032x}"


def status(error: MlxkError) -> int:
    if isinstance(error, MediaRefused):
        return 413 if error.too_large else 400
    known = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    given = error.details.get("status")
    return given if isinstance(given, int) else known


def error_object(error: MlxkError) -> dict[str, Any]:
    code = status(error)
    kind = "authentication_error" if code == 401 else "invalid_request_error" if code < 500 else "server_error"
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.media if isinstance(error, MediaRefused) else error.details.get("param"),
            "code": error.details.get("code", error.type),
        }
    }


def error_headers(error: MlxkError) -> dict[str, str]:
    headers = {"WWW-Authenticate": "Bearer"} if status(error) == 401 else {}
    if (retry_after_s := error.details.get("retry_after_s")) is not None:
        headers["Retry-After"] = str(retry_after_s)
    return headers


def model_object(model: Model, *, loaded: bool) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.contents.modified_s),
        "owned_by": "mlxk",
        "context_length": model.description.context_length,
        "capabilities": _capabilities(model),
        "loaded": loaded,
    }


def _capabilities(model: Model) -> list[str]:
    """Those that it has here: what is missing for one of them takes it away."""
    named = model.description.capabilities
    return [name for name in named if (modality := _MODALITIES.get(name)) is None or model.runs(modality)]


class Shape(ABC):
    """How the parts of one answer look, and what they share. ``index`` counts the prompts of the request."""

    prefix: str
    kind: str
    chunk_kind: str

    def __init__(self, model: str, *, logprobs: bool) -> None:
        self.model = model
        self.id = f"{self.prefix}-{new_id()}"
        self.created = int(time.time())
        self._logprobs = logprobs

    @abstractmethod
    def answer(self, answer: Completion) -> dict[str, Any]: ...

    @abstractmethod
    def part(self, part: Text | Reasoning | ToolCall | None) -> dict[str, Any]:
        """A piece of a stream; None is the empty one that says how it ended."""

    @abstractmethod
    def logprobs(self, index: int, tokens: Sequence[Chosen]) -> dict[str, Any]: ...

    def opening(self) -> dict[str, Any] | None:
        """What a stream begins with, if that is anything."""
        return None

    def whole(self, answers: Sequence[Completion]) -> dict[str, Any]:
        choices = [
            self._choice(index, self.answer(answer), answer.tokens, answer.finish_reason) for index, answer in enumerate(answers)
        ]
        return self._head(self.kind, choices) | _counts(answers)

    def chunk(self, index: int, part: dict[str, Any], tokens: Sequence[Chosen] = (), ended: str | None = None) -> dict[str, Any]:
        """One event of the stream."""
        return self._head(self.chunk_kind, [self._choice(index, part, tokens, ended)])

    def usage_chunk(self, finished: Sequence[Finished]) -> dict[str, Any]:
        return self._head(self.chunk_kind, []) | _counts(finished)

    def _choice(self, index: int, content: dict[str, Any], tokens: Sequence[Chosen], ended: str | None) -> dict[str, Any]:
        told = self.logprobs(index, tokens) if self._logprobs and (tokens or ended is None) else None
        return {"index": index, **content, "logprobs": told, "finish_reason": ended}

    def _head(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"mlxk-{__version__}",
            "choices": choices,
        }


class ChatShape(Shape):
    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model: str, *, logprobs: bool) -> None:
        super().__init__(model, logprobs=logprobs)
        self._calls = 0  # that were told in the stream

    def answer(self, answer: Completion) -> dict[str, Any]:
        reasoning = {"reasoning_content": answer.reasoning} if answer.reasoning else {}
        calls = {"tool_calls": [*map(_call, answer.calls)]} if answer.calls else {}
        content = answer.text or (None if calls else "")
        return {"message": {"role": "assistant", "content": content, "refusal": None, **reasoning, **calls}}

    def part(self, part: Text | Reasoning | ToolCall | None) -> dict[str, Any]:
        if part is None:
            return {"delta": {}}
        if isinstance(part, ToolCall):
            self._calls += 1
            return {"delta": {"tool_calls": [{"index": self._calls - 1, **_call(part)}]}}
        return {"delta": {"content" if isinstance(part, Text) else "reasoning_content": part.text}}

    def opening(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}}

    def logprobs(self, index: int, tokens: Sequence[Chosen]) -> dict[str, Any]:
        content = [_token(each.token) | {"top_logprobs": [_token(other) for other in each.top]} for each in tokens]
        return {"content": content, "refusal": None}


class TextShape(Shape):
    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, *, logprobs: bool) -> None:
        super().__init__(model, logprobs=logprobs)
        self._offsets: defaultdict[int, int] = defaultdict(int)  # characters of each answer whose tokens were told

    def answer(self, answer: Completion) -> dict[str, Any]:
        return {"text": answer.text} | ({"reasoning_content": answer.reasoning} if answer.reasoning else {})

    def part(self, part: Text | Reasoning | ToolCall | None) -> dict[str, Any]:
        if isinstance(part, Reasoning):
            return {"text": "", "reasoning_content": part.text}
        return {"text": part.text if isinstance(part, Text) else ""}  # calls are for conversations

    def logprobs(self, index: int, tokens: Sequence[Chosen]) -> dict[str, Any]:
        ends = [*itertools.accumulate((len(each.token.token) for each in tokens), initial=self._offsets[index])]
        self._offsets[index] = ends[-1]
        return {
            "tokens": [each.token.token for each in tokens],
            "token_logprobs": [each.token.logprob for each in tokens],
            "top_logprobs": [{other.token: other.logprob for other in each.top} for each in tokens],
            "text_offset": ends[:-1],
        }


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _token(likelihood: Likelihood) -> dict[str, Any]:
    """A token that is a part of a character only has no bytes that could be told from its text."""
    text = likelihood.token
    return {"token": text, "logprob": likelihood.logprob, "bytes": None if "\ufffd" in text else list(text.encode())}


def _counts(finished: Sequence[Completion | Finished]) -> dict[str, Any]:
    """Tokens of all prompts together, and what ended their answers; the times of the last one."""
    usage = Usage.total(each.usage for each in finished)
    return {
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        },
        "timings": dataclasses.asdict(finished[-1].timings),
        "end_tokens": [token for each in finished for token in each.end_tokens],
    }


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


LAST_EVENT = b"data: [DONE]\n\n"
KEEPALIVE = b": nothing yet\n\n"
"""A comment, which clients skip: it tells them, and whatever is between, that the answer is still being made."""
