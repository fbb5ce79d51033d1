"""What the model has read is kept for the next request that begins in the same way, within a bound of memory."""

from __future__ import annotations

from typing import Any

from mlx_lm.models.cache import LRUPromptCache

_MOST_ENTRIES = 64
_KEY = "the model"  # mlx-lm's can hold those of several


class PromptCache:
    """Keys and values of prompts and answers, by their tokens; the oldest give way."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept = LRUPromptCache(_MOST_ENTRIES, most_bytes)

    @property
    def nbytes(self) -> int:
        return int(self._kept.nbytes)

    def take(self, tokens: list[int]) -> tuple[list[Any] | None, int]:
        """The keys and values of the longest known beginning, which are the caller's own, and its length in tokens.

        It never holds the last token: that has to be read again, to know what comes after it.
        """
        cache, rest = self._kept.fetch_nearest_cache(_KEY, tokens[:-1])
        return (None, 0) if cache is None else (cache, len(tokens) - 1 - len(rest))

    def keep(self, tokens: list[int], cache: list[Any]) -> None:
        """What is larger than the bound would push everything else out, and is not kept."""
        if 0 < sum(each.nbytes for each in cache) <= self._most_bytes:
            self._kept.insert_cache(_KEY, tokens, cache)
