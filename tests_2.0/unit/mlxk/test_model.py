"""What a model is, and whether the installed mlx-lm runs it."""

from __future__ import annotations

import importlib

import pytest

from mlxk import cache, contents
from mlxk.compatibility import Package, Packages, obstacles
from mlxk.model import describe

INSTALLED = Packages.installed()
ALL = frozenset({"text", "vision", "audio"})


def described(hub, name="org/m"):
    return describe(name, contents.read(cache.current(hub.root, name)))


def runtime(hub, packages=INSTALLED, engines=ALL):
    held = contents.read(cache.current(hub.root, "org/m"))
    return obstacles(describe("org/m", held), held, packages, engines)


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

    assert [kind for kind in renamed if not INSTALLED.text.supports({"model_type": kind})] == []


@pytest.mark.parametrize("kind", ["llama", "qwen2", "phi3", "mixtral", "gpt_oss", "lfm2-vl"])
def test_types_that_mlx_lm_has_are_supported(kind):
    assert INSTALLED.text.supports({"model_type": kind})


@pytest.mark.parametrize("kind", ["cache", "base", "rope_utils", "nothing_of_the_kind", None])
def test_types_that_mlx_lm_lacks_are_not_supported(kind):
    assert not INSTALLED.text.supports({"model_type": kind})


@pytest.mark.parametrize(
    ("files", "fragment"),
    [
        ({"config.json": {"model_type": "never_heard_of"}}, "never_heard_of"),
        ({"config.json": {"model_type": "llama", "auto_map": {"AutoModel": "theirs.Model"}}}, "theirs.Model"),
        ({"config.json": {"model_type": "llama", "model_file": "theirs.py"}}, "theirs.py"),
        ({"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["theirs.Tokenizer", None]}}}, "by its tokenizer_config.json"),
        ({"preprocessor_config.json": {"auto_map": {"AutoProcessor": "theirs.P"}}}, "theirs.P, by its preprocessor_config"),
        ({"processor_config.json": {"auto_map": {"AutoProcessor": "theirs.P"}}}, "theirs.P, by its processor_config"),
        ({"model.safetensors": None, "weights.00.safetensors": "mlx"}, "names that mlx-lm does not load"),
        ({"model.safetensors": "pt"}, "PyTorch"),
    ],
)
def test_what_is_in_the_way_of_text_is_said(hub, files, fragment):
    files = {key: hub.weights(form=value) if value in ("pt", "mlx") else value for key, value in files.items()}
    hub.add("org/m", files)

    assert fragment in (runtime(hub)["text"] or "nothing")


def test_nothing_is_in_the_way_of_a_whole_llama(hub):
    hub.add("org/m")

    assert runtime(hub) == {"text": None}


VISION = {"model_type": "qwen2_vl", "vision_config": {"depth": 1}}
HEARING = {"model_type": "gemma3n", "audio_config": {"hidden_size": 1}, "vision_config": {"depth": 1}}


@pytest.fixture
def packages(tmp_path) -> Packages:
    """Folders as mlx-vlm 0.7.10 and mlx-audio 0.6.2 have them, with two model types each, beside the mlx-lm that is installed."""
    made = {
        "vlm/models/qwen2_vl/__init__.py": "from .qwen2_vl import Model\n",
        "vlm/models/gemma3n/__init__.py": "from .gemma3n import Model\n",
        "vlm/utils.py": "",
        "audio/stt/models/whisper/__init__.py": "from .whisper import Model\n",
        "audio/stt/models/vibevoice_asr/__init__.py": "from .vibevoice_asr import Model\n",
        "audio/stt/utils.py": 'MODEL_REMAPPING = {\n    "whisper": "whisper",\n    "vibevoice": "vibevoice_asr",  # renamed\n}\n',
    }
    for path, text in made.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    vision = Package("mlx-vlm", str(tmp_path / "vlm"), "models", "utils.py")
    audio = Package("mlx-audio", str(tmp_path / "audio"), "stt/models", "stt/utils.py")
    return Packages(INSTALLED.text, vision, audio)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (VISION, {"text": None, "vision": None}),
        (
            HEARING,
            {
                "text": None,
                "vision": None,
                "audio": "It hears through mlx-vlm, and this version of mlxk hears through mlx-audio only.",
            },
        ),
        ({"model_type": "whisper"}, {"audio": None}),
        ({"model_type": "vibevoice"}, {"audio": None}),
        ({"model_type": "voxtral"}, {"audio": "The installed mlx-audio does not know the model type 'voxtral'."}),
        (
            {"model_type": "llava", "vision_config": {"depth": 1}},
            {"text": None, "vision": "The installed mlx-vlm does not know the model type 'llava'."},
        ),
        ({"model_type": "bert"}, {}),
    ],
)
def test_each_modality_is_judged_by_the_package_that_runs_it(hub, packages, config, expected):
    hub.add("org/m", {"config.json": config})

    assert runtime(hub, packages) == expected


def test_a_modality_without_an_engine_does_not_run(hub, packages):
    hub.add("org/m", {"config.json": VISION})

    assert runtime(hub, packages, frozenset({"text"})) == {
        "text": None,
        "vision": "This version of mlxk has no engine for vision.",
    }


def test_speech_without_a_tokenizer_that_mlx_audio_reads_does_not_run(hub, packages):
    hub.add("org/m", {"config.json": {"model_type": "whisper"}, "tokenizer.json": None, "tekken.json": {}})

    assert runtime(hub, packages)["audio"] == "It has tekken.json and no tokenizer.json, which mlx-audio needs."


@pytest.mark.parametrize(
    ("config", "modality", "reason"),
    [
        ({"model_type": "llama"}, "text", "mlx-lm is not installed."),
        (VISION, "vision", "mlx-vlm is not installed; `pip install mlxk[vision]` adds it."),
        ({"model_type": "whisper"}, "audio", "mlx-audio is not installed; `pip install mlxk[audio]` adds it."),
    ],
)
def test_without_its_package_a_modality_does_not_run_and_the_reason_says_what_to_do(hub, config, modality, reason):
    hub.add("org/m", {"config.json": config})

    assert runtime(hub, Packages.none())[modality] == reason
