"""What making a model takes, for each modality: the files of its repository, and a check of what is written.

Only the makers of the modality asked for are imported, with the ML libraries that they need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qualification.errors import MintError
from qualification.mint.hearing import SpeechRecipe
from qualification.mint.recipe import Recipe
from qualification.mint.seeing import VisionRecipe

if TYPE_CHECKING:
    from qualification.mint.train import Step

Progress = Callable[["Step"], None]


@dataclass(frozen=True, slots=True)
class Made:
    """``verify`` gives the smallest margin of the model in a snapshot, or raises ``MintError``."""

    files: tuple[tuple[str, bytes], ...]
    steps: int
    verify: Callable[[Path], float]


def make(recipe: Recipe, workspace: Path, progress: Progress | None) -> Made:
    """Train a model by its recipe; ``workspace`` is an empty directory that may be written into."""
    if isinstance(recipe, VisionRecipe):
        return _vision(recipe, workspace, progress)
    if isinstance(recipe, SpeechRecipe):
        return _speech(recipe, workspace, progress)
    return _text(recipe, workspace, progress)


def _text(recipe: Recipe, workspace: Path, progress: Progress | None) -> Made:
    from qualification.mint import repository, tokenizer, train, verify  # noqa: PLC0415 -- ML libraries, needed here only

    words = tokenizer.build(recipe)
    rows = tokenizer.rows(recipe, words)
    trained = train.train(recipe, rows, repository.config(recipe, words), progress)
    files = repository.files(recipe, words, trained, workspace)
    return Made(files, trained.last.number, lambda snapshot: verify.verify(recipe, rows, snapshot))


def _vision(recipe: VisionRecipe, workspace: Path, progress: Progress | None) -> Made:
    try:
        from qualification.mint import repository_vision, tokenizer, train_vision, verify_vision  # noqa: PLC0415
    except ImportError as error:
        raise MintError(
            f"{recipe.model_id} is minted with mlx-vlm ({error}); install this project with its extra `vision`."
        ) from error
    words = tokenizer.build(recipe)
    settings = repository_vision.config(recipe, words)
    folder = workspace / "processor"
    folder.mkdir()
    for name, content in repository_vision.processor_files(recipe, words, settings):
        (folder / name).write_bytes(content)
    asked = train_vision.questions(recipe, settings, folder)
    trained = train_vision.train(recipe, asked, settings, folder, progress)
    files = repository_vision.files(recipe, words, trained, workspace)
    return Made(files, trained.last.number, lambda snapshot: verify_vision.verify(recipe, snapshot))


def _speech(recipe: SpeechRecipe, workspace: Path, progress: Progress | None) -> Made:
    try:
        from qualification.mint import repository_speech, tokenizer, train_speech, verify_speech  # noqa: PLC0415
    except ImportError as error:
        raise MintError(f"{recipe.model_id} is minted with mlx-audio ({error}); install this project's extra `audio`.") from error
    words = repository_speech.build_tokenizer(recipe)
    asked = train_speech.sentences(
        recipe, lambda text: list(words.encode(text, add_special_tokens=False).ids), lambda name: tokenizer.token_id(words, name)
    )
    trained = train_speech.train(recipe, asked, repository_speech.config(recipe, words), progress)
    files = repository_speech.files(recipe, words, trained, workspace)
    return Made(files, trained.last.number, lambda snapshot: verify_speech.verify(recipe, asked, snapshot))
