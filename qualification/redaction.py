"""Keeps out of a bundle what identifies a person or opens a door: home directories, names of users and tokens."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from qualification import settings

_TOKENS = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|gh[opsru]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|sk-[A-Za-z0-9_-]{16,})")
"""As Hugging Face, GitHub and OpenAI-compatible services issue them."""

_CREDENTIALS = re.compile(r"(?<=://)[^/\s:@\"'\\<>]+:[^/\s@\"'\\<>]+(?=@)|(?<=\bBearer )[A-Za-z0-9._~+/=-]{8,}")
"""Name and password in a URL, and what follows ``Authorization: Bearer``."""

_USER = re.compile(r"(?<=\bpytest-of-)[A-Za-z0-9._-]+")
"""pytest names its temporary directory for who started it."""

_SHORTEST_SECRET = 8


def clean(text: str) -> str:
    """``text`` with home directories and names of users, this one's and anybody's, as ``~``, and tokens as ``<token>``.

    Nothing else changes, and what is clean stays as it is.
    """
    text = _CREDENTIALS.sub("<token>", _TOKENS.sub("<token>", text))
    text = _USER.sub("~", _homes().sub("~", text))
    for secret in settings.secrets():
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "<token>")
    return text


@cache
def _homes() -> re.Pattern[str]:
    """Below /home and /Users every directory is somebody's; this user's may lie elsewhere."""
    own = str(Path.home())
    places = [r"(?<![\w.])/(?:home|Users)/[^/\s\"'\\:,;<>|]+"]
    if own.count("/") > 1 or own == "/root":
        places.insert(0, re.escape(own) + r"(?![A-Za-z0-9._-])")
    return re.compile("|".join(places))
