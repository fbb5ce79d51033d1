"""The stop matcher agrees with a search through the whole text, however that text arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxk.stop import StopMatcher

TEXT = st.text(alphabet="ab<🦊", max_size=30)
STOPS = st.lists(st.text(alphabet="ab<🦊", min_size=1, max_size=4), max_size=4)


def split(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def expected(text: str, stops: list[str]) -> tuple[str, bool]:
    """What a reader would do with the whole text before them."""
    places = [text.find(stop) for stop in stops if stop in text]
    return (text[: min(places)], True) if places else (text, False)


@given(TEXT, STOPS, st.lists(st.integers(0, 30), max_size=12))
def test_the_text_ends_before_the_earliest_stop_string_however_it_is_split(text, stops, cuts):
    matcher = StopMatcher(stops)
    shown = "".join([*map(matcher.push, split(text, cuts)), matcher.finish()])

    assert (shown, matcher.matched) == expected(text, stops)


@given(TEXT, STOPS, st.lists(st.integers(0, 30), max_size=12))
def test_no_more_is_held_back_than_could_begin_a_stop_string(text, stops, cuts):
    matcher = StopMatcher(stops)
    arrived = shown = ""
    for piece in split(text, cuts):
        arrived, shown = arrived + piece, shown + matcher.push(piece)
        held = arrived[len(shown) :]

        assert matcher.matched or not held or any(stop.startswith(held) or stop in held for stop in stops)


@pytest.mark.parametrize(
    ("pieces", "stops", "shown"),
    [
        (["The answer</", "s>", "more"], ["</s>"], "The answer"),
        (["one ST", "OP two"], ["STOP"], "one "),
        (["one ST", "ART two"], ["STOP"], "one START two"),
        (["xabc", "d"], ["abcd", "bc"], "x"),
        (["xabc", "e"], ["abcd", "bc"], "xa"),
        (["aab"], ["ab"], "a"),
        (["a.b!c"], ["!", "."], "a"),
        (["a!b.c"], ["!", "."], "a"),
        (["🦊", "🌍!"], ["🌍"], "🦊"),
        (["kept"], [""], "kept"),
    ],
)
def test_example(pieces, stops, shown):
    matcher = StopMatcher(stops)

    assert "".join([*map(matcher.push, pieces), matcher.finish()]) == shown


def test_text_that_cannot_be_a_stop_string_is_passed_on_at_once():
    matcher = StopMatcher(["STOP"])

    assert [matcher.push(piece) for piece in ("one ", "S", "x", "ST")] == ["one ", "", "Sx", ""]


def test_nothing_follows_a_match():
    matcher = StopMatcher(["."])

    assert [matcher.push("a.b"), matcher.push("c"), matcher.finish()] == ["a", "", ""]
