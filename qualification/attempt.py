"""One attempt at a cell: its private directories, its model, its environment and its pytest processes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qualification import caches, needs, outcome, processes, records, redaction, settings, supervise
from qualification.declared import Process, Quarantined
from qualification.errors import BundleError, EnvironmentUnfitError, UsageError
from qualification.forkserver import ForkServer
from qualification.outcome import Ended, Judged
from qualification.performance import environments
from qualification.performance.environments import Releases, Side
from qualification.plan import Cell
from qualification.supervise import Result

_MINT_TIMEOUT_S = 300
_TEST_TIMEOUT_SHARE = 0.5
"""One test may take at most half of its cell's time, so that a hanging test leaves the others theirs."""


_BASETEMP = "pytest"
_UNFUSED = {"MLX_DISABLE_COMPILE": "1"}
"""Minting fuses nothing: compiling kernels takes longer than they save. Tests see what users see."""
_PARTS = 2
"""Into how many processes a shuffled cell is split."""


@dataclass(frozen=True, slots=True)
class Share:
    """Part ``part`` (from 0) of ``parts``, of the tests in the order that ``seed`` gives."""

    seed: int
    part: int
    parts: int

    def __str__(self) -> str:
        return f"part {self.part + 1} of {self.parts}, shuffled with {self.seed}"


@dataclass(frozen=True, slots=True)
class Order:
    """What to attempt, with which interpreter, and where to write; ``abandoned`` tells when nobody waits for it.

    ``need_bytes`` is what it is expected to hold in memory, ``quarantine`` the entries that cover it. ``supervisors`` forks
    the one for it; without, an interpreter is started for it. ``releases`` are for a cell that compares them.
    """

    cell: Cell
    number: int
    run: str
    project: Path
    python: Path
    tests: Path
    memory: Path
    log: Path
    abandoned: Callable[[], bool]
    need_bytes: int = 0
    quarantine: tuple[Quarantined, ...] = ()
    supervisors: ForkServer | None = None
    releases: Releases | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt at a cell went; ``tests`` are the raw lines that it wrote into ``tests.jsonl``."""

    judged: Judged
    collected: int = 0
    peak_bytes: int = 0
    tests: tuple[bytes, ...] = ()


def make(order: Order) -> Attempt:
    """Prepares the cell's private directories, runs its tests under supervision, and names the outcome."""
    if order.supervisors:
        order.supervisors.prepare()  # a runner that is killed while it waits leaves no scratch
    with _scratch() as scratch:
        try:
            return _made(order, scratch)
        except BundleError as error:
            return Attempt(Judged("harness_error", str(error)))


def _made(order: Order, scratch: Path) -> Attempt:
    """One of several processes that cannot be had does not undo what the others have recorded."""
    before = records.end(order.tests)
    try:
        process = _Process(order, scratch)
        process.prepare()
        return _together(_WAYS[order.cell.process](process))
    except EnvironmentUnfitError as error:
        written = records.written_since(order.tests, before, order.cell.id)
        return Attempt(Judged("harness_error", str(error)), tests=tuple(line for _, line in written))


def _together(parts: Sequence[Attempt]) -> Attempt:
    """What several processes of one cell amount to."""
    return Attempt(
        judged=outcome.worst([part.judged for part in parts]),
        collected=sum(part.collected for part in parts),
        peak_bytes=max(part.peak_bytes for part in parts),
        tests=tuple(line for part in parts for line in part.tests),
    )


