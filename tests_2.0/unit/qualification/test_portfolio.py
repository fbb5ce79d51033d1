"""Which models a qualification runs over, from what ``mlxk list --json`` reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from qualification import portfolio
from qualification.errors import QualificationError, UsageError
from qualification.plugin import models

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _listed(name: str, **changes: Any) -> dict[str, Any]:
    """One model object of ``mlxk list --json``."""
    return {
        "name": name,
        "hash": COMMIT,
        "size_bytes": 1_000_000_000,
        "last_modified": "2026-01-02T03:04:05Z",
        "framework": "MLX",
        "model_type": "chat",
        "capabilities": ["text-generation", "chat"],
        "health": "healthy",
        "runtime_compatible": True,
        "reason": None,
        "cached": True,
        "context_length": 4096,
        **changes,
    }


TEXT = _listed("org/Qwen3-4B-4bit")
VISION = _listed("org/pixtral-12b", capabilities=["text-generation", "chat", "vision"])
AUDIO = _listed("org/whisper-tiny", model_type="audio", capabilities=["transcription"])
BLIND_NOW = {
    "capabilities": ["text-generation", "chat", "vision"],
    "runtime": {"text": {"compatible": True, "reason": None}, "vision": {"compatible": False, "reason": "mlx-vlm is missing"}},
}
BLIND = _listed("org/a-vlm", **BLIND_NOW)
DEAF = _listed("org/whisper", model_type="audio", runtime={"audio": {"compatible": False, "reason": "mlx-audio is missing"}})
FALLBACK_TEXT = "mlx-community/Llama-3.2-3B-Instruct-4bit"
FALLBACK_AUDIO = "mlx-community/whisper-large-v3-turbo-4bit"


MINTED = {model.modality: {"minted"} for model in portfolio.minted()}


def _chosen(source: Any, *models: dict[str, Any]) -> dict[str, set[str]]:
    """Origins by modality."""
    chosen: dict[str, set[str]] = {}
    for model in portfolio.resolve(source, models):
        chosen.setdefault(model.modality, set()).add(model.origin)
    return chosen


@pytest.mark.parametrize(
    ("source", "models", "chosen"),
    [
        ("auto", [], MINTED),
        ("auto", [TEXT], {**MINTED, "text": {"discovered"}}),
        ("auto", [VISION], {**MINTED, "vision": {"discovered"}}),
        ("auto", [AUDIO, TEXT], {**MINTED, "audio": {"discovered"}, "text": {"discovered"}}),
        ("auto", [BLIND], {**MINTED, "text": {"discovered"}}),
        ("auto", [DEAF], MINTED),
        ("fallback", [_listed("mlx-community/pixtral-12b-4bit", **BLIND_NOW)], {}),
        ("discovered", [], {}),
        ("discovered", [TEXT, VISION, AUDIO], {"text": {"discovered"}, "vision": {"discovered"}, "audio": {"discovered"}}),
        ("fallback", [TEXT], {}),
        ("fallback", [TEXT, _listed(FALLBACK_TEXT)], {"text": {"fallback"}}),
        ("fallback", [_listed(FALLBACK_AUDIO, model_type="audio")], {"audio": {"fallback"}}),
        ("minted", [TEXT, VISION, AUDIO], MINTED),
    ],
)
def test_each_modality_takes_what_its_source_has(source: str, models: list[dict[str, Any]], chosen: dict[str, set[str]]) -> None:
    assert _chosen(source, *models) == chosen


def test_what_is_listed_but_of_a_kind_no_modality_tells_falls_back_by_its_name() -> None:
    untold = _listed(FALLBACK_TEXT, model_type="base", capabilities=["text-generation"])

    assert _chosen("auto", untold) == {**MINTED, "text": {"fallback"}}


@pytest.mark.parametrize(
    "flaw",
    [{"framework": "PyTorch"}, {"health": "unhealthy"}, {"runtime_compatible": False}, {"cached": False}],
    ids=lambda flaw: next(iter(flaw)),
)
def test_a_model_that_cannot_run_is_not_taken_by_any_name(flaw: dict[str, Any]) -> None:
    broken = [{**TEXT, **flaw}, _listed(FALLBACK_TEXT, **flaw)]

    assert _chosen("auto", *broken) == MINTED
    assert _chosen("discovered", *broken) == _chosen("fallback", *broken) == {}


@pytest.mark.parametrize(
    "kind",
    [{"model_type": "base"}, {"model_type": "embedding", "capabilities": ["embeddings"]}, {"capabilities": ["chat", "audio"]}],
)
def test_a_model_of_no_examined_modality_is_not_discovered(kind: dict[str, Any]) -> None:
    assert _chosen("discovered", {**TEXT, **kind}) == {}


def test_a_discovered_model_keeps_what_the_tool_says_of_it() -> None:
    (model,) = portfolio.resolve("discovered", [VISION])

    assert model == portfolio.Model("org/pixtral-12b", "vision", "pixtral", 1_000_000_000, "discovered", COMMIT)


def test_the_portfolio_is_sorted_whatever_the_order_of_the_list() -> None:
    models = [_listed(name) for name in ("org/b", "org/a", "org/c")]

    assert [model.model_id for model in portfolio.resolve("discovered", [VISION, *models])] == [
        "org/a", "org/b", "org/c", "org/pixtral-12b",
    ]  # fmt: skip


def test_minted_models_bind_their_recipe() -> None:
    minted = portfolio.minted()

    assert len({model.revision for model in minted}) == len(minted) >= 3
    assert len({model.family for model in minted}) >= 3


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mlx-community/Qwen2.5-0.5B-Instruct-4bit", "qwen"),
        ("mlx-community/Llama-3.2-3B-Instruct-4bit", "llama"),
        ("mlx-community/gpt-oss-20b-MXFP4-Q8", "gpt-oss"),
        ("org/gpt_oss_20b", "gpt-oss"),
        ("org/TinyLlama-1.1B", "llama"),
        ("org/DeepSeek-R1-Distill-Llama-8B", "llama"),
        ("org/Mixtral-8x7B-Instruct", "mixtral"),
        ("org/Phi-3.5-mini", "phi"),
        ("org/phi4", "phi"),
        ("org/dolphin-2.9", "unknown"),
        ("org/dolphin-2.9-mistral-7b", "mistral"),
        ("llama-org/something-else", "unknown"),
        ("bare-gemma", "gemma"),
    ],
)
def test_a_family_is_told_by_a_word_of_the_name(name: str, family: str) -> None:
    assert portfolio.family_of(name) == family


def _tool(folder: Path, program: str) -> list[str]:
    script = folder / "tool.py"
    script.write_text(program, encoding="utf-8")
    return [sys.executable, str(script)]


def test_the_list_is_what_the_tool_prints(tmp_path: Path) -> None:
    tool = _tool(
        tmp_path, 'import sys; assert sys.argv[1:] == ["list", "--json"]; print(\'{"data": {"models": [{"name": "a"}]}}\')'
    )

    assert portfolio.listed(tool, {}) == [{"name": "a"}]


@pytest.mark.parametrize("answer", ["", "hello", "[]", '{"data": null}', '{"data": {}}'])
def test_a_tool_that_gives_no_list_is_an_error_that_names_the_command(tmp_path: Path, answer: str) -> None:
    tool = _tool(tmp_path, f"print({answer!r})")

    with pytest.raises(QualificationError, match=r"tool.py list --json` gave no model list"):
        portfolio.listed(tool, {})


def test_a_tool_that_is_not_there_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(QualificationError, match=r"absent list --json` gave no model list .*No such file"):
        portfolio.listed([str(tmp_path / "absent")], {})


def test_only_the_families_that_a_matrix_names_are_minted() -> None:
    chosen = portfolio.resolve("minted", [], ["qwen2", "llama"])

    assert [model.model_id for model in chosen] == ["mint/llama-tiny", "mint/qwen2-tiny"]


def test_a_family_that_nobody_mints_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="no family 'llamma' is minted; did you mean 'llama'"):
        portfolio.resolve("minted", [], ["llamma"])


@pytest.mark.parametrize(
    ("origin", "listed", "refusal"),
    [
        ("discovered", {}, ""),
        ("discovered", {"revision": "1" * 40}, f"org/a-llama is at revision {'1' * 40}, and the plan is for {'0' * 40}"),
        ("fallback", {"revision": "1" * 40}, "org/a-llama is at revision"),
        ("minted", {"revision": "1" * 40}, ""),
        ("discovered", {"modality": "vision"}, "`mlxk list --json` shows org/a-llama (vision), and the cell is for"),
        ("minted", {"model_id": "org/other"}, "`mlxk list --json` shows org/other (text), and the cell is for"),
    ],
)
def test_a_cell_takes_the_model_that_was_planned_and_no_other_revision_of_it(
    build: Any, origin: Any, listed: dict[str, Any], refusal: str
) -> None:
    found = build.model(**{"model_id": "org/a-llama", **listed})

    told = models.mismatch(build.model(origin=origin), [found])

    assert told.startswith(refusal) if refusal else told == ""
