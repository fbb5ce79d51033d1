"""Several models made at the same time: training one takes one core, so each has a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from qualification import waiting
from qualification.errors import MintError
from qualification.mint import store
from qualification.mint.recipe import Recipe

_TIMEOUT_S = 600.0


def make(recipes: Iterable[Recipe], tell: Callable[[str], None], timeout_s: float = _TIMEOUT_S) -> None:
    """Mint what the store lacks, if it is more than one model and there are cores for it; else nothing is done.

    Raises the first ``MintError``, also where one model takes longer than ``timeout_s``, and begins nothing after it. ``tell``
    is told how far it is.
    """
    missing = sorted((recipe for recipe in recipes if store.find(recipe) is None), key=_cost, reverse=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if min(len(missing), cores) < 2:
        return
    makers = _Makers(timeout_s)
    with ThreadPoolExecutor(min(len(missing), cores)) as threads:
        try:
            ends = [threads.submit(makers.make, recipe.model_id) for recipe in missing]
            for count, end in enumerate(waiting.as_ended(ends), start=1):
                end.result()
                tell(f"{count} of {len(missing)} models are minted")
        finally:  # also where a person interrupts
            threads.shutdown(wait=False, cancel_futures=True)
            makers.stop()


def _cost(recipe: Recipe) -> tuple[int, bool, int]:
    """The dearest first, so that all cores end together."""
    return {"audio": 2, "vision": 1, "text": 0}[recipe.modality], recipe.quantization is not None, recipe.size_bytes


class _Makers:
    """The processes that make models; none begins once they were stopped."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def make(self, model_id: str) -> None:
        argv = [sys.executable, "-m", "qualification", "mint", "--model", model_id, "--json"]
        with self._lock:
            if self._stopped:
                return
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self._running.add(process)
        try:
            out, complaint = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise MintError(f"{model_id} was not minted within {self._timeout_s:g} s.") from error
        finally:
            with self._lock:
                self._running.remove(process)
        if process.returncode != 0:
            raise MintError(_reason(out) or f"{model_id} could not be minted: {' '.join(complaint.split()[-30:])}")

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def _reason(out: str) -> str:
    try:
        return str(json.loads(out)["error"])
    except (ValueError, LookupError, TypeError):
        return ""
