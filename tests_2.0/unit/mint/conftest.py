"""What the tests of the makers share: the minted models, from the user's own store, and a recipe that costs little."""

import dataclasses

import mlx.core as mx
import pytest

from qualification.mint import catalog, store


@pytest.fixture(scope="session")
def minted():
    """Three models by id; minted only where the store does not hold them yet. The others are verified when they are minted."""
    return {model.model_id: model for model in store.ensure(("mint/llama-tiny", "mint/qwen2-tiny", "mint/phi3-tiny"))}


@pytest.fixture(scope="session")
def small():
    """A real recipe with few answers, trained in well under a second, for tests that have to mint."""
    recipe = catalog.recipe("mint/phi3-tiny")
    chosen = tuple(known for known in recipe.known_answers if known.name in {"sum", "sky"})
    shape = dataclasses.replace(recipe.shape, vocab_size=280)
    parameters = recipe.parameters - 2 * (recipe.shape.vocab_size - 280) * shape.hidden_size
    return dataclasses.replace(
        recipe, model_id="mint/small", known_answers=chosen, known_completions=(), shape=shape, parameters=parameters
    )


@pytest.fixture(scope="session", autouse=True)
def unfused():
    """MLX calls a compiler otherwise, and leaves what it made in the temporary directory."""
    mx.disable_compile()
