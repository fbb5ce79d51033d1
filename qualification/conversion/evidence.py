"""What a legacy script says of its model, found in its syntax tree: each finding with its line and how it is said.

A model id counts only where the code uses one: loaded, given to a pipeline, assigned to a name that means it, or listed in a
registry of models. What a file is called says nothing of its model; of a task it is a guess, and told as one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from qualification.conversion import tasks

Certainty = Literal["sure", "guessed"]

_LOADED, _PIPELINE, _NAMED, _DEFAULT, _REGISTRY = range(5)
"""How directly code names its model, the most direct first."""

_TELLING = (ast.Assign, ast.AnnAssign, ast.Call, ast.ClassDef, ast.Dict, ast.FunctionDef, ast.AsyncFunctionDef)
"""The nodes in which a model can be named; all others are passed over once."""

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?")
_FILES = (".bin", ".json", ".onnx", ".pt", ".pth", ".py", ".safetensors", ".txt")
_VAGUE_NAMES = frozenset({"model_name", "checkpoint"})
"""They may as well hold what a model is called, so that only an id with its organization counts."""

_ID_NAMES = _VAGUE_NAMES | {"model_id", "model_name_or_path", "pretrained_model_name_or_path", "default_model"}
_NAME_NAMES = frozenset({"model_type", "model_family", "family"})
_TASK_NAMES = frozenset({"task", "pipeline_tag", "task_type", "pipeline_task"})
_CATEGORY_NAMES = frozenset({"category", "modality", "model_category"})
_CLASS = re.compile(r"(?:Test|test_hf_)(?P<name>[A-Z]\w*?|[a-z]\w*?)(?:Models?|Inference|Performance|Model)?$")


@dataclass(frozen=True, slots=True)
class Fact:
    """A value, whether the code says it, and how: ``from_pretrained, line 12``."""

    value: str
    certainty: Certainty
    said: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All that is known of a script's model."""

    model_id: Fact
    name: Fact
    task: Fact
    category: Fact

    @property
    def guessed(self) -> tuple[str, ...]:
        facts = {"model id": self.model_id, "name": self.name, "task": self.task, "category": self.category}
        return tuple(what for what, fact in facts.items() if fact.certainty == "guessed")


class NotConvertibleError(Exception):
    """A script says too little, or cannot be read; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class _Said:
    value: str
    line: int
    how: str
    rank: int = 0


def find(source: str, stem: str) -> Findings:
    """What the script ``stem`` says. Raises ``NotConvertibleError`` where it names no model, or nothing of what it does."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise NotConvertibleError(f"it is no Python that this version reads ({type(error).__name__}{where})") from error
    nodes = _telling(tree)
    constants = _constants(nodes)
    family = stem.removeprefix("test_hf_")
    model_id = _best([each for each in _model_ids(nodes, constants) if _is_id(each.value)])
    if model_id is None:
        raise NotConvertibleError("its code names no model: nothing is loaded, and no name or registry holds an id")
    task = _best(list(_tasks(nodes, constants))) or _guess(tasks.of_family(family), "the file's name")
    if task is None:
        raise NotConvertibleError(f"its code names {model_id.value} and not what it does, and the file's name tells no more")
    said = [each for each in _named(nodes, constants, _CATEGORY_NAMES) if each.value in {*tasks.CATEGORIES.values()}]
    category = _best(said) or Fact(tasks.CATEGORIES[task.value], task.certainty, f"the task ({task.said})")
    name = _best(list(_names(nodes, constants))) or Fact(family, "guessed", "the file's name")
    return Findings(model_id, name, task, category)


def _telling(tree: ast.AST) -> list[ast.AST]:
    """The nodes of these kinds; ``ast.walk`` takes three times as long, and there are thousands of scripts."""
    found: list[ast.AST] = []
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, _TELLING):
            found.append(node)
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, ast.AST):
                if value._fields:
                    left.append(value)
            elif isinstance(value, list):
                left += [each for each in value if isinstance(each, ast.AST)]
    return found


def _is_id(value: str) -> bool:
    """Whether a text can be a repository on the Hub, and is not a task or a file."""
    return bool(_ID.fullmatch(value)) and value not in tasks.CATEGORIES and not value.endswith(_FILES)


def _guess(value: str | None, said: str) -> Fact | None:
    return Fact(value, "guessed", said) if value else None


def _best(said: list[_Said]) -> Fact | None:
    """The first of what is said most directly; a guess where equally direct sayings disagree."""
    if not said:
        return None
    ordered = sorted(said, key=lambda each: (each.rank, each.line))
    first = ordered[0]
    others = list(dict.fromkeys(each.value for each in ordered if each.rank == first.rank and each.value != first.value))
    where = f"{first.how}, line {first.line}"
    if others:
        return Fact(first.value, "guessed", f"{where}; the first of {1 + len(others)}, beside {', '.join(others[:3])}")
    return Fact(first.value, "sure", where)