class _Process:
    """The pytest process of a cell: its private directories, its environment and its command line."""

    def __init__(self, order: Order, scratch: Path) -> None:
        self._order, self._cell, self._scratch = order, order.cell, scratch
        self._hf_home = scratch / "hf"
        self._users_cache: Path | None = None
        self._compared: tuple[Side, Side] | None = None
        self._token = uuid.uuid4().hex
        self._deadline = time.monotonic() + order.cell.timeout_s
        self._make_directories()

    def prepare(self) -> None:
        """Puts the cell's minted model into its Hugging Face home; a discovered model is read where the user has it.

        For a cell that compares two releases their environments are made, or found where an earlier run has made them.
        """
        if self._cell.metrics and self._order.releases:
            try:
                self._compared = environments.both(self._order.releases, self._order.python)
            except UsageError as error:
                raise EnvironmentUnfitError(str(error)) from error
        model = self._cell.model
        if model is None:
            return
        if model.origin != "minted":
            self._hf_home = settings.hf_home()
            self._users_cache = self._hf_home / "hub"
            return
        argv = [
            str(self._order.python),
            "-m",
            "qualification",
            "mint",
            "--model",
            model.model_id,
            "--root",
            str(self._hf_home),
        ]
        result = self._run(argv, _MINT_TIMEOUT_S, {**self._environment(), **_UNFUSED})
        if result.how == "timeout":
            raise EnvironmentUnfitError(f"{model.model_id} was not minted within {_MINT_TIMEOUT_S} s; see {self._order.log.name}")
        if result.how == "orphaned" or result.returncode != 0:
            raise EnvironmentUnfitError(
                f"{model.model_id} could not be minted (code {result.returncode}); see {self._order.log.name}"
            )

    def start(self, *selection: str, share: Share | None = None) -> Attempt:
        """Runs the cell's tests, or those of ``selection``, in one supervised process, and names its outcome."""
        ended, written = self._supervised(selection, share=share)
        judged = outcome.classify(_as_recorded(ended), [record for record, _ in written], self._order.quarantine)
        if share and judged.reason and judged != outcome.NOTHING_COLLECTED:
            judged = replace(judged, reason=f"in {share}: {judged.reason}")
        return Attempt(judged, len(ended.collected or ()), ended.peak_bytes, tuple(line for _, line in written))

    def start_together(self) -> list[Attempt]:
        return [self.start()]

    def start_shuffled(self) -> list[Attempt]:
        """In two processes and an order of their own: what passes here passes for no other test's sake.

        One of them gets nothing where there are too few tests for both, which says nothing of the other.
        """
        seed = int(hashlib.sha256(f"{self._order.run} {self._cell.id} {self._order.number}".encode()).hexdigest()[:8], 16)
        parts = [self.start(share=Share(seed, part, _PARTS)) for part in range(_PARTS)]
        return [part for part in parts if part.tests or part.judged != outcome.NOTHING_COLLECTED] or parts

    def start_each_alone(self) -> list[Attempt]:
        """Collects once, then gives every test a process of its own; together they have the cell's time.

        The collection is a part like them where it tells of something: a module that skips itself as a whole, or what it left.
        """
        collection, written = self._supervised((), "--collect-only")
        tests = () if collection.returncode != 0 or collection.survivors else collection.collected or ()
        parts = [self.start(test) for test in tests]
        if not tests or written or collection.left or collection.cache_changes:
            told = replace(collection, collected=()) if tests else collection  # none of them was to run yet
            judged = outcome.classify(told, [record for record, _ in written])
            parts.insert(0, Attempt(judged, 0, collection.peak_bytes, tuple(line for _, line in written)))
        return parts

    def _supervised(
        self, selection: Sequence[str], *options: str, share: Share | None = None
    ) -> tuple[Ended, list[tuple[dict[str, Any], bytes]]]:
        """How the process ended, and the records that it wrote with their raw lines."""
        self._make_directories()
        context = self._scratch / "cell.json"
        progress = self._scratch / "progress.jsonl"
        progress.unlink(missing_ok=True)
        context.write_text(json.dumps(self._context(progress, share)), encoding="utf-8")
        before = records.end(self._order.tests)
        argv = (*self._argv(context), *options, *self._paths(selection or self._cell.tests))
        cache = caches.fingerprint(self._users_cache)
        left_s = max(0.0, self._deadline - time.monotonic())
        result = self._run(argv, left_s, self._environment(), self._order.need_bytes, str(progress))
        told = _told(progress)
        ended = Ended(
            returncode=result.returncode,
            how=result.how,
            collected=None if told["collected"] is None else tuple(told["collected"]),
            running=told["running"],
            survivors=result.survivors,
            duration_s=result.duration_s,
            peak_bytes=result.peak_bytes,
            finished=told["ended"],
            distress=result.distress,
            left=self._left(),
            cache_changes=caches.changes(cache, caches.fingerprint(self._users_cache)),
        )
        return ended, records.written_since(self._order.tests, before, self._cell.id)

    def _left(self) -> tuple[str, ...]:
        """What is in the temporary directory beside pytest's own; it is removed, so that the next process finds none of it."""
        left = sorted(path for path in (self._scratch / "tmp").glob("*") if path.name != _BASETEMP)
        for path in left:
            supervise.discard(path)
            path.unlink(missing_ok=True)
        return tuple(path.name for path in left)

    def _run(
        self, argv: Sequence[str], timeout_s: float, environment: Mapping[str, str], need_bytes: int = 0, progress: str = ""
    ) -> Result:
        """Runs one process of the cell under supervision. Raises EnvironmentUnfitError where it cannot even be started."""
        spec = supervise.Spec(
            cell=self._cell.id,
            argv=tuple(argv),
            cwd=str(self._scratch / "work"),
            environment=dict(environment),
            log=str(self._order.log),
            memory_log=str(self._order.memory),
            result=str(self._scratch / "result.json"),
            scratch=str(self._scratch),
            names=self._names(),
            timeout_s=timeout_s,
            need_bytes=need_bytes,
            progress=progress,
        )
        Path(spec.result).unlink(missing_ok=True)
        result = supervise.run(spec, self._scratch / "spec.json", self._order.abandoned, self._order.supervisors)
        if result.unstartable:
            raise EnvironmentUnfitError(supervise.anonymous(result.unstartable, spec.names))
        return result

    def _make_directories(self) -> None:
        """Makes them again for the next test, should one have removed them."""
        for name in ("home", "tmp", "work", "hf"):
            (self._scratch / name).mkdir(parents=True, exist_ok=True)

    def _names(self) -> dict[str, str]:
        """What stands for this machine's directories in what is kept."""
        named = ((self._order.project, "<project>"), (self._scratch, "<scratch>"), (Path.home(), "~"))
        paths = {str(written): name for path, name in named for written in (path, path.resolve()) if path != Path("/")}
        token = needs.environment(self._cell.needs).get("HF_TOKEN")
        return {**paths, token: "<token>"} if token else paths

    def _paths(self, tests: Sequence[str]) -> list[str]:
        """Joined as text: a parameter in a test's id may look like a path, and is none."""
        return [f"{self._order.project}/{test}" for test in tests]

    def _argv(self, context: Path) -> Iterator[str]:
        project = self._order.project
        yield from (
            str(self._order.python),
            "-m",
            "qualification.plugin",
            "-c",
            str(project / "pyproject.toml"),
            "--rootdir",
            str(project),
        )
        yield from ("-o", "addopts=", "--import-mode=importlib", "--strict-markers", "--strict-config")
        yield from (
            "-W",
            "error::pytest.PytestCollectionWarning",
            "-p",
            "no:cacheprovider",
            "--basetemp",
            str(self._scratch / "tmp" / _BASETEMP),
        )
        yield from ("--cell", str(context), "--report-output", str(self._order.tests))
        yield from ("-o", f"timeout={self._cell.timeout_s * _TEST_TIMEOUT_SHARE:g}", "-v", "-rfEs")
        if self._cell.reruns:
            yield from ("-p", "pytest_rerunfailures")
        if self._cell.marks:
            yield from ("-m", self._cell.marks)

    def _environment(self) -> dict[str, str]:
        """The whole environment of the cell: nothing of the user's but what ``settings`` hands down."""
        inherited = settings.inherited()
        return {
            **inherited,
            "PATH": os.pathsep.join([str(self._order.python.parent), inherited.get("PATH", os.defpath)]),
            "HOME": str(self._scratch / "home"),
            "TMPDIR": str(self._scratch / "tmp"),
            "QUALIFICATION_MINT_ROOT": str(settings.mint_root()),
            "HF_HOME": str(self._hf_home),
            **({} if self._cell.needs else {"HF_HUB_OFFLINE": "1"}),
            **needs.environment(self._cell.needs),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "NO_COLOR": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONFAULTHANDLER": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            processes.TOKEN: self._token,
        }

    def _context(self, progress: Path, share: Share | None) -> dict[str, object]:
        model = self._cell.model
        return {
            "run": self._order.run,
            "cell": self._cell.id,
            "attempt": self._order.number,
            "python": self._cell.python,
            "dependencies": self._cell.dependencies,
            "model": asdict(model) if model else None,
            "progress": str(progress),
            "reruns": self._cell.reruns,
            "share": asdict(share) if share else None,
            "project": str(self._order.project),
            "sides": [{"wheel": str(side.wheel), "sha256": side.sha256, "root": str(side.root)} for side in self._compared or ()],
            "metrics": [asdict(metric) for metric in self._cell.metrics],
        }


