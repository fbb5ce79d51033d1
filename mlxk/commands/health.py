"""Say of each model whether its files are whole, and everything that is wrong with them."""

from __future__ import annotations

import argparse

from mlxk import views
from mlxk.library import Library, Model
from mlxk.output import Result, Screen, plain, wrap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="", help="a part of the name in any case, name@revision, or a path with workspaces"
    )


def execute(arguments: argparse.Namespace) -> Result:
    models = list(Library.of_user().models(arguments.pattern))
    entries = [views.health_entry(model) for model in models]
    healthy = [entry for entry in entries if entry["status"] == "healthy"]
    unhealthy = [entry for entry in entries if entry["status"] == "unhealthy"]
    summary = {"total": len(entries), "healthy_count": len(healthy), "unhealthy_count": len(unhealthy)}
    data = {"healthy": healthy, "unhealthy": unhealthy, "summary": summary}
    return Result(data, "" if arguments.json else _text(models, Screen.of_stdout()))


def _text(models: list[Model], screen: Screen) -> str:
    healthy = sum(model.healthy for model in models)
    lines = []
    if len(models) != 1:
        lines.append(f"Summary: total {len(models)}, healthy {healthy}, unhealthy {len(models) - healthy}")
    for model in models:
        lines += _judged(model, screen)
    return "\n".join(lines)


def _judged(model: Model, screen: Screen) -> list[str]:
    name = plain(model.name)
    if model.healthy:
        return [f"{screen.paint('healthy  ', 'green')} {name} — all files are there and complete"]
    first = f"{screen.paint('unhealthy', 'red')} {name} — {len(model.problems)} problem{'s' if len(model.problems) > 1 else ''}"
    return [first, *(line for problem in model.problems for line in wrap(f"{problem.code}: {problem.message}", screen, "  "))]
