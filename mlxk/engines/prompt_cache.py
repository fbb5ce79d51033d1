"""What the model has read is kept for the next request that begins in the same way, within a bound of memory.

mlx-lm has such a store too (``LRUPromptCache``), but its search takes a time that grows with the square of what it holds:
1.5 s for 32,000 tokens, during which nobody gets an answer.
"""

from __future__ import annotations

import copy
from array import array
from dataclasses import dataclass
from typing import Any

from mlx_lm.models.cache import KVCache, can_trim_prompt_cache, trim_prompt_cache

_MOST_ENTRIES = 64
_TOKEN = array("I").itemsize


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """``tokens`` as the bytes of an array, which compare fast."""

    tokens: bytes
    cache: list[Any]
    nbytes: int


class PromptCache:
    """Keys and values of prompts and answers, by their tokens; those that were not used for the longest time give way."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: list[_Entry] = []  # the last one was used last

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self._kept)

    def take(self, tokens: list[int]) -> tuple[list[Any] | None, int]:
        """The keys and values of the longest known beginning, which are the caller's own, and its length in tokens.

        It never holds the last token: that has to be read again, to know what comes after it. Of several that begin so, the one
        that was used last is taken, or what all prompts begin with would keep the oldest of them.
        """
        wanted = _packed(tokens[:-1])
        usable = [(_usable(entry, wanted), entry) for entry in reversed(self._kept)]
        length, entry = max(usable, key=lambda each: each[0], default=(0, None))
        if entry is None or not length:
            return None, 0
        self._kept.remove(entry)
        self._kept.append(entry)
        return _beginning(entry, length), length

    def keep(self, tokens: list[int], cache: list[Any]) -> None:
        """What is larger than the bound would push everything else out, and is not kept."""
        entry = _Entry(_packed(tokens), cache, sum(each.nbytes for each in cache))
        if not 0 < entry.nbytes <= self._most_bytes:
            return
        held = can_trim_prompt_cache(cache)  # then it holds all its own beginnings too
        self._kept = [
            other for other in self._kept if other.tokens != entry.tokens and not (held and entry.tokens.startswith(other.tokens))
        ]
        self._kept.append(entry)
        while len(self._kept) > _MOST_ENTRIES or self.nbytes > self._most_bytes:
            del self._kept[0]


def _packed(tokens: list[int]) -> bytes:
    return array("I", tokens).tobytes()


def _usable(entry: _Entry, wanted: bytes) -> int:
    """How many of the tokens that are wanted can be had from the entry."""
    common = common_tokens(entry.tokens, wanted)
    return common if common * _TOKEN == len(entry.tokens) or can_trim_prompt_cache(entry.cache) else 0


def _beginning(entry: _Entry, length: int) -> list[Any]:
    """A copy of the entry, cut to so many tokens."""
    cache = copy.deepcopy(entry.cache)
    if surplus := len(entry.tokens) // _TOKEN - length:
        trim_prompt_cache(cache, surplus)
        for each in cache:
            if type(each) is KVCache:
                _let_go(each)
    return cache


def _let_go(cache: Any) -> None:
    """Of the memory behind a cut, which would be copied with the first token that is read."""
    cache.keys, cache.values = (held[..., : cache.offset, :] for held in (cache.keys, cache.values))


def common_tokens(one: bytes, other: bytes) -> int:
    """The length in tokens of the longest common beginning, by halving what is in question."""
    low, high = 0, min(len(one), len(other)) // _TOKEN
    while low < high:
        middle = (low + high + 1) // 2
        if one[low * _TOKEN : middle * _TOKEN] == other[low * _TOKEN : middle * _TOKEN]:
            low = middle
        else:
            high = middle - 1
    return low
