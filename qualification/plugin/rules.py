"""The rules that a live test obeys, checked when it is collected: its group, its modality's fixture, and the user's cache."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator

import pytest

from qualification.plugin.selection import ALONE, LIVE, SEPARATE, WET

_LEGACY = {
    "model_key": "text_model_key, vision_model_key or audio_model_key",
    "model_info": "text_model_info, vision_model_info or audio_model_info",
    "portfolio_models": "text_portfolio, vision_portfolio or audio_portfolio",
}
_MODALITIES = ("text", "vision", "audio")
_OVER_MODELS = frozenset({"live_e2e", "live_stop_tokens"})
_WRITING = frozenset({"pull", "rm"})
"""Commands of the tool that change the cache that they find."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Raises CollectError, which fails the module with its reason, for a live test that breaks a rule."""
    if metafunc.config.rootpath / LIVE not in metafunc.definition.path.parents:
        return
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    for wrong in _violations(metafunc.function, marks, frozenset(metafunc.fixturenames)):
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {wrong}; CONTRIBUTING.md says where a test belongs")


def _violations(function: Callable[..., object], marks: set[str], fixtures: frozenset[str]) -> Iterator[str]:
    groups = WET | SEPARATE | ALONE
    if not marks & groups:
        yield f"a live test has the mark of its group, one of {', '.join(sorted(groups))}"
    for name in sorted(fixtures & _LEGACY.keys()):
        yield f"the fixture {name} does not tell a modality: take {_LEGACY[name]}"
    if marks & _OVER_MODELS and not any(name.startswith(f"{each}_") for name in fixtures for each in _MODALITIES):
        yield "it runs over models and takes none: without text_model_info, or its like, nobody knows which modality it shows"
    writes = _WRITING & set(_commands(function))
    if writes and "isolated_cache" not in fixtures:
        yield f"`mlxk {min(writes)}` would write to the user's cache: take the fixture isolated_cache"


def _commands(function: Callable[..., object]) -> Iterator[str]:
    """The first words of the tool's command lines that stand in a test: ``mlxk("rm", …)``, ``subject.call("rm", …)``."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and _is_tool(node.func):
            first = node.args[0]
            words = [word.value for word in node.args[:2] if isinstance(word, ast.Constant) and isinstance(word.value, str)]
            if isinstance(first, ast.Constant):
                yield from (word for word in words if not word.startswith("-"))


def _is_tool(called: ast.expr) -> bool:
    return (isinstance(called, ast.Name) and called.id == "mlxk") or (isinstance(called, ast.Attribute) and called.attr == "call")
