"""Show what a model is, whether its files are whole, and whether it runs here."""

from __future__ import annotations

import argparse
from typing import Any

from mlxk import settings
from mlxk.compatibility import MlxLm
from mlxk.library import Library, Model
from mlxk.output import Result
from mlxk.views import age, kind, model_object, size

_METADATA = ("vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="org/name or a part of a name, with @REVISION if need be")


def execute(arguments: argparse.Namespace) -> Result:
    model = Library(settings.hub_cache(), MlxLm.installed()).find(arguments.model)
    data = {
        "model": {**model_object(model), "quantization": model.description.quantization},
        "metadata": _metadata(model),
        "problems": [{"code": p.code, "message": p.message, "path": p.path} for p in model.problems],
    }
    return Result(data, _text(model))


def _metadata(model: Model) -> dict[str, Any]:
    config = model.contents.document("config.json")
    nested = config.get("text_config")
    nested = nested if isinstance(nested, dict) else {}
    return {"architecture": model.description.architecture} | {key: config.get(key, nested.get(key)) for key in _METADATA}


def _text(model: Model) -> str:
    described = model.description
    quantization = described.quantization or {}
    lines = {
        "Model": f"{model.name}@{(model.snapshot.commit or 'no snapshot')[:11]}",
        "Framework": described.framework,
        "Type": kind(model),
        "Capabilities": ", ".join(described.capabilities) or "none known",
        "Architecture": described.architecture or "unknown",
        "Quantization": f"{quantization.get('bits')} bits, groups of {quantization.get('group_size')}"
        if quantization
        else "none",
        "Context": f"{described.context_length} tokens" if described.context_length else "unknown",
        "Size": size(model.contents.size_bytes),
        "Modified": age(model.contents.modified_s),
        "Health": "healthy" if model.healthy else "unhealthy",
        "Runs here": "yes" if model.runnable else f"no: {model.reason}",
    }
    problems = [f"  {problem.code}: {problem.message}" for problem in model.problems]
    return "\n".join([f"{name + ':':<14} {value}" for name, value in lines.items()] + problems)
