"""Reads a matrix file into a checked, frozen declaration, or one sentence with file, line and nearest valid name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from qualification import units
from qualification.declared import DEFAULT_MEMORY_BYTES, Group, Matrix, Metric, Modality, Portfolio, Quarantined, Require, Tier
from qualification.document import Document
from qualification.errors import nearest

_DEFAULT_TIMEOUT_S = 600.0


def load(path: Path) -> Matrix:
    """Reads and checks ``path``; raises MatrixError naming the first wrong line."""
    document = Document(path, "matrix")
    listed = _quarantine(document)
    sha256 = _together([document.sha256, *([listed.sha256] if listed else ())])
    quarantine = tuple(Quarantined(**entry) for entry in listed.data["tests"]) if listed else ()
    matrix = _build(path.stem, sha256, document.data, quarantine)
    _check_references(document, matrix)
    return matrix


def reader_of_sha256(path: Path) -> Callable[[], str]:
    """Reads ``path`` once for what belongs to it; what is returned tells the ``sha256`` of its matrix as it now is."""
    document = Document(path, "matrix")
    listed = _quarantine(document)
    files = [each.path for each in (document, listed) if each]
    return lambda: _together([hashlib.sha256(file.read_bytes() if file.is_file() else b"").hexdigest() for file in files])


def _together(hashes: Sequence[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _quarantine(document: Document) -> Document | None:
    """The file that the matrix names, beside it."""
    name = document.data.get("quarantine")
    if name is None:
        return None
    path = document.path.parent / name
    if not path.is_file():
        there = (other.name for other in path.parent.glob("*.yaml"))
        document.refuse(("quarantine",), f"there is no {name!r} beside the matrix{nearest(name, there)}")
    return Document(path, "quarantine")


def _build(name: str, sha256: str, data: dict[str, Any], quarantine: tuple[Quarantined, ...]) -> Matrix:
    tiers = tuple(
        sorted(
            (
                Tier(
                    name=tier,
                    ram_bytes=units.parse_bytes(entry["ram"]),
                    text_budget=units.parse_share(entry["text_budget"]),
                    vision_limit=units.parse_share(entry["vision_limit"]),
                    audio_floor_bytes=units.parse_bytes(entry["audio_floor"]),
                )
                for tier, entry in data["tiers"].items()
            ),
            key=lambda tier: tier.ram_bytes,
        )
    )
    required = data["require"]
    portfolio = data.get("portfolio", {})
    pythons = tuple(data["pythons"])
    return Matrix(
        name=name,
        about=data["about"],
        sha256=sha256,
        pythons=pythons,
        dependencies=tuple(data.get("dependencies", ["locked"])),
        tiers=tiers,
        source=portfolio.get("source", "auto"),
        groups=tuple(_group(group, entry) for group, entry in data["groups"].items()),
        require=Require(
            pythons=pythons if required["pythons"] == "all" else tuple(required["pythons"]),
            tiers=tuple(required["tiers"]),
            groups=tuple(required.get("groups", data["groups"])),
            families=tuple(
                (modality, int(re.sub(r"[^0-9]", "", required[modality])))
                for modality in cast("tuple[Modality, ...]", ("text", "vision", "audio"))
                if modality in required
            ),
            flaky=required.get("flaky", 0),
        ),
        minted=tuple(portfolio["minted"]) if "minted" in portfolio else None,
        quarantine=quarantine,
    )


def _group(name: str, entry: dict[str, Any]) -> Group:
    return Group(
        name=name,
        process=entry["process"],
        tests=tuple(entry["tests"]),
        marks=entry.get("marks"),
        for_each=cast("Portfolio | None", entry["for_each"].removeprefix("portfolio.") if "for_each" in entry else None),
        over=tuple(entry.get("over", [])),
        gate=entry["gate"],
        timeout_s=units.parse_seconds(entry["timeout"]) if "timeout" in entry else _DEFAULT_TIMEOUT_S,
        cpu=entry.get("cpu", False),
        memory_bytes=units.parse_bytes(entry["memory"]) if "memory" in entry else DEFAULT_MEMORY_BYTES,
        reruns=entry.get("reruns", 0),
        needs=tuple(entry.get("needs", ())),
        exclusive=entry.get("exclusive", False),
        metrics=tuple(
            Metric(metric, units.parse_share(bounds["tolerance"]), units.parse_share(bounds["margin"]))
            for metric, bounds in entry.get("metrics", {}).items()
        ),
    )


def _check_references(document: Document, matrix: Matrix) -> None:
    tiers = {tier.name for tier in matrix.tiers}
    for index, tier in enumerate(matrix.require.tiers):
        if tier != "this" and tier not in tiers:
            document.refuse(
                ("require", "tiers", index), f"{tier!r} is not a tier of this matrix{nearest(tier, tiers | {'this'})}"
            )
    for index, python in enumerate(matrix.require.pythons):
        if python not in matrix.pythons:
            document.refuse(
                ("require", "pythons", index), f"Python {python!r} is not in 'pythons'{nearest(python, matrix.pythons)}"
            )
    groups = {group.name for group in matrix.groups}
    for index, group in enumerate(matrix.require.groups):
        if group not in groups:
            document.refuse(("require", "groups", index), f"{group!r} is not a group of this matrix{nearest(group, groups)}")
    _check_consistency(document, matrix)


def _check_metrics(document: Document, group: Group) -> None:
    where = ("groups", group.name)
    if group.for_each == "perf" and not group.metrics:
        document.refuse(where, "a group that runs for_each: portfolio.perf lacks 'metrics', which say what it compares")
    if group.metrics and group.for_each != "perf":
        document.refuse((*where, "metrics"), "'metrics' belong to a group that runs for_each: portfolio.perf")
    if group.metrics and not group.exclusive:
        document.refuse((*where, "metrics"), "a group with 'metrics' is exclusive: others would disturb what it measures")
    for metric in group.metrics:
        if metric.tolerance >= metric.margin:
            sentence = "'tolerance', beyond which it fails, must be less than 'margin', within which it passes"
            document.refuse((*where, "metrics", metric.name), sentence)


def _check_consistency(document: Document, matrix: Matrix) -> None:
    """Nothing contradicts itself, and every requirement can be met by some cell."""
    for left, right in pairwise(matrix.tiers):
        if left.ram_bytes == right.ram_bytes:
            document.refuse(
                ("tiers", right.name), f"{right.name!r} has the memory of {left.name!r}, and a machine is in one tier only"
            )
    for each in matrix.groups:
        if each.cpu and each.for_each:
            document.refuse(("groups", each.name, "cpu"), "a group that runs models cannot be cpu: models share one memory")
        _check_metrics(document, each)
        if each.cpu and each.exclusive:
            document.refuse(
                ("groups", each.name, "exclusive"), "a group is exclusive or cpu: cells of cpu groups run beside each other"
            )
    axes = {axis for group in matrix.groups for axis in group.over}
    if "python" not in axes and set(matrix.require.pythons) - {matrix.pythons[-1]}:
        document.refuse(("require", "pythons"), "no group runs over: [python], so only the last of 'pythons' can be met")
    if "tier" not in axes and set(matrix.require.tiers) - {"this"}:
        document.refuse(("require", "tiers"), "no group runs over: [tier], so only 'this' can be met")
    covered = {group.for_each for group in matrix.groups}
    for modality, _ in matrix.require.families:
        if modality not in covered:
            document.refuse(("require", modality), f"no group runs for_each: portfolio.{modality}, so nothing can meet this")
