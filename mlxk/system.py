"""What the machine has."""

from __future__ import annotations

import os


def memory_total_bytes() -> int:
    """All of its memory. POSIX knows it in pages."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
