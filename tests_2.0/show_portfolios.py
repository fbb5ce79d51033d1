"""Prints the text, vision and audio portfolios of your cache: ``HF_HOME=/path/to/cache python tests_2.0/show_portfolios.py``."""

from __future__ import annotations

import sys

from qualification.errors import QualificationError
from qualification.plugin import models, portfolios

if __name__ == "__main__":
    try:
        print(portfolios.here(models.tool()))
    except QualificationError as error:
        sys.exit(f"show_portfolios: {error}")
