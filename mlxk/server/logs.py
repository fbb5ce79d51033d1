"""What the server writes to stderr: lines for people or JSON for programs, without secrets and without tricks."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

from mlxk import settings

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_SECRETS = re.compile(r"\b(hf_|sk-|Bearer\s+)[A-Za-z0-9_.\-]{6,}", re.IGNORECASE)
_FIELDS = ("request_id", "method", "path", "status", "duration_ms")
_SAME_AGAIN_S = 5.0


def configure(level: str, *, as_json: bool, secret: str | None = None) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(secret) if as_json else LineFormatter(secret))
    handler.addFilter(NotAgain())
    logging.getLogger().addHandler(handler)
    logging.getLogger("mlxk").setLevel(level.upper())
    logging.getLogger("waitress.queue").setLevel("ERROR")


class LineFormatter(logging.Formatter):
    """One line for each message, whatever a client put into it. Tracebacks only where asked for; the exception itself always."""

    def __init__(self, secret: str | None = None) -> None:
        super().__init__("[%(levelname)s] %(message)s")
        self._secret = secret

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        known = " ".join(str(getattr(record, name)) for name in ("request_id",) if hasattr(record, name))
        said = super().formatMessage(record) + (f" ({known})" if known else "")
        return masked(said, self._secret).translate(_CONTROLS)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        return masked(super().formatException(ei) if settings.debug() else f"{ei[0].__name__}: {ei[1]}", self._secret)


class JsonFormatter(LineFormatter):
    """One object for each message: ts (seconds since 1970), level, msg, and what is known of the request."""

    def format(self, record: logging.LogRecord) -> str:
        said = {"level": record.levelname, "msg": record.getMessage()}
        said |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        clean = {name: masked(value, self._secret) if isinstance(value, str) else value for name, value in said.items()}
        line: dict[str, Any] = {"ts": round(record.created, 3), **clean}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class NotAgain(logging.Filter):
    """A warning or an error that says the same as the last one is not repeated for some seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last = ("", 0.0)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        message, said_at = record.getMessage(), time.monotonic()
        if message == self._last[0] and said_at - self._last[1] < _SAME_AGAIN_S:
            return False
        self._last = (message, said_at)
        return True


def masked(text: str, secret: str | None = None) -> str:
    """The text without keys, tokens, and where the user lives."""
    if secret:
        text = text.replace(secret, "***")
    return _SECRETS.sub(r"\1***", text).replace(str(Path.home()), "~")
