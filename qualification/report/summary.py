"""What test records amount to: when each test ran, and one row of figures for each model and modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from qualification import schemas
from qualification.report import spread
from qualification.report.spread import Spread

_Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model in one modality. ``ram_gb`` are the least and the most of the peaks of tests that it answered, in 10^9 bytes."""

    model: str
    size_gb: float | None
    mode: str
    tests: int
    seconds: float
    ram_gb: tuple[float, float] | None
    generation_tps: Spread | None
    prompt_tps: Spread | None
    first_token_s: Spread | None
    load_s: Spread | None
    real_time_factor: Spread | None


def window(record: _Record) -> tuple[float, float] | None:
    """Start and end in seconds since the epoch; of old records without times by ``timestamp``, which is the end, and duration."""
    if "test_start_ts" in record and "test_end_ts" in record:
        return record["test_start_ts"], record["test_end_ts"]
    if "duration" not in record:
        return None
    end = schemas.instant(record["timestamp"]).timestamp()
    return end - record["duration"], end


def modality(record: _Record) -> str:
    """``unknown`` for a record that does not say."""
    return str(record.get("metadata", {}).get("inference_modality", "unknown"))


def peak_gb(record: _Record) -> float | None:
    """The most memory that the test's processes held, by the best figure that the record has."""
    performance = record.get("performance", {})
    if "ram_peak_mb" in performance and "peak_ram_gb" not in performance:
        return float(performance["ram_peak_mb"]) / 1000
    found = performance.get("peak_ram_gb", performance.get("peak_memory_gb"))
    return None if found is None else float(found)


def measured(records: Iterable[_Record], key: str) -> list[float]:
    """All values of one figure of ``performance``; generation also under the name that old records have for it."""
    sections = [record.get("performance", {}) for record in records]
    if key == "generation_tps":
        sections = [{"generation_tps": section.get("tokens_per_sec"), **section} for section in sections]
    return [section[key] for section in sections if section.get(key) is not None]


def model_rows(records: Iterable[_Record]) -> list[ModelRow]:
    """One row for each model and modality, the largest model first."""

    def key(record: _Record) -> tuple[float, str, str]:
        model = record["model"]
        return -model.get("size_gb", 0), model["id"], modality(record)

    of_models = sorted((record for record in records if "model" in record), key=key)
    return [_row(list(group)) for _, group in groupby(of_models, key)]


def _row(records: Sequence[_Record]) -> ModelRow:
    asked = [record for record in records if record.get("performance", {}).keys() - {"peak_ram_gb"}]
    peaks = [peak for record in asked or records if (peak := peak_gb(record)) is not None]
    return ModelRow(
        model=records[0]["model"]["id"],
        size_gb=records[0]["model"].get("size_gb"),
        mode=modality(records[0]),
        tests=len(records),
        seconds=sum(record.get("duration", 0.0) for record in records),
        ram_gb=(min(peaks), max(peaks)) if peaks else None,
        generation_tps=spread.of(measured(records, "generation_tps")),
        prompt_tps=spread.of(measured(records, "prompt_tps")),
        first_token_s=spread.of(measured(records, "time_to_first_token_s")),
        load_s=spread.of(measured(records, "model_load_time_s")),
        real_time_factor=spread.of(measured(records, "real_time_factor")),
    )