def _constants(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """Names that are given one text once, so that it is known what they stand for."""
    given: dict[str, set[str | None]] = {}
    for node in nodes:
        for name, value in _assignments(node):
            given.setdefault(name, set()).add(_text(value, {}))
    return {name: text for name, texts in given.items() for text in texts if len(texts) == 1 and text is not None}


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names and attributes of ``self`` with what is assigned to them."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from ((name, node.value) for name in _target(target))
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from ((name, node.value) for name in _target(node.target))


def _target(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    return [target.attr] if isinstance(target, ast.Attribute) else []


def _text(node: ast.expr | None, constants: dict[str, str]) -> str | None:
    """The text that an expression is: itself, what a name stands for, or what ``a or "b"`` falls back to."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return _text(node.values[-1], constants)
    if isinstance(node, ast.IfExp):
        return _text(node.orelse, constants)
    names = _target(node) if node is not None else []
    return constants.get(names[0]) if names else None


def _model_ids(nodes: Iterable[ast.AST], constants: dict[str, str]) -> Iterator[_Said]:
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from _called(node, constants)
        yield from _given(node, constants)
        for name, value in _assignments(node):
            if name.lower().endswith(("models_registry", "model_registry")) and isinstance(value, ast.Dict):
                text = _text(value.keys[0], {}) if value.keys else None
                if text is not None:
                    yield _Said(text, value.lineno, name, _REGISTRY)


def _called(node: ast.Call, constants: dict[str, str]) -> Iterator[_Said]:
    """``X.from_pretrained("id")`` and ``pipeline("task", model="id")``."""
    called = _target(node.func)
    keywords = {each.arg: each.value for each in node.keywords if each.arg}
    if called == ["from_pretrained"]:
        given = node.args[0] if node.args else keywords.get("pretrained_model_name_or_path")
        value = _text(given, constants)
        if value is not None and not _loads_no_model(node.func):
            yield _Said(value, node.lineno, "from_pretrained", _LOADED)
    elif called == ["pipeline"]:
        value = _text(keywords.get("model", node.args[1] if len(node.args) > 1 else None), constants)
        if value is not None:
            yield _Said(value, node.lineno, "pipeline", _PIPELINE)


def _loads_no_model(function: ast.expr) -> bool:
    """A tokenizer or processor may come from elsewhere than its model."""
    owner = _target(function.value) if isinstance(function, ast.Attribute) else []
    return bool(owner) and owner[0].endswith(("Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor", "Config"))


def _given(node: ast.AST, constants: dict[str, str]) -> Iterator[_Said]:
    """Names that mean a model id: assigned, passed, or as a parameter's default."""
    for name, value in _assignments(node):
        text = _text(value, constants)
        if name.lower() in _ID_NAMES and text is not None and (name.lower() not in _VAGUE_NAMES or "/" in text):
            yield _Said(text, value.lineno, name, _NAMED)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        for name, value in _defaults(node.args):
            text = _text(value, {}) if name in _ID_NAMES - _VAGUE_NAMES else None
            if text is not None:
                yield _Said(text, value.lineno, f"the default of {name}", _DEFAULT)


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    yield from zip(
        (each.arg for each in positional[len(positional) - len(arguments.defaults) :]), arguments.defaults, strict=True
    )
    for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if value is not None:
            yield each.arg, value


def _tasks(nodes: Iterable[ast.AST], constants: dict[str, str]) -> Iterator[_Said]:
    """Pipelines first, then names that mean a task, then what the model's class does."""
    nodes = list(nodes)
    for node in nodes:
        if isinstance(node, ast.Call) and _target(node.func) == ["pipeline"]:
            keywords = {each.arg: each.value for each in node.keywords}
            value = _text(node.args[0] if node.args else keywords.get("task"), constants)
            if value is not None and value in tasks.CATEGORIES:
                yield _Said(value, node.lineno, "pipeline", _PIPELINE)
        elif isinstance(node, ast.Call) and _target(node.func) == ["from_pretrained"] and isinstance(node.func, ast.Attribute):
            for owner in _target(node.func.value):
                task = tasks.of_class(owner)
                if task:
                    yield _Said(task, node.lineno, owner, _LOADED)
    yield from (each for each in _named(nodes, constants, _TASK_NAMES) if each.value in tasks.CATEGORIES)
    for node in nodes:
        if isinstance(node, ast.Dict):
            for key, given in zip(node.keys, node.values, strict=True):
                name = _text(given, {}) if isinstance(key, ast.Constant) and key.value == "class" else None
                task = tasks.of_class(name) if name else None
                if name and task:
                    yield _Said(task, given.lineno, name, _REGISTRY)


def _named(nodes: Iterable[ast.AST], constants: dict[str, str], meaning: frozenset[str]) -> Iterator[_Said]:
    """What is assigned to names with this meaning, or stands in a dictionary under one."""
    for node in nodes:
        pairs = list(_assignments(node))
        if isinstance(node, ast.Dict):
            pairs += [
                (str(key.value), value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            ]
        for name, value in pairs:
            text = _text(value, constants)
            if name.lower() in meaning and text is not None:
                yield _Said(text, value.lineno, name, _NAMED)


def _names(nodes: Iterable[ast.AST], constants: dict[str, str]) -> Iterator[_Said]:
    nodes = list(nodes)
    yield from (each for each in _named(nodes, constants, _NAME_NAMES) if re.fullmatch(r"[\w.-]{1,64}", each.value))
    for node in nodes:
        match = _CLASS.match(node.name) if isinstance(node, ast.ClassDef) else None
        if match and isinstance(node, ast.ClassDef):
            yield _Said(match["name"], node.lineno, f"class {node.name}", _DEFAULT)
