"""Measures every figure that this project promises, each beside its reference in the same run, and prints one table.

``make bench`` runs it; ``make bench ARGS="--only running --rounds 30"`` measures one family longer.
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
from dataclasses import asdict
from pathlib import Path

import rows
import tables
from figures import Row
from session import Session

FAMILIES = tuple(sorted(module.name for module in pkgutil.iter_modules(rows.__path__)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="pairs per figure (default: 15)")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=FAMILIES, help="these families of figures only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file too")
    arguments = parser.parse_args()
    measured: list[Row] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mlxk-bench-") as scratch:
        session = Session(arguments.rounds, Path(scratch))
        for family in arguments.only:
            print(f"measuring {family}", file=sys.stderr)
            try:
                measured.extend(importlib.import_module(f"rows.{family}").measure(session))
            except Exception as error:  # noqa: BLE001 - what one family lacks keeps no other from being measured
                failed.append(f"{family} was not measured to its end: {type(error).__name__}: {error}")
                traceback.print_exc()
    print("\n".join((tables.for_terminal(measured), *failed)))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in measured], indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
