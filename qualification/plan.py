"""Expands a matrix into the frozen list of cells that a run must account for; the same inputs give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any, cast

from qualification import portfolio, schemas
from qualification.declared import (
    DEFAULT_MEMORY_BYTES,
    Gate,
    Group,
    Matrix,
    Metric,
    Modality,
    Need,
    Process,
    Quarantined,
    Tier,
)
from qualification.errors import BundleError, UsageError, nearest
from qualification.portfolio import Model


@dataclass(frozen=True, slots=True)
class Cell:
    """Group × environment × model: the unit that is gated, run in a process of its own, and judged."""

    id: str
    group: str
    process: Process
    gate: Gate
    tests: tuple[str, ...]
    marks: str | None
    timeout_s: float
    python: str
    dependencies: str
    tier: str | None
    model: Model | None
    cpu: bool = False
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    reruns: int = 0
    needs: tuple[Need, ...] = ()
    exclusive: bool = False
    metrics: tuple[Metric, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """What it can be called by: its id, group, environment and model."""
        names = {self.id, self.group, self.environment}
        return frozenset(names | {self.model.model_id} if self.model else names)

    @property
    def beside(self) -> bool:
        """Whether it may run beside others: it needs no model, or one that was minted, whose megabytes no other cell misses."""
        light = self.cpu or (self.model is not None and self.model.origin == "minted")
        return light and not self.exclusive

    @property
    def environment(self) -> str:
        """``py312-locked``: the environment that the cell shares with others of its Python and dependency set."""
        return environment_id(self.python, self.dependencies)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Hashes of everything that a result depends on; a run is resumed or merged only where they agree."""

    matrix_sha256: str
    tests_sha256: str
    constraints_sha256: str | None
    wheel: str | None
    wheel_sha256: str | None
    base: str | None = None
    """The wheel of the release before, where speed is compared with it."""
    base_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Required:
    """The matrix's ``require`` with ``this`` replaced by the tier planned for."""

    pythons: tuple[str, ...]
    tiers: tuple[str, ...]
    groups: tuple[str, ...]
    families: tuple[tuple[Modality, int], ...]
    flaky: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A group of the matrix that has no cell, because there is nothing that it could show."""

    group: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run must account for, cell by cell."""

    matrix: str
    about: str
    tier: str
    tiers: tuple[Tier, ...]
    inputs: Inputs
    required: Required
    cells: tuple[Cell, ...]
    quarantine: tuple[Quarantined, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def environments(self) -> tuple[str, ...]:
        """Ids of the environments that the cells need, in the order of the matrix."""
        return tuple(dict.fromkeys(cell.environment for cell in self.cells))


def environment_id(python: str, dependencies: str) -> str:
    """``3.12`` and ``locked`` make ``py312-locked``."""
    return f"py{python.replace('.', '')}-{dependencies}"


def expand(matrix: Matrix, models: Sequence[Model], tier: str, inputs: Inputs, first: str = "") -> Plan:
    """All cells of the matrix for a machine of ``tier``, in the order of the matrix.

    A group that is not ``over: [python]`` runs on the matrix's last Python, one that is not over ``dependencies`` on the first
    dependency set; one that is not over ``tier`` is owed once, on any machine.
    ``first`` says, where no release came before this one, that it is so: what would be compared with it is left out.
    """
    tiers = tuple(dict.fromkeys(tier if name == "this" else name for name in matrix.require.tiers))
    left_out = tuple(LeftOut(group.name, first) for group in matrix.groups if group.metrics and first)
    without = {each.group for each in left_out}
    cells = [cell for group in matrix.groups if group.name not in without for cell in _cells(matrix, group, models, tiers)]
    asked = matrix.require
    groups = tuple(group for group in asked.groups if group not in without)
    required = Required(asked.pythons, tiers, groups, asked.families, asked.flaky)
    return Plan(matrix.name, matrix.about, tier, matrix.tiers, inputs, required, tuple(cells), matrix.quarantine, left_out)


def select(plan: Plan, only: Iterable[str]) -> frozenset[str]:
    """Ids of the cells that ``only`` names by id, group, environment or model. Raises UsageError for a name of nothing."""
    chosen: set[str] = set()
    names = {name for cell in plan.cells for name in cell.names}
    for wanted in only:
        found = {cell.id for cell in plan.cells if wanted in cell.names}
        if not found:
            raise UsageError(f"--only {wanted}: no cell, group, environment or model of this plan{nearest(wanted, names)}")
        chosen |= found
    return frozenset(chosen)


def freeze(plan: Plan) -> bytes:
    """Canonical JSON: sorted keys, one cell (or tier, or entry of a quarantine) a line, one final newline."""
    document = {"plan": 1, **_fields(plan)}
    lines = (
        f" {_encode(name)}: {_lines(value) if isinstance(value, tuple) else _encode(value)}"
        for name, value in sorted(document.items())
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8")


def thaw(content: bytes) -> Plan:
    """The plan that ``freeze`` wrote. Raises BundleError where the bytes are not one."""
    try:
        document = schemas.parse(content)
    except ValueError as error:
        raise BundleError(f"plan.json is not JSON ({error}); run `make plan` again") from error
    wrong = schemas.violations("plan", document)
    if wrong:
        raise BundleError(f"plan.json does not follow its schema: {wrong[0]}")
    return Plan(
        matrix=document["matrix"],
        about=document["about"],
        tier=document["tier"],
        tiers=tuple(Tier(**entry) for entry in document["tiers"]),
        inputs=Inputs(**document["inputs"]),
        required=Required(
            pythons=tuple(document["required"]["pythons"]),
            tiers=tuple(document["required"]["tiers"]),
            groups=tuple(document["required"]["groups"]),
            families=tuple((modality, least) for modality, least in document["required"]["families"]),
            flaky=document["required"]["flaky"],
        ),
        cells=tuple(_cell(entry) for entry in document["cells"]),
        quarantine=tuple(Quarantined(**entry) for entry in document["quarantine"]),
        left_out=tuple(LeftOut(**entry) for entry in document.get("left_out", ())),
    )


def hash_tree(root: Path, paths: Iterable[str]) -> str:
    """sha256 over the names and contents of all files below ``root / path``; bytecode and what begins with a dot do not count."""
    digest = hashlib.sha256()
    files = {file for path in paths for file in _files(root / path)}
    for file in sorted(files):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _fields(declared: object) -> dict[str, Any]:
    """As ``asdict`` for one level: the encoder asks again for what is inside, and copies nothing."""
    return {field.name: getattr(declared, field.name) for field in fields(cast("Any", declared))}


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=_fields).encode


def _lines(values: tuple[Any, ...]) -> str:
    return "[\n  " + ",\n  ".join(map(_encode, values)) + "\n ]" if values else "[]"


def _cells(matrix: Matrix, group: Group, models: Sequence[Model], tiers: Sequence[str]) -> Iterable[Cell]:
    pythons = matrix.pythons if "python" in group.over else matrix.pythons[-1:]
    dependencies = matrix.dependencies if "dependencies" in group.over else matrix.dependencies[:1]
    over_tiers: Sequence[str | None] = tiers if "tier" in group.over else [None]
    over_models: Sequence[Model | None] = [None]
    if group.for_each:
        chosen = portfolio.measured() if group.for_each == "perf" else models
        over_models = [model for model in chosen if group.for_each in ("perf", model.modality)]
    for python, dependency_set, tier, model in product(pythons, dependencies, over_tiers, over_models):
        parts = [environment_id(python, dependency_set), tier, model.model_id if model else None]
        yield Cell(
            id=f"{group.name}[{','.join(part for part in parts if part)}]",
            group=group.name,
            process=group.process,
            gate=group.gate,
            tests=group.tests,
            marks=group.marks,
            timeout_s=group.timeout_s,
            python=python,
            dependencies=dependency_set,
            tier=tier,
            model=model,
            cpu=group.cpu,
            memory_bytes=group.memory_bytes,
            reruns=group.reruns,
            needs=group.needs,
            exclusive=group.exclusive,
            metrics=group.metrics,
        )


def _cell(entry: dict[str, Any]) -> Cell:
    model = Model(**entry["model"]) if entry["model"] else None
    metrics = tuple(Metric(**metric) for metric in entry.get("metrics", ()))
    return Cell(**{**entry, "tests": tuple(entry["tests"]), "needs": tuple(entry["needs"]), "model": model, "metrics": metrics})


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and not any(map(_is_cache, file.relative_to(path).parts))]


def _is_cache(name: str) -> bool:
    """Bytecode, and what pytest, hypothesis and file managers leave behind."""
    return name == "__pycache__" or name.startswith(".")
