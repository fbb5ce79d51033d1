"""A hub cache made of small files: whole enough to be judged, too small to be run."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Writes models into a cache in the layout of huggingface_hub, without its blobs."""

    commit = COMMIT

    @staticmethod
    def weights(tensors: int = 1, form: str = "mlx") -> bytes:
        return weights(tensors, form)

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, files: dict[str, object] | None = None, commit: str = COMMIT, *, main: bool = True) -> Path:
        """A whole llama of MLX's making; ``files`` replaces or adds files, and None leaves one out."""
        folder = self.root / ("models--" + name.replace("/", "--"))
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        if main:
            (folder / "refs").mkdir(exist_ok=True)
            (folder / "refs" / "main").write_text(commit, encoding="utf-8")
        whole: dict[str, object] = {
            "config.json": {"model_type": "llama", "max_position_embeddings": 512, "vocab_size": 8},
            "model.safetensors": weights(),
            "tokenizer.json": {"version": "1.0"},
            "tokenizer_config.json": {"chat_template": "{{ messages }}"},
        }
        for file, content in (whole | (files or {})).items():
            if content is not None:
                put(snapshot / file, content)
        return snapshot


def weights(tensors: int = 1, form: str = "mlx") -> bytes:
    """A safetensors file of 4-byte tensors, written by hand from the format's description."""
    header: dict[str, object] = {"__metadata__": {"format": form}}
    for number in range(tensors):
        header[f"t{number}"] = {"dtype": "F32", "shape": [1], "data_offsets": [4 * number, 4 * number + 4]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(4 * tensors)


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    root = tmp_path / "hub"
    root.mkdir()
    return Hub(root)
