"""What the server says, in the shapes of OpenAI's API: completions, chunks, models, and every error."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from typing import Any

from mlxk import __version__
from mlxk.engines import Completion, Finished, Usage
from mlxk.errors import (
    ContextLengthExceeded,
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


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """What all parts of one answer share."""

    model: str
    id: str = dataclasses.field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))

    def completion(self, answer: Completion) -> dict[str, Any]:
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return {
            **self._head("chat.completion", [choice]),
            "usage": _usage(answer.usage),
            "timings": dataclasses.asdict(answer.timings),
        }

    def chunk(self, delta: dict[str, str], finish_reason: str | None, *, include_usage: bool) -> bytes:
        """One event of the stream. With ``include_usage`` every chunk names it, as OpenAI's do."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event(self._head("chat.completion.chunk", [choice]) | ({"usage": None} if include_usage else {}))

    def usage_chunk(self, finished: Finished) -> bytes:
        usage = {"usage": _usage(finished.usage), "timings": dataclasses.asdict(finished.timings)}
        return event(self._head("chat.completion.chunk", []) | usage)

    def _head(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"mlxk-{__version__}",
            "choices": choices,
        }


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


LAST_EVENT = b"data: [DONE]\n\n"


def _usage(usage: Usage) -> dict[str, int]:
    return {**dataclasses.asdict(usage), "total_tokens": usage.total_tokens}
