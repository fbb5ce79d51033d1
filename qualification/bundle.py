"""A run's directory: where everything in it lies, how one is begun, and how it is sealed with a manifest of hashes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from qualification import journal, plan, redaction
from qualification.errors import BundleError, UsageError
from qualification.machine import Machine


@dataclass(frozen=True, slots=True)
class Bundle:
    """Paths of one bundle."""

    root: Path

    @property
    def run_id(self) -> str:
        return self.root.name

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def machine(self) -> Path:
        return self.root / "machine.json"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def tests(self) -> Path:
        return self.root / "tests.jsonl"

    @property
    def memory(self) -> Path:
        return self.root / "memory.jsonl"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def verdict(self) -> Path:
        return self.root / "verdict.json"

    @property
    def index(self) -> Path:
        return self.root / "index.html"

    @property
    def junit(self) -> Path:
        return self.root / "junit.xml"

    @property
    def ctrf(self) -> Path:
        return self.root / "ctrf.json"

    @property
    def derived(self) -> tuple[Path, ...]:
        """What follows from the rest, the verdict first: an old one must go before anything that it spoke of."""
        return self.verdict, self.index, self.junit, self.ctrf

    def log(self, cell: str, attempt: int) -> Path:
        """The log of one attempt: the cell's id in characters that every file system takes, and what tells it from the like."""
        return self.logs / f"{slug(cell)[:100]}.{hashlib.sha256(cell.encode()).hexdigest()[:6]}.{attempt}.log"

    def document(self, cell: str, attempt: int, name: str) -> Path:
        """What tests of one attempt found, beside its log."""
        return self.logs / f"{slug(cell)[:150]}.{attempt}.{name}"


def slug(name: str) -> str:
    """Characters that every file system takes, and no path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "unnamed"


def begin(reports: Path, frozen_plan: bytes, matrix: str, machine: Machine) -> Bundle:
    """A new bundle below ``reports``, with its plan and machine written and its journal begun; ``reports/latest`` names it."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    bundle = Bundle(reports / f"{stamp}-{matrix}-{secrets.token_hex(2)}")
    bundle.logs.mkdir(parents=True)
    bundle.plan.write_bytes(frozen_plan)
    bundle.machine.write_text(json.dumps(asdict(machine), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    journal.append(bundle.journal, "run_started", run=bundle.run_id, plan_sha256=hashlib.sha256(frozen_plan).hexdigest())
    pointer = reports / f".latest-{os.getpid()}"
    pointer.symlink_to(bundle.run_id, target_is_directory=True)
    pointer.replace(reports / "latest")
    return bundle


def find(path: Path) -> Bundle:
    """The bundle at ``path``. Raises UsageError where none is."""
    bundle = Bundle(path.resolve())
    if not bundle.plan.is_file():
        raise UsageError(f"{path} is no bundle: it has no plan.json; `make plan` or `make qualify` makes one below reports/")
    return bundle


def load_plan(bundle: Bundle) -> plan.Plan:
    """The bundle's frozen plan."""
    return plan.thaw(bundle.plan.read_bytes())


def seal(bundle: Bundle) -> None:
    """Writes the sha256 of every file that came from the run itself; ``cover`` adds what is derived from them.

    A bundle that is sealed already is checked instead. Raises BundleError where a file differs, is gone, or was added.
    """
    if not bundle.manifest.exists():
        _clean_logs(bundle)
    found = {file.relative_to(bundle.root).as_posix(): _sha256(file) for file in _sources(bundle)}
    if not bundle.manifest.exists():
        _write_manifest(bundle, found, {})
        return
    sealed = _sealed(bundle)
    changed = sorted(name for name in sealed.keys() | found.keys() if sealed.get(name) != found.get(name))
    if changed:
        raise BundleError(f"changed after the bundle was sealed: {', '.join(changed)}")


def cover(bundle: Bundle) -> str:
    """Adds the sha256 of every derived file to the manifest; returns the manifest's own, which vouches for the whole bundle."""
    derived = {file.name: _sha256(file) for file in bundle.derived if file.is_file()}
    _write_manifest(bundle, _sealed(bundle), derived)
    return _sha256(bundle.manifest)


@contextmanager
def claimed(bundle: Bundle) -> Iterator[None]:
    """No two runs work on one bundle at a time. Raises UsageError where another does; the system frees it with its holder."""
    with (bundle.root / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is working on {bundle.run_id}; wait for it, or begin a bundle of your own") from error
        yield


def forget_verdict(bundle: Bundle) -> None:
    """Removes what an earlier judgement wrote, so that no old word outlives what it was about."""
    for file in bundle.derived:
        file.unlink(missing_ok=True)


def unseal(bundle: Bundle) -> None:
    """Opens a bundle for further attempts. Raises BundleError where it was changed since it was sealed."""
    if bundle.manifest.exists():
        seal(bundle)
        forget_verdict(bundle)
        bundle.manifest.unlink()


def _sources(bundle: Bundle) -> list[Path]:
    named = [bundle.plan, bundle.machine, bundle.journal, bundle.tests, bundle.memory]
    return [file for file in (*named, *sorted(bundle.logs.glob("*"))) if file.is_file()]


def _clean_logs(bundle: Bundle) -> None:
    """What processes print is theirs; a bundle goes to others."""
    for log in bundle.logs.glob("*"):
        if log.is_file() and any(_cleaned(line) != line for line in _lines(log)):
            partial = bundle.root / ".cleaned"  # not among the logs, where a kill would leave one log more
            with partial.open("wb") as file:
                file.writelines(_cleaned(line) for line in _lines(log))
            partial.replace(log)


def _lines(log: Path) -> Iterator[bytes]:
    """One at a time: there are logs that are larger than memory."""
    with log.open("rb") as file:
        yield from file


def _cleaned(line: bytes) -> bytes:
    return redaction.clean(line.decode("utf-8", errors="surrogateescape")).encode("utf-8", errors="surrogateescape")


def _sealed(bundle: Bundle) -> dict[str, str]:
    try:
        return dict(json.loads(bundle.manifest.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"manifest.json cannot be read ({error}); the bundle was changed after it was sealed") from error


def _write_manifest(bundle: Bundle, sources: dict[str, str], derived: dict[str, str]) -> None:
    document = {"manifest": 1, "sha256": sources, "derived": derived}
    write_atomically(bundle.manifest, json.dumps(document, indent=1, sort_keys=True) + "\n")


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """``path`` holds the whole of ``text`` or what it held before."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
