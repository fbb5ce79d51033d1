"""Say of each model whether its files are whole, and everything that is wrong with them."""

from __future__ import annotations

import argparse
from typing import Any

from mlxk import views
from mlxk.library import Library
from mlxk.output import Result, Screen, plain, wrap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="", help="a part of the name in any case, name@revision, or a path with workspaces"
    )


def execute(arguments: argparse.Namespace) -> Result:
    entries = [views.health_entry(model) for model in Library.of_user().models(arguments.pattern)]
    healthy = [entry for entry in entries if entry["status"] == "healthy"]
    unhealthy = [entry for entry in entries if entry["status"] == "unhealthy"]
    summary = {"total": len(entries), "healthy_count": len(healthy), "unhealthy_count": len(unhealthy)}
    data = {"healthy": healthy, "unhealthy": unhealthy, "summary": summary}
    return Result(data, "" if arguments.json else _text(entries, summary, Screen.of_stdout()))


def _text(entries: list[dict[str, Any]], summary: dict[str, int], screen: Screen) -> str:
    lines = []
    if len(entries) != 1:
        lines.append("Summary: total {total}, healthy {healthy_count}, unhealthy {unhealthy_count}".format(**summary))
    return "\n".join(lines + [line for entry in entries for line in _judged(entry, screen)])


def _judged(entry: dict[str, Any], screen: Screen) -> list[str]:
    name, problems = plain(entry["name"]), entry["problems"]
    if not problems:
        return [f"{screen.paint('healthy  ', 'green')} {name} — all files are there and complete"]
    first = f"{screen.paint('unhealthy', 'red')} {name} — {len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return [first, *(line for found in problems for line in wrap(f"{found['code']}: {found['message']}", screen, "  "))]
