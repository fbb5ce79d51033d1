"""The developer's store of baselines: what each model took on each device, and whether it now takes longer.

One JSON file holds one entry for each model and device, under ``<model>_<device>``; times in seconds, memory in megabytes.
It is changed under a lock and replaced as a whole, so that processes that update at a time lose nothing of each other's, and
nobody ever reads half of it. A file that cannot be understood or may not be written is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from qualification.errors import BaselineError

Entry = Mapping[str, Any]

LOWER_IS_BETTER = ("inference_time_mean", "inference_time_median", "inference_time_min", "memory_peak_mb")
"""What is held to the tolerance. The longest time is kept and not judged: it tells more of the machine than of the model."""


@dataclass(frozen=True, slots=True)
class Regression:
    """A figure that is beyond the tolerance; ``share`` of the baseline above it, 0.25 for a quarter."""

    figure: str
    baseline: float
    current: float

    @property
    def share(self) -> float:
        return self.current / self.baseline - 1

    def __str__(self) -> str:
        return f"{self.figure} {self.current:.4g} is {self.share:.0%} above its baseline {self.baseline:.4g}"


def key(model: str, device: str) -> str:
    return f"{model}_{device}"


def regressions(baseline: Entry, current: Entry, tolerance: float) -> tuple[Regression, ...]:
    """Figures of ``current`` that are more than ``tolerance`` (0.2 is a fifth) above those of ``baseline``.

    A figure that either lacks, or that is no number above zero in the baseline, is not judged.
    """
    judged = [name for name in LOWER_IS_BETTER if _is_figure(baseline.get(name)) and _is_figure(current.get(name))]
    found = [Regression(name, float(baseline[name]), float(current[name])) for name in judged]
    return tuple(each for each in found if each.share > tolerance)


def load(path: Path) -> dict[str, Entry]:
    """All entries; none where there is no file. Raises ``BaselineError`` for one that is not what it should be."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BaselineError(
            f"{path} cannot be read as baselines ({error}); mend it or delete it. It was left as it is"
        ) from error
    if not isinstance(document, dict) or not all(isinstance(entry, dict) for entry in document.values()):
        raise BaselineError(f"{path} holds no object of objects; mend it or delete it. It was left as it is")
    return document


def update(path: Path, name: str, entry: Entry) -> None:
    """Puts one entry in, and keeps all others as they are on disk at that moment. Raises ``BaselineError``."""
    try:
        with _locked(path.parent):
            entries = {**load(path), name: entry}
            _replace(path, json.dumps(entries, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise BaselineError(
            f"{path} cannot be written ({error.strerror or error}); make it and its folder writable. Nothing was changed"
        ) from error


def entry(seconds: Sequence[float], memory_peak_mb: float, device: str, now: datetime | None = None) -> dict[str, Any]:
    """The figures of one model on one device as they are stored. Raises ``ValueError`` where nothing was measured."""
    import statistics  # noqa: PLC0415 - every test process imports this module, and few measure

    if not seconds:
        raise ValueError("nothing was measured: there are no runs")
    return {
        "inference_time_mean": statistics.fmean(seconds),
        "inference_time_median": statistics.median(seconds),
        "inference_time_min": min(seconds),
        "inference_time_max": max(seconds),
        "memory_peak_mb": memory_peak_mb,
        "timestamp": (now or datetime.now(timezone.utc)).replace(tzinfo=None).isoformat(timespec="microseconds"),
        "device": device,
    }


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder itself, so that no lock file is left lying; the system frees it with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """The whole file at once. One that nobody may write is not replaced, though its folder would allow it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    if not mode & 0o222:
        raise PermissionError(13, "it is read-only")
    descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(written).chmod(mode)
        Path(written).replace(path)
    except BaseException:
        Path(written).unlink(missing_ok=True)
        raise
