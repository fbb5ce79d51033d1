"""Somebody at a command line, with a home of his own and the local hub for a Hub."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mlxk.dispatch import dispatch
from qualification.hub.server import LocalHub

HAS_SHARED_BLOBS = tuple(map(int, version("huggingface-hub").split(".")[:2])) >= (1, 32)
collect_ignore = [] if HAS_SHARED_BLOBS else ["test_shared_blobs.py"]  # the client makes the caches that it is about
SCHEMA = Draft202012Validator(json.loads(files("mlxk.schemas").joinpath("output.json").read_text(encoding="utf-8")))
_FOREIGN = ("HF_", "HUGGINGFACE_", "MLXK", "XDG_")


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        """What was printed for a program; every one is checked against the schema."""
        printed: dict[str, Any] = json.loads(self.out)
        assert [problem.message for problem in SCHEMA.iter_errors(printed)] == []
        return printed

    @property
    def data(self) -> dict[str, Any]:
        assert self.code == 0, self.out + self.err
        found: dict[str, Any] = self.envelope["data"]
        return found

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.envelope["error"]
        return found


class Person:
    """``run`` is quick, in this process; ``start`` is a process of its own, for what a process does to a process."""

    def __init__(self, home: Path, hub: LocalHub, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.hub = home / "hub"
        self._remote = hub
        self._capsys = capsys

    def run(self, *arguments: str) -> Ended:
        self._capsys.readouterr()
        code = dispatch(list(arguments))
        said = self._capsys.readouterr()
        return Ended(code, said.out, said.err)

    def start(self, *arguments: str, first: str = "pass", **options: Any) -> subprocess.Popen[str]:
        """``first`` is what the process does before it is the tool."""
        command = [sys.executable, "-c", f"{first}\nimport sys\nfrom mlxk.cli import main\nsys.exit(main())", *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=self.environment(), **{**pipes, **options})

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        token = {"HF_TOKEN": os.environ["HF_TOKEN"]} if "HF_TOKEN" in os.environ else {}
        return {**kept, **token, "HF_HOME": str(self.home), "HF_ENDPOINT": self._remote.url}

    def repository(self, name: str) -> Path:
        return self.hub / f"models--{name.replace('/', '--')}"

    def files(self, name: str, commit: str | None = None) -> dict[str, bytes]:
        """What the cache shows of a model: of the commit, or of the one that main leads to."""
        folder = self.repository(name)
        commit = commit or (folder / "refs" / "main").read_text(encoding="utf-8")
        return content(folder / "snapshots" / commit)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def person(local_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Person:
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        monkeypatch.delenv(name)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK", "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        monkeypatch.setenv(name, "1")  # the tool sets them for its client; they are not to outlive the test
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    lead_to(local_hub, monkeypatch)
    return Person(tmp_path / "home", local_hub, capsys)


def lead_to(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT leads a process; the client has read it when it was imported, and 1.0 looks at nothing else."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def lead() -> Callable[[LocalHub, pytest.MonkeyPatch], None]:
    return lead_to


@pytest.fixture
def tell() -> Callable[[Path], dict[str, bytes]]:
    return content


@pytest.fixture
def interrupted_amid() -> Callable[[str], str]:
    """What makes a process that imports a module be interrupted there, told as Python before 3.12 does in the midst of a class.

    huggingface_hub then prints a mistake of its own, and raises it on.
    """
    finder = """
        import os, signal, sys

        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == MODULE:
                    try:
                        os.kill(os.getpid(), signal.SIGINT)
                    except KeyboardInterrupt as interrupt:
                        raise RuntimeError("Error calling __set_name__") from interrupt

        sys.meta_path.insert(0, Finder())
    """
    return lambda module: f"MODULE = {module!r}{textwrap.dedent(finder)}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A llama that is whole and cannot be run: two shards of some hundred kilobytes, tokenizer, a file in a folder."""
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    written = {
        "config.json": {"model_type": "llama", "vocab_size": 8},
        "tokenizer.json": {"version": "1.0"},
        "tokenizer_config.json": {"chat_template": "{{ messages }}"},
        "model.safetensors.index.json": {"weight_map": {"t0": shards[0], "t1": shards[1]}},
        "deep/notes ü.json": {"notes": "grün"},
    }
    for name, document in written.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    for number, shard in enumerate(shards):
        (folder / shard).write_bytes(safetensors(f"t{number}", random.Random(number).randbytes(400_000)))
    return folder


def safetensors(tensor: str, raw: bytes) -> bytes:
    """As https://huggingface.co/docs/safetensors describes it: the header's length, the header, the bytes."""
    place = {"dtype": "U8", "shape": [len(raw)], "data_offsets": [0, len(raw)]}
    header = json.dumps({"__metadata__": {"format": "mlx"}, tensor: place}).encode()
    return len(header).to_bytes(8, "little") + header + raw
