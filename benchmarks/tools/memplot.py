"""``python benchmarks/tools/memplot.py memory.jsonl [benchmark.jsonl]``: draws memory over time, with the tests that ran."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qualification.report.memplot import main

raise SystemExit(main())
