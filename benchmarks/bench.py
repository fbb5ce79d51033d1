"""Measures every figure that this project promises, each beside its reference in the same run.

``make bench`` runs it: a table, and bench.json and bench.svg in reports/bench/. ``make bench ARGS="--only running --rounds 30"``
measures one family longer; ``make bench ARGS=--docs`` puts the table and the plot into docs/performance.md.
A bar that is missed is marked and fails nothing: time depends on the machine, so it is read by people.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import documents
import plots
import results
import rows
import simulate_gate
import tables
from figures import Row
from session import ROOT, Session

FAMILIES = tuple(sorted(module.name for module in pkgutil.iter_modules(rows.__path__)))
REPORTS = ROOT / "reports" / "bench"
DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> int:
    """Exit codes: 0 all was measured, 1 a family could not be, 2 usage."""
    arguments = _parser().parse_args()
    measured, failed = _measure(arguments.only, arguments.rounds)
    print("\n".join((tables.for_terminal(measured), *failed)))
    told = results.document(measured, failed, arguments.rounds)
    _write(told, measured, arguments)
    if arguments.docs:
        _document(told, measured)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=_rounds, default=15, help="pairs per figure, from 1 (default: 15)")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=FAMILIES, help="these families of figures only")
    parser.add_argument("--json", type=Path, default=REPORTS / "bench.json", metavar="FILE", help="every sample goes here")
    parser.add_argument("--plot", type=Path, default=REPORTS / "bench.svg", metavar="FILE", help=".svg, .png or .pdf")
    parser.add_argument("--docs", action="store_true", help="put table and plot into docs/performance.md")
    return parser


def _measure(families: Sequence[str], rounds: int) -> tuple[list[Row], list[str]]:
    """All rows, and which families were not measured to their end, with the reason."""
    measured: list[Row] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mlxk-bench-") as scratch:
        session = Session(rounds, Path(scratch))
        for family in families:
            print(f"measuring {family}", file=sys.stderr)
            try:
                measured.extend(importlib.import_module(f"rows.{family}").measure(session))
            except Exception as error:  # noqa: BLE001 - what one family lacks keeps no other from being measured
                failed.append(f"{family} was not measured to its end: {type(error).__name__}: {error}")
                traceback.print_exc()
    return measured, failed


def _write(told: dict[str, Any], measured: Sequence[Row], arguments: argparse.Namespace) -> None:
    for path in (arguments.json, arguments.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    plots.draw(measured, arguments.plot, results.described(told))
    print(f"\nsamples: {arguments.json}\nplot: {arguments.plot}")


def _document(told: dict[str, Any], measured: Sequence[Row]) -> None:
    missed = sum(row.met is False for row in measured)
    said = f"{results.described(told)}\n{told['rounds']} rounds; {missed} of {len(measured)} figures miss their bar."
    parts = (said, tables.for_markdown(measured), *(f"Not measured: {each}" for each in told["failed"]))
    documents.replace_part(DOCUMENT, "measured", "\n\n".join(parts))
    documents.replace_part(DOCUMENT, "simulated", simulate_gate.for_markdown(simulate_gate.simulate()))
    plots.draw(measured, DOCUMENT.with_suffix(".svg"), results.described(told))


def _rounds(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is no number of pairs; write 1 or more")
    return int(given)


if __name__ == "__main__":
    raise SystemExit(main())
