"""What was read is found again by its longest common beginning, and gives way in the order of use."""

from __future__ import annotations

from array import array
from itertools import takewhile

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.models.cache import KVCache, RotatingKVCache

from mlxk.engines.prompt_cache import PromptCache, common_tokens

BYTES_PER_TOKEN = 2 * 4
MOST = 1 << 20


def read(tokens, cache=None):
    """What a model of one layer and one number would remember of them: the tokens themselves."""
    cache = KVCache() if cache is None else cache
    numbers = mx.array([*tokens], dtype=mx.float32).reshape(1, 1, -1, 1)
    cache.update_and_fetch(numbers, numbers)
    if type(cache) is KVCache:  # which takes memory for 256 tokens at once
        cache.keys, cache.values = cache.keys[..., : cache.offset, :], cache.values[..., : cache.offset, :]
    return [cache]


def remembered(cache):
    return [int(number) for number in cache[0].keys[0, 0, : cache[0].offset, 0].tolist()]


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30))
def test_the_common_beginning_is_the_longest(one, other):
    packed = [array("I", tokens).tobytes() for tokens in (one, other)]

    assert common_tokens(*packed) == len([*takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))])


@pytest.mark.parametrize(
    ("wanted", "length"),
    [
        ([*range(20), 7], 20),  # all that is known, and one more
        ([*range(20)], 19),  # the last token is read again
        ([*range(12), 99, 98], 12),  # a part of what is known
        ([*range(30)], 20),
        ([0, 99, 98], 1),
        ([5], 0),
    ],
)
def test_a_prompt_gets_the_longest_beginning_that_is_known(wanted, length):
    kept = PromptCache(MOST)
    kept.keep([*range(20)], read(range(20)))
    kept.keep([50, 51, *range(20)], read([50, 51, *range(20)]))
    cache, found = kept.take(wanted)

    assert found == length
    assert (cache is None) if length == 0 else (remembered(cache) == wanted[:length])


def test_what_is_taken_is_the_takers_own():
    kept = PromptCache(MOST)
    kept.keep([*range(20)], read(range(20)))
    first, _ = kept.take([*range(10), 77])
    first[0].update_and_fetch(*[mx.full((1, 1, 5, 1), 9.0)] * 2)

    assert remembered(kept.take([*range(20), 7])[0]) == [*range(20)]


def test_a_beginning_of_what_is_known_takes_no_memory_of_its_own():
    kept = PromptCache(MOST)
    kept.keep([*range(10)], read(range(10)))
    kept.keep([*range(20)], read(range(20)))

    assert kept.nbytes == 20 * BYTES_PER_TOKEN


def test_what_cannot_be_cut_is_found_whole_or_not_at_all():
    kept = PromptCache(MOST)
    turned = read(range(12), RotatingKVCache(max_size=4))
    kept.keep([*range(12)], turned)

    assert not turned[0].is_trimmable()
    assert kept.take([*range(10), 99])[1] == 0
    assert kept.take([*range(12), 99])[1] == 12


def test_what_was_not_used_for_the_longest_time_gives_way():
    kept = PromptCache(3 * 10 * BYTES_PER_TOKEN)
    texts = [[start + each for each in range(10)] for start in (0, 100, 200, 300)]
    for tokens in texts[:3]:
        kept.keep(tokens, read(tokens))
    kept.take([*texts[0], 1])
    kept.keep(texts[3], read(texts[3]))

    assert [kept.take([*tokens, 1])[1] for tokens in texts] == [10, 0, 10, 10]
    assert kept.nbytes == 3 * 10 * BYTES_PER_TOKEN


def test_of_two_that_begin_as_the_prompt_does_the_one_used_last_is_taken():
    kept = PromptCache(2 * 10 * BYTES_PER_TOKEN)
    texts = [[0, *range(start, start + 9)] for start in (100, 200, 300)]
    for tokens in texts[:2]:
        kept.keep(tokens, read(tokens))
    kept.take([0, 1, 1])
    kept.keep(texts[2], read(texts[2]))

    assert [kept.take([*tokens, 1])[1] for tokens in texts] == [1, 10, 10]


def test_what_is_larger_than_all_that_may_be_kept_pushes_nothing_out():
    kept = PromptCache(15 * BYTES_PER_TOKEN)
    kept.keep([*range(10)], read(range(10)))
    kept.keep([*range(50, 80)], read(range(50, 80)))

    assert kept.take([*range(10), 1])[1] == 10
