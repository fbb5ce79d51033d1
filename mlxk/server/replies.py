"""What the server says, in the shapes of OpenAI's API: completions, chunks, models, and every error."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from mlxk import __version__
from mlxk.engines import Completion, Finished, Reasoning, Text
from mlxk.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    InsufficientMemory,
    MlxkError,
    NotFound,
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
    (NotFound, 404),
    (InsufficientMemory, 507),
    (Refused, 422),
    (Unavailable, 503),
    (DeadlineExceeded, 504),
)


def status(error: MlxkError) -> int:
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
            "param": error.details.get("param"),
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
        "capabilities": list(model.description.capabilities),
        "loaded": loaded,
    }


class Shape:
    """How the parts of one answer look, and what they share. ``index`` counts the prompts of the request."""

    prefix: str
    kind: str
    chunk_kind: str

    def __init__(self, model: str) -> None:
        self.model = model
        self.id = f"{self.prefix}-{uuid.uuid4().hex}"
        self.created = int(time.time())

    def answer(self, answer: Completion) -> dict[str, Any]:
        raise NotImplementedError

    def part(self, part: Text | Reasoning | None) -> dict[str, Any]:
        """A piece of a stream; None is the empty one that says how it ended."""
        raise NotImplementedError

    def opening(self) -> dict[str, Any] | None:
        """What a stream begins with, if that is anything."""
        return None

    def whole(self, answers: Sequence[Completion]) -> dict[str, Any]:
        choices = [_choice(index, self.answer(answer), answer.finish_reason) for index, answer in enumerate(answers)]
        return self._head(self.kind, choices) | _counts(answers)

    def chunk(self, index: int, part: dict[str, Any], finish_reason: str | None, *, include_usage: bool) -> bytes:
        """One event of the stream. With ``include_usage`` every chunk names it, as OpenAI's do."""
        head = self._head(self.chunk_kind, [_choice(index, part, finish_reason)])
        return event(head | ({"usage": None} if include_usage else {}))

    def usage_chunk(self, finished: Sequence[Finished]) -> bytes:
        return event(self._head(self.chunk_kind, []) | _counts(finished))

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

    def answer(self, answer: Completion) -> dict[str, Any]:
        reasoning = {"reasoning_content": answer.reasoning} if answer.reasoning else {}
        return {"message": {"role": "assistant", "content": answer.text, "refusal": None, **reasoning}}

    def part(self, part: Text | Reasoning | None) -> dict[str, Any]:
        if part is None:
            return {"delta": {}}
        return {"delta": {"content" if isinstance(part, Text) else "reasoning_content": part.text}}

    def opening(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}}


class TextShape(Shape):
    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def answer(self, answer: Completion) -> dict[str, Any]:
        return {"text": answer.text} | ({"reasoning_content": answer.reasoning} if answer.reasoning else {})

    def part(self, part: Text | Reasoning | None) -> dict[str, Any]:
        if isinstance(part, Reasoning):
            return {"text": "", "reasoning_content": part.text}
        return {"text": part.text if part is not None else ""}


def _choice(index: int, content: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, **content, "logprobs": None, "finish_reason": finish_reason}


def _counts(finished: Sequence[Completion | Finished]) -> dict[str, Any]:
    """Tokens of all prompts together; the times of the last one."""
    prompt_tokens = sum(each.usage.prompt_tokens for each in finished)
    completion_tokens = sum(each.usage.completion_tokens for each in finished)
    total_tokens = prompt_tokens + completion_tokens
    return {
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total_tokens},
        "timings": dataclasses.asdict(finished[-1].timings),
    }


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


LAST_EVENT = b"data: [DONE]\n\n"
KEEPALIVE = b": nothing yet\n\n"
"""A comment, which clients skip: it tells them, and whatever is between, that the answer is still being made."""
