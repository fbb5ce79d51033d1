"""The command ``verdict``: seals a bundle and judges it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from qualification import bundle, settings
from qualification.report import derived, markdown, terminal
from qualification.report.run import judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)


def run(arguments: argparse.Namespace) -> int:
    found = bundle.find(arguments.bundle)
    with bundle.claimed(found):
        bundle.forget_verdict(found)
        judged = judge(found)
        seal = derived.write(found, judged)
    summary = settings.step_summary()
    if summary:
        with summary.open("a", encoding="utf-8") as file:
            file.write(markdown.render(judged))
    print(terminal.render(judged.plan, judged.verdict, os.path.relpath(found.index), seal))
    return judged.verdict.exit_code
