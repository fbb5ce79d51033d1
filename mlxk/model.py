"""What a model is, judged from its name and its small files: framework, kind, capabilities, context length."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlxk.contents import Contents

Framework = Literal["MLX", "GGUF", "PyTorch", "Unknown"]
Kind = Literal["chat", "base", "embedding", "audio", "unknown"]

_VISION_TYPES = {
    *("llava", "llava_next", "pixtral", "qwen2_vl", "qwen2_5_vl", "phi3_v", "mllama", "paligemma"),
    *("idefics", "idefics2", "idefics3", "smolvlm"),
}
_SPEECH_TYPES = ("whisper", "voxtral", "vibevoice", "parakeet", "canary", "moonshine", "qwen3_asr", "sensevoice")
_HEARS = re.compile("|".join(("gemma3n", "audio", *_SPEECH_TYPES)))
_EMBEDDING_TYPES = {"bert", "roberta", "xlm-roberta", "modernbert", "nomic_bert"}
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "context_length", "max_sequence_length", "seq_len")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json", "image_processor_config.json")
_IMAGE_KEYS = ("image_processor_type", "image_mean", "image_processor", "image_seq_len")
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_MLX_LIBRARY = re.compile(r"^library_name:\s*[\"']?mlx\b", re.MULTILINE)
_MLX_TAG = re.compile(r"^\s*-\s*[\"']?mlx[\"']?\s*$|^tags:\s*\[.*\bmlx\b.*\]", re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """``architecture`` is config.json's own model_type; ``kind`` is what people want it for."""

    framework: Framework
    kind: Kind
    capabilities: tuple[str, ...]
    architecture: str | None
    context_length: int | None
    quantization: Mapping[str, Any] | None

    @property
    def reads_text(self) -> bool:
        return "text-generation" in self.capabilities


def describe(name: str, contents: Contents) -> Description:
    config = contents.document("config.json")
    architecture = config.get("model_type")
    architecture = architecture if isinstance(architecture, str) else None
    kind = _kind(name, architecture, contents)
    quantization = config.get("quantization")
    return Description(
        framework=_framework(name, contents),
        kind=kind,
        capabilities=_capabilities(kind, architecture, contents),
        architecture=architecture,
        context_length=_context_length(config),
        quantization=quantization if isinstance(quantization, dict) else None,
    )


def _framework(name: str, contents: Contents) -> Framework:
    if contents.written_by_mlx or name.startswith("mlx-community/") or "quantization" in contents.document("config.json"):
        return "MLX"
    front = _FRONT_MATTER.match(contents.readme)
    if front is not None and (_MLX_LIBRARY.search(front[1]) or _MLX_TAG.search(front[1])):
        return "MLX"
    if any(file.endswith(".gguf") for file in contents.files):
        return "GGUF"
    if any(file.endswith((".safetensors", ".bin")) for file in contents.files):
        return "PyTorch"
    return "Unknown"


def _kind(name: str, architecture: str | None, contents: Contents) -> Kind:
    if architecture is None:
        return "unknown"
    if architecture.startswith(_SPEECH_TYPES):
        return "audio"
    base = name.rpartition("/")[2].lower()
    if architecture in _EMBEDDING_TYPES or ("embed" in base and not _has_chat_template(contents)):
        return "embedding"
    chats = architecture in _VISION_TYPES or _has_chat_template(contents) or "instruct" in base or "chat" in base
    return "chat" if chats else "base"


def _has_chat_template(contents: Contents) -> bool:
    template = contents.document("tokenizer_config.json").get("chat_template")
    return bool(template) or "chat_template.jinja" in contents.files or "chat_template.json" in contents.files


def _capabilities(kind: Kind, architecture: str | None, contents: Contents) -> tuple[str, ...]:
    if kind == "unknown":
        return ()
    if kind == "embedding":
        return ("embeddings",)
    if kind == "audio":
        return ("audio",)
    found = ["text-generation"]
    if kind == "chat":
        found.append("chat")
    if _reads_images(architecture, contents):
        found.append("vision")
    if _hears(architecture, contents):
        found.append("audio")
    return tuple(found)


def _reads_images(architecture: str | None, contents: Contents) -> bool:
    config = contents.document("config.json")
    if config.get("vision_config") or architecture in _VISION_TYPES or "image_processor" in config:
        return True
    if "video_preprocessor_config.json" in contents.files:
        return False
    embedded = config.get("preprocessor_config")
    places = [contents.document(name) for name in _PROCESSORS if name in contents.documents]
    places += [embedded] if isinstance(embedded, dict) else []
    for_video = any("temporal_patch_size" in place or "AutoVideoProcessor" in str(place.get("auto_map")) for place in places)
    return any(key in place for place in places for key in _IMAGE_KEYS) and not for_video


def _hears(architecture: str | None, contents: Contents) -> bool:
    config = contents.document("config.json")
    extractor = contents.document("preprocessor_config.json").get("feature_extractor_type", "")
    known = architecture is not None and _HEARS.search(architecture) is not None
    return bool(config.get("audio_config")) or known or "whisper" in str(extractor).lower()


def _context_length(config: Mapping[str, Any]) -> int | None:
    nested = config.get("text_config")
    for place in (config, nested if isinstance(nested, dict) else {}):
        for key in _CONTEXT_KEYS:
            value = place.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None
