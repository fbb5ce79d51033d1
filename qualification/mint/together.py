"""Several models made at the same time: training one takes one core, so each has a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

from qualification.errors import MintError
from qualification.mint import store
from qualification.mint.recipe import Recipe

_TIMEOUT_S = 600.0


def make(recipes: Iterable[Recipe], tell: Callable[[str], None]) -> None:
    """Mint what the store lacks, if it is more than one model and there are cores for it; else nothing is done.

    Raises the first ``MintError``, and begins nothing after it. ``tell`` is told how far it is.
    """
    missing = sorted((recipe for recipe in recipes if store.find(recipe) is None), key=_cost, reverse=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if min(len(missing), cores) < 2:
        return
    running: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(min(len(missing), cores)) as threads:
        makers = [threads.submit(_make, recipe.model_id, running) for recipe in missing]
        try:
            for count, maker in enumerate(as_completed(makers), start=1):
                maker.result()
                tell(f"{count} of {len(missing)} models are minted")
        finally:  # also where a person interrupts
            threads.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()


def _cost(recipe: Recipe) -> tuple[int, bool, int]:
    """The dearest first, so that all cores end together."""
    return {"audio": 2, "vision": 1, "text": 0}[recipe.modality], recipe.quantization is not None, recipe.size_bytes


def _make(model_id: str, running: list[subprocess.Popen[str]]) -> None:
    argv = [sys.executable, "-m", "qualification", "mint", "--model", model_id, "--json"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        running.append(process)
        out, complaint = process.communicate(timeout=_TIMEOUT_S)
    if process.returncode != 0:
        raise MintError(_reason(out) or f"{model_id} could not be minted: {' '.join(complaint.split()[-30:])}")


def _reason(out: str) -> str:
    try:
        return str(json.loads(out)["error"])
    except (ValueError, LookupError, TypeError):
        return ""