_WAYS: dict[Process, Callable[[_Process], list[Attempt]]] = {
    "wet": _Process.start_together,
    "separate": _Process.start_each_alone,
    "shuffled": _Process.start_shuffled,
}


def _as_recorded(ended: Ended) -> Ended:
    """With its tests under the names of their records, in which no home directory and no token is left."""
    return replace(ended, collected=ended.collected and tuple(map(redaction.clean, ended.collected)))


def _told(progress: Path) -> dict[str, Any]:
    """The last word of a process on what it collected and what it was running; a line that a kill cut short is left out."""
    told: dict[str, Any] = {"collected": None, "running": None, "ended": False}
    if progress.exists():
        for line in progress.read_bytes().split(b"\n")[:-1]:
            try:
                fact = json.loads(line)
            except ValueError as error:
                raise BundleError(f"something else than the harness wrote into the cell's {progress.name} ({error})") from error
            if not _is_progress(fact):
                raise BundleError(f"something else than the harness wrote into the cell's {progress.name}: {fact!r}")
            told |= fact
    return told


def _is_progress(fact: object) -> bool:
    match fact:
        case {"collected": list(tests), **others}:
            return not others and all(isinstance(test, str) for test in tests)
        case {"running": str() | None, **others} | {"ended": True, **others} | {"obeys": True, **others}:
            return not others
    return False


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private directory that is gone afterwards; the name starts as the safety checks of the isolated cache expect."""
    path = Path(tempfile.mkdtemp(prefix="mlxk2_test_"))
    try:
        yield path
    finally:
        supervise.discard(path)
