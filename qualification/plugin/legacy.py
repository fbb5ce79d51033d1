"""What converted legacy tests run a model with: the tool, by what their task gives and asks."""

from __future__ import annotations

import math
import struct
import tempfile
import wave
from pathlib import Path
from typing import Any

import pytest

from qualification.conversion.tasks import BACKENDS
from qualification.plugin import subject

_TOKENS = "16"
_NOT_FOUND, _REFUSED = 3, 4
"""Exit codes of the tool."""


def ask(model: str, task: str) -> dict[str, Any]:
    """What ``mlxk run --json`` answers to a small question of this task: its ``data``.

    Skips the test, with the reason, where the model is not in the cache or cannot run here; fails it for a task without backend.
    """
    if task not in BACKENDS:
        pytest.fail(f"nothing in mlxk runs {task} on MLX; what runs: {', '.join(sorted(BACKENDS))}", pytrace=False)
    with tempfile.TemporaryDirectory(prefix="legacy-") as scratch:
        question = _question(task, Path(scratch))
        called = subject.call("run", model, *question, "--max-tokens", _TOKENS, "--temperature", "0", "--json")
    if called.code in {_NOT_FOUND, _REFUSED}:
        pytest.skip(f"{model} does not run here: {called.envelope['error']['message']}")
    assert called.code == 0, called.envelope["error"]
    answer: dict[str, Any] = called.envelope["data"]
    return answer


def _question(task: str, folder: Path) -> list[str]:
    if BACKENDS[task] == "mlx-vlm":
        return ["What is this?", "--image", str(_picture(folder / "picture.png"))]
    if BACKENDS[task] == "mlx-audio":
        return ["--audio", str(_tone(folder / "tone.wav"))]
    return ["Once upon a time"]


def _picture(path: Path) -> Path:
    """A red square; where no library for pictures is, neither is one for vision models."""
    image = pytest.importorskip("PIL.Image", reason="vision models need the vision extra: pip install mlxk[vision]")
    image.new("RGB", (224, 224), "red").save(path)
    return path


def _tone(path: Path) -> Path:
    """A second of a 440 Hz tone, 16 kHz, mono, 16 bit."""
    samples = (int(8000 * math.sin(2 * math.pi * 440 * index / 16000)) for index in range(16000))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", "not compressed"))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path
