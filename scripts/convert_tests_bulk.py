"""Converts legacy ``test_hf_*.py`` scripts: a front door to ``qualification.conversion``, which has the work."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from qualification.conversion.command import main

if __name__ == "__main__":
    raise SystemExit(main())
