"""Whatever names a cache holds and whatever a person types, a name means one model, or an error that says which there are."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxk import cache
from mlxk.errors import AmbiguousMatch, ModelNotFound, NotFound, RevisionNotFound

part = st.text(alphabet="abAB12._", min_size=1, max_size=6)
models = st.lists(st.tuples(part, part).map("/".join) | part, min_size=1, max_size=6, unique=True)
typed = st.text(alphabet="abAB12._/@- \0\x1b\udcff.", max_size=12)
commits = st.lists(st.text(alphabet="ab", min_size=6, max_size=6), min_size=1, max_size=4, unique=True).map(
    lambda heads: [head.ljust(40, "0") for head in heads]
)


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def hub_with(place: Path, names, revisions=("0" * 40,)) -> Path:
    hub = Path(tempfile.mkdtemp(dir=place))
    for name in names:
        for commit in revisions:
            (hub / f"models--{name.replace('/', '--')}" / "snapshots" / commit).mkdir(parents=True)
    return hub


@settings(max_examples=60, deadline=None)
@given(names=models)
def test_every_name_that_is_listed_finds_its_own_model(place, names):
    hub = hub_with(place, names)

    assert cache.names(hub) == sorted(names)
    assert [cache.find(hub, name).name for name in names] == names
    assert [cache.exact(hub, name) for name in names] == names


@settings(max_examples=150, deadline=None)
@given(names=models, words=typed)
def test_what_is_typed_means_one_model_or_an_error_that_is_true(place, names, words):
    hub = hub_with(place, names)
    name = words.partition("@")[0]
    holding = sorted(each for each in names if name and "/" not in name and name.lower() in each.lower())
    try:
        found = cache.find(hub, words).name
    except AmbiguousMatch as error:
        assert error.details["matches"] == holding and len(holding) > 1
    except RevisionNotFound:
        assert "@" in words and (name in names or len(holding) == 1)
    except ModelNotFound:
        assert name not in names and not holding
    else:
        assert found == name or [found] == holding


@settings(max_examples=60, deadline=None)
@given(names=models, words=typed)
def test_a_command_that_deletes_takes_a_full_name_or_nothing(place, names, words):
    hub = hub_with(place, names)
    try:
        assert cache.exact(hub, words) == words and words in names
    except ModelNotFound as error:
        assert words not in names
        assert set(error.details.get("matches", [])) <= set(names)


@settings(max_examples=60, deadline=None)
@given(revisions=commits, digits=st.text(alphabet="aAb", min_size=1, max_size=8), length=st.integers(1, 41), data=st.data())
def test_a_prefix_of_four_digits_or_more_pins_the_one_commit_that_it_begins(place, revisions, digits, length, data):
    wanted = data.draw(st.sampled_from([digits, *(commit[:length] for commit in revisions)]))
    hub = hub_with(place, ["org/m"], revisions)
    begun = sorted(commit for commit in revisions if commit.startswith(wanted.lower()) and 4 <= len(wanted) <= 40)
    try:
        assert [cache.find(hub, f"org/m@{wanted}").commit] == begun
    except NotFound as error:
        assert len(begun) != 1
        assert error.details == ({"matches": begun} if begun else {"available_hashes": sorted(revisions)})
