"""A part of a model comes from the Hub where a test wants one that the user has not, and the user's cache has no part in it."""

from __future__ import annotations

import pytest

from qualification.plugin.isolation import IsolationError

NAME = "acme/tiny"


@pytest.fixture
def users(local_hub, person, model):
    """Somebody with nothing in the cache yet; the Hub has a model of two shards."""
    (model / "model-00002-of-00002.safetensors").write_bytes(b"x" * 1000)  # the smaller one
    local_hub.store.import_folder(NAME, model)
    return person


@pytest.fixture
def cache(users, isolated_cache, monkeypatch):
    """A test's cache beside the user's."""
    monkeypatch.setenv("MLXK2_USER_HF_HOME", str(users.home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as a test before may have left it
    return isolated_cache


def test_the_small_files_and_the_smallest_shard_are_fetched(cache, person, model, monkeypatch):
    monkeypatch.setenv("MLXK2_BOOTSTRAP_INDEX", "1")
    snapshot = cache.of_user(NAME)
    names = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()}

    assert names == {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()} - {
        "model-00001-of-00002.safetensors"
    }
    assert snapshot.is_relative_to(cache.hub)
    assert not person.home.exists()


def test_nothing_is_fetched_that_nobody_asked_for(cache, local_hub):
    with pytest.raises(IsolationError, match="MLXK2_BOOTSTRAP_INDEX=1"):
        cache.of_user(NAME)

    assert local_hub.requests() == []


def test_what_cannot_be_fetched_is_told(cache, monkeypatch):
    monkeypatch.setenv("MLXK2_BOOTSTRAP_INDEX", "1")
    with pytest.raises(IsolationError, match="acme/none cannot be fetched"):
        cache.of_user("acme/none")


@pytest.mark.parametrize(("strategy", "shards"), [("index_subset", 1), ("", 2)])
def test_of_a_model_that_the_user_has_the_strategy_says_how_much_comes(users, request, monkeypatch, strategy, shards):
    users.run("pull", NAME)
    monkeypatch.setenv("MLXK2_COPY_STRATEGY", strategy)
    snapshot = request.getfixturevalue("isolated_cache").of_user(NAME)

    assert len(list(snapshot.glob("*.safetensors"))) == shards
