"""Reads a matrix: strict YAML to a checked, frozen declaration, or one sentence with file, line and nearest valid name."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import jsonschema
import yaml

from qualification import schemas, units
from qualification.errors import MatrixError

Axis = Literal["python", "dependencies", "tier"]
Gate = Literal["blocker", "major", "minor"]
Modality = Literal["text", "vision", "audio"]
Process = Literal["wet", "separate"]
Source = Literal["auto", "discovered", "fallback", "minted"]

_DEFAULT_TIMEOUT_S = 600.0
_LISTED = 12
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Tier:
    """A class of machines by memory; shares are fractions of ``ram_bytes``."""

    name: str
    ram_bytes: int
    text_budget: float
    vision_limit: float
    audio_floor_bytes: int


@dataclass(frozen=True, slots=True)
class Group:
    """Tests that run under one rule; ``tests`` are paths below the project's root."""

    name: str
    process: Process
    tests: tuple[str, ...]
    marks: str | None
    for_each: Modality | None
    over: tuple[Axis, ...]
    gate: Gate
    timeout_s: float
    cpu: bool = False
    """Needs no model, so that its cells may run beside each other."""


@dataclass(frozen=True, slots=True)
class Require:
    """What must have passed for the release to qualify; ``families`` gives each modality its least number of them."""

    pythons: tuple[str, ...]
    tiers: tuple[str, ...]
    groups: tuple[str, ...]
    families: tuple[tuple[Modality, int], ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """One matrix file, checked; ``sha256`` is of its bytes."""

    name: str
    about: str
    sha256: str
    pythons: tuple[str, ...]
    dependencies: tuple[str, ...]
    tiers: tuple[Tier, ...]
    source: Source
    groups: tuple[Group, ...]
    require: Require
    minted: tuple[str, ...] | None = None
    """Families to mint where models are minted; None for all."""


def load(path: Path) -> Matrix:
    """Reads and checks ``path``; raises MatrixError naming the first wrong line."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except FileNotFoundError as error:
        there = [other.name for other in path.parent.glob("*.yaml")]
        raise MatrixError(path, 1, f"there is no such matrix{nearest(path.name, there)}") from error
    except OSError as error:
        raise MatrixError(path, 1, f"the matrix cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MatrixError(path, line, f"the matrix is not UTF-8: the byte 0x{content[error.start]:02x} stands here") from error
    document = _Document(path, text)
    document.check_schema()
    matrix = _build(path.stem, hashlib.sha256(content).hexdigest(), document.data)
    _check_references(document, matrix)
    return matrix


def nearest(name: str, valid: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where one of ``valid`` is close, else what is valid, as far as a person wants to read."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"; valid here: {', '.join(names[:_LISTED]) or 'nothing'}{more}"


def _build(name: str, sha256: str, data: dict[str, Any]) -> Matrix:
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
        ),
        minted=tuple(portfolio["minted"]) if "minted" in portfolio else None,
    )


def _group(name: str, entry: dict[str, Any]) -> Group:
    return Group(
        name=name,
        process=entry["process"],
        tests=tuple(entry["tests"]),
        marks=entry.get("marks"),
        for_each=cast("Modality | None", entry["for_each"].removeprefix("portfolio.") if "for_each" in entry else None),
        over=tuple(entry.get("over", [])),
        gate=entry["gate"],
        timeout_s=units.parse_seconds(entry["timeout"]) if "timeout" in entry else _DEFAULT_TIMEOUT_S,
        cpu=entry.get("cpu", False),
    )


def _check_references(document: _Document, matrix: Matrix) -> None:
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


def _check_consistency(document: _Document, matrix: Matrix) -> None:
    """Nothing contradicts itself, and every requirement can be met by some cell."""
    for left, right in pairwise(matrix.tiers):
        if left.ram_bytes == right.ram_bytes:
            document.refuse(
                ("tiers", right.name), f"{right.name!r} has the memory of {left.name!r}, and a machine is in one tier only"
            )
    for each in matrix.groups:
        if each.cpu and each.for_each:
            document.refuse(("groups", each.name, "cpu"), "a group that runs models cannot be cpu: models share one memory")
    axes = {axis for group in matrix.groups for axis in group.over}
    if "python" not in axes and set(matrix.require.pythons) - {matrix.pythons[-1]}:
        document.refuse(("require", "pythons"), "no group runs over: [python], so only the last of 'pythons' can be met")
    if "tier" not in axes and set(matrix.require.tiers) - {"this"}:
        document.refuse(("require", "tiers"), "no group runs over: [tier], so only 'this' can be met")
    covered = {group.for_each for group in matrix.groups}
    for modality, _ in matrix.require.families:
        if modality not in covered:
            document.refuse(("require", modality), f"no group runs for_each: portfolio.{modality}, so nothing can meet this")


_Path = tuple["str | int", ...]


class _Document:
    """A YAML text with the line of every key and item, so that an error can point at it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines: dict[_Path, int] = {(): 1}
        self.scalars: dict[_Path, str] = {}
        try:
            self._refuse_what_a_matrix_does_without(text)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            found = error.problem_mark or error.context_mark
            raise MatrixError(path, found.line + 1 if found else 1, f"not YAML: {error.problem or error.context}") from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise MatrixError(path, line, f"not YAML: the character {chr(error.character)!r} cannot stand in it") from error
        if node is None:
            raise MatrixError(path, 1, "the matrix is empty; matrices/smoke.yaml shows what one looks like")
        self.data: Any = self._construct(node, ())

    def _refuse_what_a_matrix_does_without(self, text: str) -> None:
        """Anchors hide from the reader of a line what it says; depth is what a parser that recurses cannot stand."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = cast("yaml.Mark", event.start_mark).line + 1
            if getattr(event, "anchor", None):
                raise MatrixError(self.path, line, "a matrix has no anchors, aliases or merge keys; write it out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise MatrixError(self.path, line, f"a matrix is no more than {_DEEPEST} levels deep")

    def refuse(self, where: _Path, sentence: str) -> NoReturn:
        """Raises MatrixError at the line of ``where``, or of the nearest thing around it that has a line."""
        raise MatrixError(self.path, self._line(where), sentence)

    def check_schema(self) -> None:
        """Raises MatrixError for the violation that stands first in the file."""
        errors = list(schemas.validator("matrix").iter_errors(self.data))
        if errors:
            where, sentence = min((self._explain(error) for error in errors), key=lambda found: self._line(found[0]))
            self.refuse(where, sentence)

    def _line(self, where: _Path) -> int:
        while where not in self.lines:
            where = where[:-1]
        return self.lines[where]

    def _construct(self, node: yaml.Node, where: _Path) -> Any:
        self.lines.setdefault(where, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._construct_mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._construct(item, (*where, index)) for index, item in enumerate(node.value)]
        self.scalars[where] = str(node.value)
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (ValueError, yaml.YAMLError):
            self.refuse(where, f"{_dotted(where)}: {node.value!r} cannot be read as {node.tag}; write it without a tag")

    def _construct_mapping(self, node: yaml.MappingNode, where: _Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise MatrixError(self.path, key_node.start_mark.line + 1, "a key is one word, not a list or a mapping")
            key = str(key_node.value)
            spot = (*where, key)
            self.lines[spot] = key_node.start_mark.line + 1
            if key in mapping:
                self.refuse(spot, f"{key!r} stands here a second time")
            mapping[key] = self._construct(value_node, spot)
        return mapping

    def _explain(self, error: jsonschema.ValidationError) -> tuple[_Path, str]:
        """Where the violation stands, and the sentence for it."""
        where = tuple(error.absolute_path)
        name = _dotted(where)
        wanted: Any = error.validator_value
        instance: Any = error.instance
        if "propertyNames" in error.absolute_schema_path:
            return (*where, instance), f"{name}: {_wanted(error)}"
        match error.validator:
            case "additionalProperties":
                known = cast("dict[str, Any]", error.schema)["properties"]
                unknown = next(key for key in instance if key not in known)
                return (*where, unknown), f"unknown key {unknown!r}{f' in {name}' if where else ''}{nearest(unknown, known)}"
            case "required":
                missing = next(key for key in wanted if key not in instance)
                return where, f"{name} lacks the key {missing!r}"
            case "uniqueItems":
                index = next(index for index, item in enumerate(instance) if item in instance[:index])
                return (*where, index), f"{name}: {instance[index]!r} stands here a second time"
        if isinstance(instance, float) and "pythons" in where:
            written = self.scalars[where]
            return where, f'{name}: YAML reads {written} as the number {instance}; write "{written}" in quotes'
        return where, f"{name}: {_wanted(error)}"


def _dotted(where: _Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".") or "the matrix"


_EXAMPLES = {
    "atLeast": '">= 3 families"',
    "duration": '"10 min"',
    "name": "16gb or text, in small letters",
    "path": "tests_2.0/unit, below the project's root",
    "python": '"3.12"',
    "share": '"40%"',
    "size": '"16 GiB"',
}

_KINDS: dict[str | type, str] = {
    "array": "a list", "object": "a mapping", "string": "text",
    list: "a list", dict: "a mapping", str: "text", bool: "a truth value", int: "a number", float: "a number",
    type(None): "nothing",
}  # fmt: skip


def _wanted(error: jsonschema.ValidationError) -> str:
    instance, wanted = error.instance, cast("Any", error.validator_value)
    definitions = schemas.load("matrix")["$defs"]
    for name, example in _EXAMPLES.items():
        if error.schema == definitions[name] and not isinstance(instance, (list, dict)):
            return f"{instance!r} is not of the form {example}"
    if error.validator == "enum":
        return f"{instance!r} is not known here{nearest(str(instance), wanted)}"
    if error.validator == "type":
        return f"{_KINDS[type(instance)]} stands where {_KINDS[wanted]} belongs"
    if error.validator == "const":
        return f"{instance!r} stands where {wanted!r} belongs"
    return error.message
