"""Show what a model is, whether its files are whole, and whether it runs here."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mlxk import views
from mlxk.errors import UsageError
from mlxk.library import Library, Model
from mlxk.output import Colour, Result, Screen, plain, wrap

_METADATA = ("vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers")
_TOKENIZER = ("tokenizer", "special_tokens", "vocab", "merges", "tekken", "tiktoken", "chat_template", "added_tokens")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="org/name or a part of a name, with @REVISION if need be; or the path of a workspace")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--files", action="store_true", help="its files, with sizes")
    parts.add_argument("--config", action="store_true", help="its config.json")
    parser.add_argument("--recalc-hash", action="store_true", help="of a workspace: pin its content as it is now")


def execute(arguments: argparse.Namespace) -> Result:
    model = Library.of_user().find(arguments.model)
    if arguments.recalc_hash:
        _pin(model)
    shown = {**views.model_object(model), "quantization": _quantization(model)}
    data = {
        "model": shown,
        "metadata": None if arguments.files or arguments.config else _metadata(model),
        "files": _files(model) if arguments.files else None,
        "config": model.contents.document("config.json") or None if arguments.config else None,
        "problems": views.problem_objects(model),
        "hash_updated": arguments.recalc_hash,
    }
    return Result(data, "" if arguments.json else _text(model, data, Screen.of_stdout()))


def _pin(model: Model) -> None:
    if model.snapshot.cached:
        raise UsageError(f"--recalc-hash is for workspaces. {model.name} is in the cache, where its commit says what it holds.")
    from mlxk.content_hash import pin  # noqa: PLC0415 - hashing is for workspaces only

    pin(model.snapshot.folder)


def _quantization(model: Model) -> dict[str, int | None] | None:
    found = model.description.quantization
    if found is None:
        return None
    return {key: value if isinstance(value := found.get(key), int) else None for key in ("bits", "group_size")}


def _metadata(model: Model) -> dict[str, Any]:
    config = model.contents.document("config.json")
    nested = config.get("text_config")
    nested = nested if isinstance(nested, dict) else {}
    quantization = _quantization(model)
    return {
        "model_type": model.description.architecture,
        "architecture": _architecture(config),
        "quantization": f"{quantization['bits']}bit" if quantization and quantization["bits"] else None,
        "context_length": model.description.context_length,
        **{key: _count(config.get(key, nested.get(key))) for key in _METADATA},
    }


def _architecture(config: dict[str, Any]) -> str | None:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _files(model: Model) -> list[dict[str, Any]]:
    return [
        {"name": name, "size": views.size(size or 0), "size_bytes": size, "type": _file_type(name)}
        for name, size in sorted(model.contents.files.items())
    ]


def _file_type(name: str) -> str:
    base = name.rpartition("/")[2].lower()
    if base.endswith((".safetensors", ".bin", ".gguf", ".npz")):
        return "weights"
    if base.startswith("readme"):
        return "readme"
    if base.startswith(_TOKENIZER):
        return "tokenizer"
    return "config" if base.endswith(".json") else "other"


def _text(model: Model, data: dict[str, Any], screen: Screen) -> str:
    _, colour = views.health(model)
    facts = _facts(model, data)
    lines = [line for name, value in facts for line in _fact(name, value, screen, colour if name == "Health" else None)]
    for problem in data["problems"]:
        lines += wrap(f"{problem['code']}: {problem['message']}", screen, "  ")
    if data["files"] is not None:
        width = max((len(file["size"]) for file in data["files"]), default=0)
        lines += ["", "Files:"] + [
            plain(f"  {file['size']:>{width}}  {file['type']:<9}  {file['name']}") for file in data["files"]
        ]
    if data["config"] is not None:
        lines += ["", "Config:", plain(json.dumps(data["config"], indent=2, ensure_ascii=False))]
    return "\n".join(lines)


def _facts(model: Model, data: dict[str, Any]) -> list[tuple[str, str]]:
    shown, described = data["model"], model.description
    word, _ = views.health(model)
    commit = f"@{model.snapshot.commit[:7]}" if model.snapshot.commit else ""
    quantization = shown["quantization"]
    facts = [
        ("Model", model.name + commit),
        ("Framework", described.framework),
        ("Type", f"{views.kind(model)} ({described.architecture or 'no model_type'})"),
        ("Capabilities", ", ".join(described.capabilities) or "none known"),
        ("Quantization", f"{quantization['bits']} bits, groups of {quantization['group_size']}" if quantization else "none"),
        ("Context", f"{described.context_length} tokens" if described.context_length else "unknown"),
        ("Size", views.size(model.contents.size_bytes)),
        ("Modified", views.age(model.contents.modified_s)),
        ("Health", f"{word.rstrip('*')} (files complete, does not run here)" if word.endswith("*") else word),
    ]
    for modality, verdict in shown["runtime"].items():
        facts.append((f"Runs {modality}", "yes" if verdict["compatible"] else f"no. {verdict['reason']}"))
    if not shown["runtime"]:
        facts.append(("Runs", f"no. {model.reason}"))
    return facts if model.snapshot.cached else [*facts, *_origin(shown)]


def _origin(shown: dict[str, Any]) -> list[tuple[str, str]]:
    pinned = shown["content_hash"]
    return [
        ("Origin", shown["origin"] or "unknown"),
        ("Clean", {True: "✓", False: "✗ (changed since its hash was pinned)", None: "-"}[shown["clean"]]),
        ("Content hash", f"{pinned[:23]}..." if pinned else "none"),
    ]


def _fact(name: str, value: str, screen: Screen, colour: Colour | None) -> list[str]:
    first, *rest = wrap(value, screen, " " * 15)
    return [screen.paint(f"{name + ':':<15}", "bold") + screen.paint(first[15:], colour), *rest]
