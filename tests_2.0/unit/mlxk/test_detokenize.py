"""Pieces of text join to what the tokenizer itself makes of all tokens, and no piece shows half a character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from mlxk.detokenize import IncrementalDecoder

TEXT = st.text(alphabet=st.one_of(st.sampled_from("aé 🦊👩‍🚀日"), st.characters(exclude_categories=["Cs"])), max_size=12)


class Bytes:
    """A vocabulary of byte strings, which is what byte-level tokenizers have."""

    def __init__(self, tokens: list[bytes]) -> None:
        self.tokens = tokens
        self.decoded = 0

    def decode(self, ids) -> str:
        self.decoded += len(ids)
        return b"".join(self.tokens[each] for each in ids).decode("utf-8", "replace")


def pieces(decode, count: int) -> list[str]:
    decoder = IncrementalDecoder(decode)
    return [*map(decoder.push, range(count)), decoder.finish()]


@given(TEXT.filter(lambda text: "\ufffd" not in text), st.data())
def test_byte_tokens_cut_anywhere_give_the_text_and_never_half_a_character(text, data):
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=len(raw))))
    tokens = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    shown = pieces(Bytes(tokens).decode, len(tokens))

    assert "".join(shown) == text
    assert not any("\ufffd" in piece for piece in shown)


def test_an_incomplete_character_at_the_end_is_shown_as_replaced():
    assert "".join(pieces(Bytes([b"ok ", b"\xf0\x9f"]).decode, 2)) == "ok \ufffd"


def test_an_invalid_byte_does_not_hold_up_the_text_after_it():
    shown = pieces(Bytes([b"a", b"\xff", b"b"]).decode, 3)

    assert shown == ["a", "", "\ufffdb", ""]


def test_endless_invalid_bytes_are_passed_on_and_cost_no_more_per_token():
    garbage = Bytes([b"\xff"] * 400)
    decoder = IncrementalDecoder(garbage.decode)
    shown = "".join(map(decoder.push, range(400)))

    assert len(shown) > 380
    assert garbage.decoded < 400 * 20


def test_a_long_text_costs_the_same_for_every_token():
    words = Bytes([b" word"] * 2000)
    pieces(words.decode, 2000)

    assert words.decoded <= 2000 * 3 + 2


@pytest.mark.parametrize(
    "tokens",
    [
        ["▁Hello", "▁world"],
        ["▁", "▁Hello", "▁", "▁world"],
        ["▁a", "<0xF0>", "<0x9F>", "<0xA6>", "<0x8A>", "<0xF0>", "<0x9F>", "<0x8C>", "<0x8D>", "▁b"],
        ["<0xC3>", "<0xA9>", "▁x"],
    ],
)
def test_sentencepiece_tokens_give_what_their_own_decoder_gives(tokens):
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(dict.fromkeys(tokens))}, []))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    ids = [tokenizer.token_to_id(token) for token in tokens]
    decoder = IncrementalDecoder(tokenizer.decode)
    shown = [*map(decoder.push, ids), decoder.finish()]

    assert "".join(shown) == tokenizer.decode(ids)
    assert not any("\ufffd" in piece for piece in shown)
