"""List the models in the Hugging Face cache: those that are whole and runnable, or all of them."""

from __future__ import annotations

import argparse

from mlxk import settings
from mlxk.compatibility import MlxLm
from mlxk.library import Library, Model
from mlxk.output import Result, table
from mlxk.views import age, kind, model_object, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="", help="a part of the name, in any case")
    parser.add_argument("--all", action="store_true", help="also models that are not whole or do not run, with the reason")


def execute(arguments: argparse.Namespace) -> Result:
    library = Library(settings.hub_cache(), MlxLm.installed())
    models = list(library.models(arguments.pattern))
    data = {"models": [model_object(model) for model in models], "count": len(models)}
    return Result(data, _text(models, show_all=arguments.all))


def _text(models: list[Model], *, show_all: bool) -> str:
    shown = models if show_all else [model for model in models if model.runnable]
    hidden = len(models) - len(shown)
    header = ("Name", "Hash", "Size", "Modified", "Type") + (("Framework", "Health", "Reason") if show_all else ())
    lines = [table(header, [_row(model, show_all=show_all) for model in shown])] if shown else ["No model to show."]
    if hidden:
        lines.append(f"{hidden} more not whole or not runnable; `mlxk list --all` says why.")
    return "\n".join(lines)


def _row(model: Model, *, show_all: bool) -> tuple[str, ...]:
    row = (
        model.name,
        (model.snapshot.commit or "-")[:7],
        size(model.contents.size_bytes),
        age(model.contents.modified_s),
        kind(model),
    )
    if not show_all:
        return row
    return (*row, model.description.framework, "healthy" if model.healthy else "unhealthy", model.reason or "-")
