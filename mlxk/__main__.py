"""``python -m mlxk`` is the console script."""

import sys

from mlxk.cli import main

sys.exit(main())
