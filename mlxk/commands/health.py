"""Say of each model whether its files are whole, and everything that is wrong with them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from mlxk import views
from mlxk.library import Library, Model
from mlxk.output import Result, Screen, plain, wrap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="", help="a part of the name in any case, name@revision, or a path with workspaces"
    )
    parser.add_argument(
        "--verify", action="store_true", help="also read every file, and compare its hash with the Hub's; offline"
    )


def execute(arguments: argparse.Namespace) -> Result:
    judge = _verified if arguments.verify else views.health_entry
    entries = [judge(model) for model in Library.of_user().models(arguments.pattern)]
    healthy = [entry for entry in entries if entry["status"] == "healthy"]
    unhealthy = [entry for entry in entries if entry["status"] == "unhealthy"]
    summary = {"total": len(entries), "healthy_count": len(healthy), "unhealthy_count": len(unhealthy)}
    data = {"healthy": healthy, "unhealthy": unhealthy, "summary": summary}
    return Result(data, "" if arguments.json else _text(entries, summary, Screen.of_stdout()))


def _verified(model: Model) -> dict[str, Any]:
    from mlxk import verification  # noqa: PLC0415 - hashing is for those who ask for it

    found = verification.verify(model)
    judged = dataclasses.replace(model, problems=(*model.problems, *found.problems))
    return {**views.health_entry(judged), "verified": {"files": found.files, "unknown": found.unknown}}


def _text(entries: list[dict[str, Any]], summary: dict[str, int], screen: Screen) -> str:
    lines = []
    if len(entries) != 1:
        lines.append("Summary: total {total}, healthy {healthy_count}, unhealthy {unhealthy_count}".format(**summary))
    return "\n".join(lines + [line for entry in entries for line in _judged(entry, screen)])


def _judged(entry: dict[str, Any], screen: Screen) -> list[str]:
    name, problems = plain(entry["name"]), entry["problems"]
    if not problems:
        return [f"{screen.paint('healthy  ', 'green')} {name} — all files are there and complete{_hashed(entry)}"]
    first = f"{screen.paint('unhealthy', 'red')} {name} — {len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return [first, *(line for found in problems for line in wrap(f"{found['code']}: {found['message']}", screen, "  "))]


def _hashed(entry: dict[str, Any]) -> str:
    counts = entry.get("verified")
    if counts is None:
        return ""
    beside = f", and of {counts['unknown']} nobody here knows it" if counts["unknown"] else ""
    return f"; {counts['files']} have the hash that the Hub published{beside}"
