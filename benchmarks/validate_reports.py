"""``python benchmarks/validate_reports.py FILE…``: holds each record against the schema that it names; exit 1 if one is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from qualification.cli import main

raise SystemExit(main(["report", "validate", *sys.argv[1:]]))
