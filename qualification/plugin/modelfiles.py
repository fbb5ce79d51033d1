"""What a model's own files say of it: its quantization, and the texts of the tokens that end its answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from qualification import settings


@dataclass(frozen=True, slots=True)
class Facts:
    """``quantization`` such as ``4bit-g64``, None for full precision."""

    quantization: str | None
    end_tokens: tuple[str, ...]


def read(model_id: str) -> Facts:
    """Of the snapshot that the cache's ``main`` names, else the only one; empty where the user's cache has none."""
    return _read(settings.hf_home() / "hub" / f"models--{model_id.replace('/', '--')}")


@cache
def _read(repository: Path) -> Facts:
    main = repository / "refs" / "main"
    snapshots = sorted((repository / "snapshots").glob("*"))
    if main.is_file():
        snapshots = [repository / "snapshots" / main.read_text(encoding="utf-8").strip()]
    if not snapshots:
        return Facts(None, ())
    config = _json(snapshots[0] / "config.json")
    quantization = config.get("quantization") or config.get("quantization_config") or {}
    bits = quantization.get("bits")
    group = f"-g{quantization['group_size']}" if "group_size" in quantization else ""
    return Facts(f"{bits}bit{group}" if bits else None, _end_tokens(snapshots[0], config))


def _end_tokens(snapshot: Path, config: dict[str, Any]) -> tuple[str, ...]:
    """By id in generation_config.json or config.json, and by text in tokenizer_config.json."""
    declared = _json(snapshot / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    ids = declared if isinstance(declared, list) else [declared]
    added = _json(snapshot / "tokenizer.json").get("added_tokens", ())
    texts = [token["content"] for token in added if token["id"] in ids]
    named = _json(snapshot / "tokenizer_config.json").get("eos_token")
    named = named.get("content") if isinstance(named, dict) else named
    return tuple(dict.fromkeys([*texts, *([named] if named else [])]))


def _json(path: Path) -> dict[str, Any]:
    """Empty where there is no such file, or it is none: what is wrong with a model is for the tool to say."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
