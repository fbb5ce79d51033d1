"""What a model is, and whether the installed mlx-lm runs it."""

from __future__ import annotations

import importlib

import pytest

from mlxk import cache, contents
from mlxk.compatibility import MlxLm, obstacle
from mlxk.model import describe

INSTALLED = MlxLm.installed()


def described(hub, name="org/m"):
    return describe(name, contents.read(cache.current(hub.root, name)))


def why_not(hub, mlx_lm=INSTALLED):
    held = contents.read(cache.current(hub.root, "org/m"))
    return obstacle(describe("org/m", held), held, mlx_lm)


@pytest.mark.parametrize(
    ("name", "files", "framework"),
    [
        ("org/m", {}, "MLX"),
        ("org/m", {"model.safetensors": "pt"}, "PyTorch"),
        ("mlx-community/m", {"model.safetensors": "pt"}, "MLX"),
        ("org/mlx-community", {"model.safetensors": "pt"}, "PyTorch"),
        ("org/m", {"model.safetensors": "pt", "README.md": b"---\nlibrary_name: mlx\n---\n"}, "MLX"),
        ("org/m", {"model.safetensors": "pt", "README.md": b"---\ntags:\n- x\n- mlx\n---\n"}, "MLX"),
        ("org/m", {"model.safetensors": "pt", "README.md": b"---\ntags: [mlx]\n---\n"}, "MLX"),
        ("org/m", {"model.safetensors": "pt", "README.md": b"---\ntags:\n- x\n---\n- mlx\n"}, "PyTorch"),
        ("org/m", {"model.safetensors": "pt", "config.json": {"model_type": "x", "quantization": {"bits": 4}}}, "MLX"),
        ("org/m", {"model.safetensors": None, "m.gguf": b"GGUF"}, "GGUF"),
        ("org/m", {"model.safetensors": None}, "Unknown"),
    ],
)
def test_framework(hub, name, files, framework):
    files = {key: hub.weights(form=value) if value == "pt" else value for key, value in files.items()}
    hub.add(name, files)

    assert described(hub, name).framework == framework


@pytest.mark.parametrize(
    ("name", "files", "kind", "capabilities"),
    [
        ("org/m", {}, "chat", ("text-generation", "chat")),
        ("org/m", {"tokenizer_config.json": {}}, "base", ("text-generation",)),
        ("org/m", {"tokenizer_config.json": {}, "chat_template.jinja": b"x"}, "chat", ("text-generation", "chat")),
        ("org/m-Instruct", {"tokenizer_config.json": {}}, "chat", ("text-generation", "chat")),
        ("org/m-embed", {"tokenizer_config.json": {}}, "embedding", ("embeddings",)),
        ("org/m", {"config.json": {"model_type": "bert"}}, "embedding", ("embeddings",)),
        ("org/m", {"config.json": {"model_type": "whisper"}}, "audio", ("audio",)),
        ("org/m", {"config.json": {}}, "unknown", ()),
        (
            "org/m",
            {"config.json": {"model_type": "gemma3", "vision_config": {"hidden_size": 8}}},
            "chat",
            ("text-generation", "chat", "vision"),
        ),
        (
            "org/m",
            {"config.json": {"model_type": "gemma3", "vision_config": {}, "audio_config": None}},
            "chat",
            ("text-generation", "chat"),
        ),
    ],
)
def test_kind_and_capabilities(hub, name, files, kind, capabilities):
    hub.add(name, files)
    found = described(hub, name)

    assert (found.kind, found.capabilities) == (kind, capabilities)


def test_the_context_length_may_stand_in_the_text_config(hub):
    hub.add("org/m", {"config.json": {"model_type": "gemma3", "text_config": {"max_position_embeddings": 77}}})

    assert described(hub).context_length == 77


def test_every_type_that_mlx_lm_renames_is_one_it_supports():
    renamed = importlib.import_module("mlx_lm.utils").MODEL_REMAPPING

    assert [kind for kind in renamed if not INSTALLED.supports({"model_type": kind})] == []


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3", "mixtral", "gpt_oss", "lfm2-vl"])
def test_types_that_mlx_lm_has_are_supported(kind):
    assert INSTALLED.supports({"model_type": kind})


@pytest.mark.parametrize("kind", ["cache", "base", "rope_utils", "nothing_of_the_kind", None])
def test_types_that_mlx_lm_lacks_are_not_supported(kind):
    assert not INSTALLED.supports({"model_type": kind})


@pytest.mark.parametrize(
    ("files", "fragment"),
    [
        ({"config.json": {"model_type": "never_heard_of"}}, "never_heard_of"),
        ({"config.json": {"model_type": "llama", "auto_map": {"AutoModel": "theirs.Model"}}}, "theirs.Model"),
        ({"config.json": {"model_type": "llama", "model_file": "theirs.py"}}, "theirs.py"),
        ({"config.json": {"model_type": "whisper"}}, "audio"),
        ({"model.safetensors": None, "weights.00.safetensors": "mlx"}, "names that mlx-lm does not load"),
        ({"model.safetensors": "pt"}, "PyTorch"),
    ],
)
def test_what_is_in_the_way_is_said(hub, files, fragment):
    files = {key: hub.weights(form=value) if value in ("pt", "mlx") else value for key, value in files.items()}
    hub.add("org/m", files)

    assert fragment in (why_not(hub) or "nothing")


def test_nothing_is_in_the_way_of_a_whole_llama(hub):
    hub.add("org/m")

    assert why_not(hub) is None


def test_without_mlx_lm_no_model_runs_and_the_reason_says_so(hub):
    hub.add("org/m")

    assert why_not(hub, MlxLm(None)) == "mlx-lm is not installed."
