"""``python benchmarks/tools/memmon.py -- COMMAND…``: samples memory, load and GPU while a command runs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qualification.report.memmon import main

raise SystemExit(main())
