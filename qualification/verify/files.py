"""Every file of a bundle, against the hashes of its manifest."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qualification import schemas

SOURCES = ("plan.json", "machine.json", "journal.jsonl")
"""What a run always writes; ``tests.jsonl``, ``memory.jsonl`` and logs are there once a cell has run."""

DERIVED = ("verdict.json", "index.html", "junit.xml", "ctrf.json")
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Found:
    """The files below ``root`` by name with their sha256, what is wrong with them, and the sha256 of the manifest itself."""

    root: Path
    sha256: dict[str, str]
    findings: tuple[str, ...]
    seal: str

    def content(self, name: str) -> bytes:
        """Empty where there is no such file: that it is missing was found already."""
        return (self.root / name).read_bytes() if name in self.sha256 else b""


def read(root: Path) -> Found:
    """Hashes everything below ``root`` and compares it with ``manifest.json``."""
    sha256: dict[str, str] = {}
    findings: list[str] = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and name != "manifest.json" and not (name == _LOCK and path.stat().st_size == 0):
            try:
                sha256[name] = _sha256(path)
            except OSError as error:
                findings.append(f"{name}: cannot be read ({error.strerror})")
        elif not stat.S_ISREG(mode) and not (stat.S_ISDIR(mode) and name == "logs"):
            findings.append(f"{name}: neither a file nor the directory of logs; a bundle holds nothing else")
    manifest = root / "manifest.json"
    if not manifest.is_file():
        missing = "manifest.json: missing, so nothing is sealed; `python -m qualification verdict` seals a run that is over"
        return Found(root, sha256, (*findings, missing), "")
    content = manifest.read_bytes()
    return Found(root, sha256, (*findings, *_differences(content, sha256)), hashlib.sha256(content).hexdigest())


def _differences(content: bytes, found: dict[str, str]) -> Iterator[str]:
    try:
        document: dict[str, Any] = schemas.parse(content)
    except ValueError as error:
        yield f"manifest.json: not JSON ({error})"
        return
    wrong = schemas.violations("manifest", document)
    if wrong:
        yield f"manifest.json: {wrong[0]}"
        return
    if content != (json.dumps(document, indent=1, sort_keys=True) + "\n").encode("utf-8"):
        yield "manifest.json: not as it was written; a sealed manifest has one form"
    sealed = {**document["sha256"], **document["derived"]}
    for name in (*SOURCES, *DERIVED):
        if name not in sealed:
            yield f"{name}: not in the manifest; `python -m qualification verdict` completes it"
    for name in sorted(document["sha256"].keys() & document["derived"].keys()):
        yield f"{name}: both a source and derived, says the manifest"
    for name in sorted(sealed.keys() | found.keys()):
        if name not in found:
            yield f"{name}: gone since the bundle was sealed"
        elif name not in sealed:
            yield f"{name}: added since the bundle was sealed"
        elif sealed[name] != found[name]:
            yield f"{name}: changed since the bundle was sealed"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
