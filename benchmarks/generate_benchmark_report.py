"""``python benchmarks/generate_benchmark_report.py [FILE] [--compare OLD] [--memory FILE]``: a report in Markdown."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from qualification.report.benchmark import main

raise SystemExit(main())
