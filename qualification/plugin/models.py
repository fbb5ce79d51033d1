"""One test parameter for each model of the portfolio, and the fixtures that tell a test about its model.

In a cell the portfolio is the cell's one model, as the tool under test lists it. Elsewhere it is what ``mlxk list --json``
finds in the user's cache, else what is minted.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qualification import settings
from qualification.plugin.context import CELL

if TYPE_CHECKING:  # a test that needs no model imports nothing of this
    from qualification.declared import Modality
    from qualification.mint.catalog import KnownAnswer
    from qualification.portfolio import Model

_MINT_TIMEOUT_S = 300
_PORTFOLIO = pytest.StashKey["tuple[Model, ...]"]()
_NO_MODEL = "no-model"
_MODALITIES: tuple[Modality, ...] = ("text", "vision", "audio")


@dataclass(frozen=True, slots=True)
class ReportBenchmark:
    """Adds sections to a test's record."""

    sections: list[tuple[str, Any]]

    def __call__(self, **sections: Any) -> None:
        self.sections.extend(sections.items())


def tool() -> list[str]:
    """The command of the tool under test: the console script beside the running interpreter."""
    return [str(Path(sys.executable).with_name("mlxk"))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ids come from the model, so that they are stable when another model appears; the keys keep the order ``text_00`` …

    Without a model of its modality a test is still collected, so that its marks can deselect it; run in a cell, it fails.
    """
    for modality in _MODALITIES:
        if f"{modality}_model_key" in metafunc.fixturenames:
            models = _keyed(metafunc.config, modality)
            ids = [model.model_id for model in models.values()]
            metafunc.parametrize(f"{modality}_model_key", list(models) or [_NO_MODEL], ids=ids or [_NO_MODEL])


@pytest.fixture
def text_model_info(request: pytest.FixtureRequest, text_model_key: str) -> Model:
    """The text model of this test; marks the record as text inference on it."""
    return _told(request, "text", text_model_key)


@pytest.fixture
def vision_model_info(request: pytest.FixtureRequest, vision_model_key: str) -> Model:
    """The vision model of this test; marks the record as vision inference on it."""
    return _told(request, "vision", vision_model_key)


@pytest.fixture
def audio_model_info(request: pytest.FixtureRequest, audio_model_key: str) -> Model:
    """The speech model of this test; marks the record as audio inference on it."""
    return _told(request, "audio", audio_model_key)


@pytest.fixture
def text_portfolio(request: pytest.FixtureRequest) -> Mapping[str, Model]:
    """All text models of the portfolio by key."""
    return _keyed(request.config, "text")


@pytest.fixture
def vision_portfolio(request: pytest.FixtureRequest) -> Mapping[str, Model]:
    """All vision models of the portfolio by key."""
    return _keyed(request.config, "vision")


@pytest.fixture
def audio_portfolio(request: pytest.FixtureRequest) -> Mapping[str, Model]:
    """All speech models of the portfolio by key."""
    return _keyed(request.config, "audio")


@pytest.fixture
def text_known_answers(text_model_info: Model) -> tuple[KnownAnswer, ...]:
    """What a minted model was trained to say, exactly; empty for a model of the user's."""
    from qualification.mint.catalog import known_answers  # noqa: PLC0415 - only for tests over models

    return known_answers(text_model_info.model_id)


def _told(request: pytest.FixtureRequest, modality: Modality, key: str) -> Model:
    if key == _NO_MODEL and request.config.stash[CELL]:
        pytest.fail(
            f"there is no {modality} model to run this test on: give its group `for_each: portfolio.{modality}`", pytrace=False
        )
    if key == _NO_MODEL:
        pytest.skip(f"there is no {modality} model in {settings.hf_home()}")
    model = _keyed(request.config, modality)[key]
    variant = model.model_id.rpartition("/")[2]
    section = {
        "id": model.model_id,
        "size_gb": model.size_bytes / 1e9,
        "family": model.family,
        "variant": variant,
        "framework": "MLX",
    }
    request.node.user_properties += [("model", section), ("inference_modality", modality)]
    return model


def _keyed(config: pytest.Config, modality: Modality) -> dict[str, Model]:
    models = [model for model in _portfolio(config) if model.modality == modality]
    return {f"{modality}_{index:02d}": model for index, model in enumerate(models)}


def _portfolio(config: pytest.Config) -> tuple[Model, ...]:
    if _PORTFOLIO not in config.stash:
        cell = config.stash[CELL]
        config.stash[_PORTFOLIO] = _of_cell(cell.model) if cell else _of_user()
    return config.stash[_PORTFOLIO]


def _of_cell(model: Model | None) -> tuple[Model, ...]:
    """The cell's model, provided that the tool under test lists it as healthy, runnable and of this modality."""
    if model is None:
        return ()
    from qualification import portfolio  # noqa: PLC0415 - only for tests over models

    if refusal := mismatch(model, portfolio.resolve("discovered", portfolio.listed(tool(), settings.whole()))):
        raise pytest.UsageError(refusal)
    return (model,)


def mismatch(model: Model, found: Sequence[Model]) -> str:
    """Why none of ``found`` is the planned ``model``, or nothing; a minted one has its recipe's digest for a revision."""
    named = [each for each in found if each.model_id == model.model_id and each.modality == model.modality]
    if not named:
        listed = ", ".join(f"{each.model_id} ({each.modality})" for each in found) or "no runnable model"
        return f"`mlxk list --json` shows {listed}, and the cell is for {model.model_id} ({model.modality})"
    if model.origin == "minted" or any(each.revision == model.revision for each in named):
        return ""
    return (
        f"{model.model_id} is at revision {named[0].revision}, and the plan is for {model.revision}:"
        " it was pulled anew since; `make qualify` plans anew"
    )


def _of_user() -> tuple[Model, ...]:
    """What is in the user's cache, of whatever modalities; only where nothing is, what can be minted."""
    from qualification import portfolio  # noqa: PLC0415 - only for tests over models

    environment = {**settings.whole(), "HF_HOME": str(settings.hf_home())}
    chosen = portfolio.resolve("auto", portfolio.listed(tool(), environment))
    return tuple(model for model in chosen if model.origin != "minted") or chosen


def pytest_collection_finish(session: pytest.Session) -> None:
    """Mints what the tests that were chosen will ask for, and nothing for those that were not."""
    config = session.config
    if config.stash[CELL] or config.option.collectonly or _PORTFOLIO not in config.stash:
        return
    asked = {modality for item in session.items for modality in _MODALITIES if f"{modality}_model_key" in _fixtures(item)}
    wanted = [model.model_id for model in config.stash[_PORTFOLIO] if model.origin == "minted" and model.modality in asked]
    if wanted:
        home = settings.mint_root() / "home"
        chosen = [argument for model_id in wanted for argument in ("--model", model_id)]
        argv = [sys.executable, "-m", "qualification", "mint", *chosen, "--root", str(home)]
        subprocess.run(argv, check=True, timeout=_MINT_TIMEOUT_S, stdout=subprocess.DEVNULL)
        patch = pytest.MonkeyPatch()
        patch.setenv("HF_HOME", str(home))
        config.add_cleanup(patch.undo)


def _fixtures(item: pytest.Item) -> tuple[str, ...]:
    return tuple(getattr(item, "fixturenames", ()))
