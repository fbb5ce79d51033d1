"""What a file's content must hash to: the names that the Hub, and so the cache, gives to blobs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from typing import Protocol

_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PIECE_BYTES = 1 << 20


class Digest(Protocol):
    def update(self, content: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def is_name(etag: str) -> bool:
    """Whether it is a hash by which content can be checked."""
    return _NAME.fullmatch(etag) is not None


def digest(etag: str, size: int) -> Digest:
    """64 digits are the sha256 of the content; 40 are git's name for a blob, the sha1 of its kind, its size and the content.

    Source: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """
    return hashlib.sha256() if len(etag) == 64 else hashlib.sha1(b"blob %d\0" % size)


def of_file(path: str, etag: str, read: Callable[[int], None] = lambda count: None) -> str:
    """The hash of a file in the form that ``etag`` has. ``read`` hears how many bytes were read. Raises OSError."""
    found = digest(etag, os.stat(path).st_size)  # noqa: PTH116 - strings, see mlxk.cache
    with open(path, "rb") as file:  # noqa: PTH123
        while piece := file.read(_PIECE_BYTES):
            found.update(piece)
            read(len(piece))
    return found.hexdigest()
