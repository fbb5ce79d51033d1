"""The benchmarks' own modules, which are scripts beside each other and no package."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def benchmark_module(monkeypatch):
    """``benchmark_module("figures")``: a module of ``benchmarks/``."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    return importlib.import_module
