"""Turning tokens into text one at a time, without ever showing a part of a character."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_REPLACEMENT = "\ufffd"  # what an incomplete or invalid sequence of UTF-8 is decoded to
_MOST_REPLACEMENTS = 7  # that can still become text: the bytes of one character, and all but one of the next


class IncrementalDecoder:
    """The pieces that it returns join to what decoding all tokens at once gives, for all text that is valid UTF-8.

    It decodes a short window: the tokens of the last piece that ended with a whole character, because decoders treat the
    first token differently (most drop its space), and those since. So a token costs the same at the end of a long text, and
    with a large vocabulary.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._context = 0  # how many tokens of the window belong to the last piece
        self._shown = 0  # how many characters of the window's text were returned

    def push(self, token: int) -> str:
        """The text that the token completes, often empty."""
        self._window.append(token)
        text = self._decode(self._window)
        certain = text.rstrip(_REPLACEMENT)
        if len(text) - len(certain) > _MOST_REPLACEMENTS:
            certain = text
        piece = certain[self._shown :]
        self._shown += len(piece)
        if len(certain) == len(text):
            self._slide(piece)
        return piece

    def finish(self) -> str:
        """What is left, with a replacement character for what stayed incomplete."""
        return self._decode(self._window)[self._shown :]

    def _slide(self, piece: str) -> None:
        if piece:
            self._window = self._window[self._context :]
            self._context = len(self._window)
            self._shown = len(self._decode(self._window))
        elif self._shown:
            self._window.pop()  # a token without text; at the very beginning it may be a space that counts when more follow
