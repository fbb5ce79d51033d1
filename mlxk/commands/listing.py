"""List the models of the Hugging Face cache and your workspaces: those that are whole and run here, or all of them."""

from __future__ import annotations

import argparse
from typing import Any

from mlxk import system, views
from mlxk.library import Library, Model
from mlxk.output import Result, Row, Screen, table, wrap
from mlxk.workspace import is_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="", help="a part of the name in any case, name@revision, or a path with workspaces"
    )
    parser.add_argument("--all", action="store_true", help="also models that are not whole or do not run")
    parser.add_argument("--health", action="store_true", help="whether the files are whole")
    parser.add_argument("--verbose", action="store_true", help="names in full and the framework; with --health, every reason")


def execute(arguments: argparse.Namespace) -> Result:
    screen = Screen.of_stdout()
    objects: list[dict[str, Any]] = []
    rows: list[Row] = []
    for model in Library.of_user().models(arguments.pattern):  # one at a time: a thousand configurations fill the memory
        objects.append(views.model_object(model))
        if is_path(arguments.pattern):
            objects[-1]["display_name"] = views.display_name(model, in_full=arguments.pattern.startswith("/"))
        if not arguments.json and (arguments.all or model.runnable):
            rows.append(_row(model, objects[-1], arguments))
    data = {"models": objects, "count": len(objects), "system": {"memory_total_bytes": system.memory_total_bytes()}}
    return Result(data, "" if arguments.json else _text(rows, len(objects) - len(rows), arguments, screen))


def _text(rows: list[Row], hidden: int, arguments: argparse.Namespace, screen: Screen) -> str:
    lines = [table(_header(arguments), rows, screen)] if rows else ["No model to show."]
    if hidden:
        lines += wrap(f"{hidden} more not whole or not runnable; `mlxk list --all --health` shows which.", screen, "")
    return "\n".join(lines)


def _header(arguments: argparse.Namespace) -> tuple[str, ...]:
    header = ["Name", "Hash", "Size", "Modified", "Src", "Type"]
    if arguments.all or arguments.verbose:
        header[5:5] = ["Framework"]
    if arguments.health:
        header += ["Integrity", "Runtime"] if arguments.verbose else ["Health"]
    return tuple(header)


def _row(model: Model, entry: dict[str, Any], arguments: argparse.Namespace) -> Row:
    word, colour = views.health(model)
    cells = {
        "Name": views.display_name(model, in_full=arguments.verbose),
        "Hash": views.short_hash(model, entry["content_hash"]),
        "Size": views.size(model.contents.size_bytes),
        "Modified": views.age(model.contents.modified_s),
        "Src": views.source(model, entry["clean"]),
        "Framework": model.description.framework,
        "Type": views.kind(model),
        "Health": word,
        "Integrity": word.rstrip("*"),
        "Runtime": ("yes" if model.runnable else "no") if model.healthy else "-",
    }
    note = _reasons(model) if arguments.health and arguments.verbose else None
    return Row(tuple(cells[name] for name in _header(arguments)), colour if arguments.health else None, note)


def _reasons(model: Model) -> str | None:
    """All that is wrong with the files; if nothing is, what is in the way of running it."""
    return " ".join(problem.message for problem in model.problems) or model.obstacle
