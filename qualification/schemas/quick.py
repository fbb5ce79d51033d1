"""Says whether an instance follows a schema, at a tenth of the cost of jsonschema and without importing it.

It knows the keywords of JSON Schema 2020-12 that our own schemas use and raises ``KeyError`` for any other. What is wrong with
an instance, and where, is jsonschema's to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sized
from datetime import date, datetime
from typing import Any

Schema = Mapping[str, Any]
Check = Callable[[Any], bool]


def compiled(schema: Schema) -> Check:
    """A check of whole instances. Raises ``KeyError`` for a keyword, a type or a format that is not known here."""
    return _check(schema, _References(schema))


def instant(timestamp: str) -> datetime:
    """An ISO 8601 time with its zone. Raises ValueError where it is none, or no time that there is.

    Fractions of a second are cut to microseconds: Python 3.10 reads three or six digits and no others.
    """
    written = timestamp.upper().replace("Z", "+00:00").replace(" ", "T")
    head, dot, tail = written.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    read = datetime.fromisoformat(f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}" if dot else head)
    if "T" not in written or read.tzinfo is None:
        raise ValueError(f"{timestamp!r} is no time with a zone")
    return read


class _References:
    """The checks of ``#/$defs/…``, each made once."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._made: dict[str, Check] = {}

    def check(self, reference: str) -> Check:
        if reference not in self._made:
            self._made[reference] = _check(self._root["$defs"][reference.removeprefix("#/$defs/")], self)
        return self._made[reference]


def _check(schema: Schema | bool, references: _References) -> Check:
    if isinstance(schema, bool):
        return lambda _instance: schema
    checks = [check for keyword in schema if (check := _KEYWORDS[keyword](schema, references))]
    if len(checks) == 1:
        return checks[0]
    return lambda instance: all(check(instance) for check in checks)


def _type(schema: Schema, _references: _References) -> Check:
    wanted = schema["type"]
    kinds = tuple(kind for name in (wanted if isinstance(wanted, list) else [wanted]) for kind in _TYPES[name])
    whole = "integer" in wanted and "number" not in wanted
    if bool in kinds:
        return lambda instance: isinstance(instance, kinds)
    return lambda instance: (
        (isinstance(instance, kinds) and not isinstance(instance, bool))
        or (whole and type(instance) is float and instance.is_integer())
    )


_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),), "integer": (int,),
    "number": (int, float),
}  # fmt: skip


def _object(schema: Schema, references: _References) -> Check:
    """``properties`` and ``additionalProperties`` together."""
    known = {name: _check(part, references) for name, part in schema.get("properties", {}).items()}
    other = _check(schema.get("additionalProperties", True), references)
    return lambda instance: (
        not isinstance(instance, dict) or all(known.get(name, other)(value) for name, value in instance.items())
    )


def _items(schema: Schema, references: _References) -> Check:
    """``prefixItems`` and ``items`` together."""
    first = [_check(part, references) for part in schema.get("prefixItems", ())]
    rest = _check(schema.get("items", True), references)
    return lambda instance: (
        not isinstance(instance, list)
        or (all(check(item) for check, item in zip(first, instance)) and all(map(rest, instance[len(first) :])))  # noqa: B905
    )


def _condition(schema: Schema, references: _References) -> Check:
    """``if``, ``then`` and ``else`` together."""
    asked, met, unmet = (_check(schema.get(name, True), references) for name in ("if", "then", "else"))
    return lambda instance: (met if asked(instance) else unmet)(instance)


def _one_of(schema: Schema, references: _References) -> Check:
    parts = [_check(part, references) for part in schema["oneOf"]]
    return lambda instance: sum(check(instance) for check in parts) == 1


def _any_of(schema: Schema, references: _References) -> Check:
    parts = [_check(part, references) for part in schema["anyOf"]]
    return lambda instance: any(check(instance) for check in parts)


def _property_names(schema: Schema, references: _References) -> Check:
    check = _check(schema["propertyNames"], references)
    return lambda instance: not isinstance(instance, dict) or all(map(check, instance))


def _required(schema: Schema, _references: _References) -> Check:
    wanted = frozenset(schema["required"])
    return lambda instance: not isinstance(instance, dict) or wanted <= instance.keys()


def _enum(schema: Schema, _references: _References) -> Check:
    values = [schema["const"]] if "const" in schema else schema["enum"]
    return lambda instance: any(_equal(instance, value) for value in values)


def _equal(one: object, other: object) -> bool:
    """As JSON has it: true is not 1, and 1 is 1.0."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _unique(schema: Schema, _references: _References) -> Check:
    def check(instance: Any) -> bool:
        return not isinstance(instance, list) or not any(
            _equal(item, other) for index, item in enumerate(instance) for other in instance[:index]
        )

    return check if schema["uniqueItems"] else lambda _instance: True


def _pattern(schema: Schema, _references: _References) -> Check:
    found = re.compile(schema["pattern"]).search
    return lambda instance: not isinstance(instance, str) or found(instance) is not None


def _format(schema: Schema, _references: _References) -> Check:
    read = _FORMATS[schema["format"]]

    def check(instance: Any) -> bool:
        try:
            return not isinstance(instance, str) or bool(read(instance))
        except ValueError:
            return False

    return check


def _day(text: str) -> date | None:
    """Python 3.11 reads more forms than the one that is meant."""
    return date.fromisoformat(text) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None


_FORMATS: Mapping[str, Callable[[str], object]] = {"date-time": instant, "date": _day}


def _bound(keyword: str, holds: Callable[[Any, Any], bool]) -> Callable[[Schema, _References], Check]:
    def make(schema: Schema, _references: _References) -> Check:
        limit = schema[keyword]
        return lambda instance: not isinstance(instance, (int, float)) or isinstance(instance, bool) or holds(instance, limit)

    return make


def _size(keyword: str, kind: type[Sized], holds: Callable[[int, int], bool]) -> Callable[[Schema, _References], Check]:
    def make(schema: Schema, _references: _References) -> Check:
        limit = schema[keyword]
        return lambda instance: not isinstance(instance, kind) or holds(len(instance), limit)

    return make


def _nothing(_schema: Schema, _references: _References) -> None:
    """Says something for people, or is checked together with another keyword."""


_KEYWORDS: Mapping[str, Callable[[Schema, _References], Check | None]] = {
    **dict.fromkeys(("$schema", "$defs", "title", "description", "readOnly"), _nothing),
    "$ref": lambda schema, references: references.check(schema["$ref"]),
    "type": _type,
    "const": _enum,
    "enum": _enum,
    "required": _required,
    "properties": _object,
    "additionalProperties": lambda schema, references: None if "properties" in schema else _object(schema, references),
    "propertyNames": _property_names,
    "prefixItems": _items,
    "items": lambda schema, references: None if "prefixItems" in schema else _items(schema, references),
    "uniqueItems": _unique,
    "pattern": _pattern,
    "format": _format,
    "minimum": _bound("minimum", lambda value, limit: value >= limit),
    "maximum": _bound("maximum", lambda value, limit: value <= limit),
    "exclusiveMinimum": _bound("exclusiveMinimum", lambda value, limit: value > limit),
    "minLength": _size("minLength", str, lambda length, limit: length >= limit),
    "minItems": _size("minItems", list, lambda length, limit: length >= limit),
    "maxItems": _size("maxItems", list, lambda length, limit: length <= limit),
    "minProperties": _size("minProperties", dict, lambda length, limit: length >= limit),
    "if": _condition,
    "then": _nothing,
    "else": _nothing,
    "oneOf": _one_of,
    "anyOf": _any_of,
}  # fmt: skip
