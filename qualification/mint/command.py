"""The sub-command ``mint``: makes the tiny models, lists them, and puts them where the tool finds them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qualification.errors import QualificationError, UsageError
from qualification.mint import catalog, store, together
from qualification.mint.recipe import Recipe

if TYPE_CHECKING:
    from qualification.mint.train import Step


_SETS = ("default", "pathology")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m qualification mint``."""
    parser.description = "Make tiny but real models, trained here in seconds, for tests that need no download."
    parser.add_argument("--list", action="store_true", help="show what can be minted, and what is")
    parser.add_argument("--set", choices=_SETS, help="only this set: models that behave, or that misbehave")
    parser.add_argument("--family", metavar="F", help=f"only this family: {', '.join(catalog.families())}")
    parser.add_argument("--model", metavar="ID", action="append", help="only this model; repeatable")
    parser.add_argument("--root", metavar="DIR", type=Path, help="Hugging Face home to put the models in (DIR/hub)")
    parser.add_argument("--json", action="store_true", help="write one JSON object, also on failure")


def run(args: argparse.Namespace) -> int:
    """Do what the options say; the exit code. Without ``--json``, errors are left to the caller to report."""
    try:
        chosen = _chosen(args)
        if args.list:
            print(_listing_json(chosen) if args.json else _listing(chosen))
        else:
            _make_together(chosen)
            made = [_make(recipe, args.root) for recipe in chosen]
            print(json.dumps({"models": made}, indent=2) if args.json else _paths(made))
    except QualificationError as error:
        if not args.json:
            raise
        print(json.dumps({"error": str(error)}))
        return error.exit_code
    return 0


def _chosen(args: argparse.Namespace) -> tuple[Recipe, ...]:
    """What was asked for; with no word about it, everything is listed, and the models that behave are minted."""
    chosen = tuple(catalog.recipe(model_id) for model_id in args.model or ()) or (*catalog.recipes(), *catalog.pathologies())
    if args.family:
        valid = {recipe.family for recipe in catalog.recipes_of(args.family)}
        chosen = tuple(recipe for recipe in chosen if recipe.family in valid)
    wanted = args.set or (None if args.list or args.model else "default")
    chosen = tuple(recipe for recipe in chosen if wanted in {None, catalog.set_of(recipe.model_id)})
    if not chosen:
        raise UsageError("No minted model is all that at once; `mint --list` shows the set and the family of each.")
    return chosen


def _make_together(chosen: Sequence[Recipe]) -> None:
    line = _Line() if sys.stderr.isatty() else None
    try:
        together.make(chosen, line.show if line is not None else lambda text: None)
    finally:
        if line is not None:
            line.clear()


def _make(recipe: Recipe, hf_home: Path | None) -> dict[str, object]:
    progress = _Line() if sys.stderr.isatty() else None
    try:
        minted = store.ensure_recipe(recipe, progress=progress)
        path = minted.snapshot if hf_home is None else store.install(recipe.model_id, hf_home)
    finally:
        if progress is not None:
            progress.clear()
    return {
        "model": recipe.model_id,
        "family": recipe.family,
        "path": str(path),
        "revision": minted.revision,
        "size_bytes": minted.size_bytes,
        "margin": minted.margin,
    }


class _Line:
    """One line on the terminal that follows the training and disappears with it."""

    def __call__(self, step: Step) -> None:
        self.show(f"{step.model_id}: step {step.number}, loss {step.loss:.4f}, margin {step.margin:.1f}")

    def show(self, text: str) -> None:
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()

    def clear(self) -> None:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()


def _listing(chosen: Sequence[Recipe]) -> str:
    head = ("MODEL", "SET", "FAMILY", "PARAMETERS", "SIZE", "SHARDS", "KNOWN ANSWERS", "MINTED")
    rows = [
        (
            recipe.model_id,
            catalog.set_of(recipe.model_id),
            recipe.family,
            f"{recipe.parameters:,}",
            f"{_size_bytes(recipe) / 1e3:.0f} kB",
            str(recipe.shards),
            str(len(recipe.known_answers)),
            "no" if store.find(recipe) is None else "yes",
        )
        for recipe in chosen
    ]
    return _table((head, *rows), right_aligned=(3, 4, 5, 6))


def _listing_json(chosen: Sequence[Recipe]) -> str:
    models = []
    for recipe in chosen:
        minted = store.find(recipe)
        models.append(
            {
                "model": recipe.model_id,
                "set": catalog.set_of(recipe.model_id),
                "family": recipe.family,
                "parameters": recipe.parameters,
                "size_bytes": _size_bytes(recipe),
                "shards": recipe.shards,
                "known_answers": [known.name for known in recipe.known_answers],
                "known_completions": [known.name for known in recipe.known_completions],
                "path": None if minted is None else str(minted.snapshot),
            }
        )
    return json.dumps({"models": models}, indent=2)


def _size_bytes(recipe: Recipe) -> int:
    """As measured where the model is minted, else as declared."""
    minted = store.find(recipe)
    return recipe.size_bytes if minted is None else minted.size_bytes


def _paths(made: Sequence[dict[str, object]]) -> str:
    return _table([(str(model["model"]), str(model["path"])) for model in made])


def _table(rows: Sequence[tuple[str, ...]], right_aligned: tuple[int, ...] = ()) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if at in right_aligned else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
