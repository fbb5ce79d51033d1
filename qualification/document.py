"""Reads a YAML file that people write: strict, against a schema, and one sentence with file and line for what is wrong first."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NoReturn, cast

import jsonschema
import yaml

from qualification import schemas
from qualification.errors import MatrixError, nearest

_DEEPEST = 8


_Path = tuple["str | int", ...]


class Document:
    """A YAML text with the line of every key and item, so that an error can point at it; ``sha256`` is of the file's bytes."""

    def __init__(self, path: Path, schema: schemas.Name) -> None:
        """Reads and checks ``path``; raises MatrixError naming the first wrong line."""
        self.path = path
        self.schema = schema
        content, text = self._read()
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.lines: dict[_Path, int] = {(): 1}
        self.scalars: dict[_Path, str] = {}
        try:
            self._refuse_what_it_does_without(text)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            found = error.problem_mark or error.context_mark
            raise MatrixError(path, found.line + 1 if found else 1, f"not YAML: {error.problem or error.context}") from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise MatrixError(path, line, f"not YAML: the character {chr(error.character)!r} cannot stand in it") from error
        if node is None:
            raise MatrixError(path, 1, f"the {self.schema} is empty; docs/matrices.md shows what one looks like")
        self.data: Any = self._construct(node, ())
        self._check_schema()

    def _read(self) -> tuple[bytes, str]:
        path, schema = self.path, self.schema
        try:
            content = path.read_bytes()
            return content, content.decode("utf-8")
        except FileNotFoundError as error:
            there = [other.name for other in path.parent.glob("*.yaml")]
            raise MatrixError(path, 1, f"there is no such {schema}{nearest(path.name, there)}") from error
        except OSError as error:
            raise MatrixError(path, 1, f"the {schema} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            sentence = f"the {schema} is not UTF-8: the byte 0x{error.object[error.start]:02x} stands here"
            raise MatrixError(path, line, sentence) from error

    def _refuse_what_it_does_without(self, text: str) -> None:
        """Anchors hide from the reader of a line what it says; depth is what a parser that recurses cannot stand."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = cast("yaml.Mark", event.start_mark).line + 1
            if getattr(event, "anchor", None):
                raise MatrixError(self.path, line, f"a {self.schema} has no anchors, aliases or merge keys; write it out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise MatrixError(self.path, line, f"a {self.schema} is no more than {_DEEPEST} levels deep")

    def refuse(self, where: _Path, sentence: str) -> NoReturn:
        """Raises MatrixError at the line of ``where``, or of the nearest thing around it that has a line."""
        raise MatrixError(self.path, self._line(where), sentence)

    def _check_schema(self) -> None:
        """Raises MatrixError for the violation that stands first in the file."""
        errors = list(schemas.validator(self.schema).iter_errors(self.data))
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
            self.refuse(
                where, f"{_dotted(where, self.schema)}: {node.value!r} cannot be read as {node.tag}; write it without a tag"
            )

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
        name = _dotted(where, self.schema)
        wanted: Any = error.validator_value
        instance: Any = error.instance
        if "propertyNames" in error.absolute_schema_path:
            return (*where, instance), f"{name}: {self._wanted(error)}"
        match error.validator:
            case "additionalProperties":
                known = cast("dict[str, Any]", error.schema)["properties"]
                unknown = next(key for key in instance if key not in known)
                return (*where, unknown), f"unknown key {unknown!r}{f' in {name}' if where else ''}{nearest(unknown, known)}"
            case "required":
                missing = next(key for key in wanted if key not in instance)
                return where, f"{name} lacks the key {missing!r}"
            case "anyOf":
                return where, f"{name} has neither {' nor '.join(repr(each['required'][0]) for each in wanted)}"
            case "uniqueItems":
                index = next(index for index, item in enumerate(instance) if item in instance[:index])
                return (*where, index), f"{name}: {instance[index]!r} stands here a second time"
        if isinstance(instance, float) and "pythons" in where:
            written = self.scalars[where]
            return where, f'{name}: YAML reads {written} as the number {instance}; write "{written}" in quotes'
        return where, f"{name}: {self._wanted(error)}"

    def _wanted(self, error: jsonschema.ValidationError) -> str:
        instance, wanted = error.instance, cast("Any", error.validator_value)
        definitions = schemas.load(self.schema).get("$defs", {})
        for name, example in _EXAMPLES.items():
            if error.schema == definitions.get(name) and not isinstance(instance, (list, dict)):
                return f"{instance!r} is not of the form {example}"
        if error.validator == "enum":
            return f"{instance!r} is not known here{nearest(str(instance), wanted)}"
        if error.validator == "type":
            return f"{_KINDS[type(instance)]} stands where {_KINDS[wanted]} belongs"
        if error.validator == "const":
            return f"{instance!r} stands where {wanted!r} belongs"
        return error.message


def _dotted(where: _Path, whole: str) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".") or f"the {whole}"


_EXAMPLES = {
    "day": "2026-12-31, a day that there is",
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
