"""Runs the cells of one environment one after another: gate, prepare, supervise, classify, journal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qualification import gate, journal, machine, outcome, plan, records, settings, supervise, wheel
from qualification.bundle import Bundle, load_plan
from qualification.errors import EnvironmentUnfitError, UsageError
from qualification.matrix import nearest
from qualification.outcome import Ended, Judged
from qualification.plan import Cell, Plan
from qualification.units import format_bytes, format_seconds

_MINT_TIMEOUT_S = 300
_TEST_TIMEOUT_SHARE = 0.5
"""One test may take at most half of its cell's time, so that a hanging test leaves the others theirs."""


@dataclass(frozen=True, slots=True)
class Job:
    """One environment of one bundle.

    ``python`` is its interpreter: None where this machine has none of that version, or where the environment could not be
    made, and then ``unfit`` says why. ``wheel`` is what must be installed in it.
    """

    bundle: Bundle
    project: Path
    environment: str
    python: Path | None
    unfit: str = ""
    wheel: Path | None = None
    only: tuple[str, ...] = ()


def run(job: Job, tell: Callable[[str], None]) -> None:
    """Accounts for every cell of the job's environment: each is gated with its reason, or run and named by its outcome.

    ``tell`` gets each cell's name when it begins, and what became of it when it is over, for a person to read.
    """
    planned = load_plan(job.bundle)
    if job.environment not in planned.environments:
        raise UsageError(f"{job.environment} is no environment of this plan{nearest(job.environment, planned.environments)}")
    records.mend(job.bundle.tests)
    cells = [cell for cell in planned.cells if cell.environment == job.environment]
    unfit = job.unfit or _unfit(job)
    selected = plan.select(planned, job.only) if job.only else None
    for number, cell in enumerate(cells, start=1):
        tell(f"{number}/{len(cells)} {cell.id}")
        tell(f"    {_account(job, planned, cell, selected, unfit)}")


def _unfit(job: Job) -> str:
    """Why the environment is not the one that the plan means; empty when it is."""
    if job.python is None or job.wheel is None:
        return ""
    try:
        wheel.check_installed(job.wheel, job.python)
    except EnvironmentUnfitError as error:
        return str(error)
    return ""


def _account(job: Job, planned: Plan, cell: Cell, selected: frozenset[str] | None, unfit: str) -> str:
    """Gates or runs one cell, journals what became of it, and says so in a few words."""
    decision = gate.decide(cell, _facts(job, planned, cell, selected))
    if not decision.runs:
        journal.append(
            job.bundle.journal,
            "cell_gated",
            cell=cell.id,
            code=decision.code,
            sentence=decision.sentence,
            pays=decision.pays,
        )
        return f"not here: {decision.sentence}"
    attempt = 1 + sum(event["event"] == "cell_started" and event["cell"] == cell.id for event in journal.read(job.bundle.journal))
    journal.append(job.bundle.journal, "cell_started", cell=cell.id, attempt=attempt)
    started = time.monotonic()
    attempted = _Attempted(Judged("harness_error", unfit), 0, 0) if unfit else _attempt(job, cell, attempt)
    lines = [
        raw
        for _, record, raw in records.read(job.bundle.tests)
        if (record.get("cell"), record.get("attempt")) == (cell.id, attempt)
    ]
    duration_s = time.monotonic() - started
    journal.append(
        job.bundle.journal,
        "cell_finished",
        cell=cell.id,
        attempt=attempt,
        outcome=attempted.judged.outcome,
        reason=attempted.judged.reason,
        duration_s=round(duration_s, 3),
        peak_bytes=attempted.peak_bytes,
        tests={"collected": attempted.collected, "recorded": len(lines), "sha256": records.digest(lines)},
        log=job.bundle.log(cell.id, attempt).relative_to(job.bundle.root).as_posix(),
    )
    facts = f"{len(lines)} tests, {format_seconds(duration_s)}, {format_bytes(attempted.peak_bytes)}"
    return f"{attempted.judged.outcome} ({facts})" + (f": {attempted.judged.reason}" if attempted.judged.reason else "")


def _facts(job: Job, planned: Plan, cell: Cell, selected: frozenset[str] | None) -> gate.Facts:
    here = machine.observe()
    return gate.Facts(
        tier=machine.tier_of(here.ram_bytes, planned.tiers),
        pythons=frozenset({cell.python} if job.python or job.unfit else ()),
        available_bytes=here.available_bytes,
        selected=selected,
    )


@dataclass(frozen=True, slots=True)
class _Attempted:
    judged: Judged
    collected: int
    peak_bytes: int


def _attempt(job: Job, cell: Cell, attempt: int) -> _Attempted:
    with _scratch() as scratch:
        process = _Process(job, cell, attempt, scratch)
        try:
            process.prepare()
        except EnvironmentUnfitError as error:
            return _Attempted(Judged("harness_error", str(error)), 0, 0)
        if cell.process == "wet":
            return process.start()
        return _together(process.start_each_alone())


def _together(parts: Sequence[_Attempted]) -> _Attempted:
    """What several processes of one cell amount to."""
    return _Attempted(
        judged=outcome.worst([part.judged for part in parts]),
        collected=sum(part.collected for part in parts),
        peak_bytes=max(part.peak_bytes for part in parts),
    )


class _Process:
    """The pytest process of a cell: its private directories, its environment and its command line."""

    def __init__(self, job: Job, cell: Cell, attempt: int, scratch: Path) -> None:
        self._job, self._cell, self._attempt, self._scratch = job, cell, attempt, scratch
        self._hf_home = scratch / "hf"
        self._token = uuid.uuid4().hex
        for name in ("home", "tmp", "work", "hf"):
            (scratch / name).mkdir()

    def prepare(self) -> None:
        """Puts the cell's minted model into its Hugging Face home; a discovered model is read where the user has it."""
        model = self._cell.model
        if model is None:
            return
        if model.origin != "minted":
            self._hf_home = settings.hf_home()
            return
        argv = [
            str(self._job.python),
            "-m",
            "qualification",
            "mint",
            "--model",
            model.model_id,
            "--root",
            str(self._hf_home),
        ]
        with self._log().open("ab") as log:
            done = subprocess.run(
                argv,
                cwd=self._scratch / "work",
                env=self._environment(),
                stdout=log,
                stderr=log,
                timeout=_MINT_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            raise EnvironmentUnfitError(f"{model.model_id} could not be minted (code {done.returncode}); see {self._log().name}")

    def start(self, *selection: str) -> _Attempted:
        """Runs the cell's tests, or those of ``selection``, in one supervised process, and names its outcome."""
        before = len(records.read(self._job.bundle.tests))
        ended = self._supervised(selection, collect_only=False)
        written = [record for _, record, _ in records.read(self._job.bundle.tests)[before:]]
        return _Attempted(outcome.classify(ended, written), len(ended.collected or ()), ended.peak_bytes)

    def start_each_alone(self) -> list[_Attempted]:
        """Collects once, then gives every test a process of its own."""
        before = len(records.read(self._job.bundle.tests))
        collection = self._supervised((), collect_only=True)
        if collection.returncode != 0 or not collection.collected:
            written = [record for _, record, _ in records.read(self._job.bundle.tests)[before:]]
            return [_Attempted(outcome.classify(collection, written), 0, collection.peak_bytes)]
        return [self.start(test) for test in collection.collected]

    def _supervised(self, selection: Sequence[str], collect_only: bool) -> Ended:
        context = self._scratch / "cell.json"
        progress = self._scratch / "progress.jsonl"
        progress.unlink(missing_ok=True)
        context.write_text(json.dumps(self._context(progress)), encoding="utf-8")
        spec = supervise.Spec(
            cell=self._cell.id,
            argv=tuple(self._argv(context, selection, collect_only)),
            cwd=str(self._scratch / "work"),
            environment=self._environment(),
            log=str(self._log()),
            memory_log=str(self._job.bundle.memory),
            result=str(self._scratch / "result.json"),
            scratch=str(self._scratch),
            timeout_s=self._cell.timeout_s,
        )
        Path(spec.result).unlink(missing_ok=True)
        result = supervise.run(spec, self._scratch / "spec.json")
        told = _told(progress)
        return Ended(
            returncode=result.returncode,
            how=result.how,
            collected=None if told["collected"] is None else tuple(told["collected"]),
            running=told["running"],
            survivors=result.survivors,
            duration_s=result.duration_s,
            peak_bytes=result.peak_bytes,
        )

    def _log(self) -> Path:
        return self._job.bundle.log(self._cell.id, self._attempt)

    def _argv(self, context: Path, selection: Sequence[str], collect_only: bool) -> Iterator[str]:
        project = self._job.project
        yield from (
            str(self._job.python),
            "-m",
            "pytest",
            "-c",
            str(project / "pyproject.toml"),
            "--rootdir",
            str(project),
        )
        yield from ("-p", "no:cacheprovider", "--basetemp", str(self._scratch / "tmp" / "pytest"))
        yield from ("--cell", str(context), "--report-output", str(self._job.bundle.tests))
        yield from ("-o", f"timeout={self._cell.timeout_s * _TEST_TIMEOUT_SHARE:g}", "-v", "-rfEs")
        if self._cell.marks:
            yield from ("-m", self._cell.marks)
        if collect_only:
            yield "--collect-only"
        yield from (str(project / test) for test in selection or self._cell.tests)

    def _environment(self) -> dict[str, str]:
        """The whole environment of the cell: nothing of the user's but what ``settings`` hands down."""
        assert self._job.python is not None
        inherited = settings.inherited()
        return {
            **inherited,
            "PATH": os.pathsep.join([str(self._job.python.parent), inherited.get("PATH", os.defpath)]),
            "HOME": str(self._scratch / "home"),
            "TMPDIR": str(self._scratch / "tmp"),
            "QUALIFICATION_MINT_ROOT": str(settings.mint_root()),
            "HF_HOME": str(self._hf_home),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "MLX_DISABLE_COMPILE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "NO_COLOR": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONFAULTHANDLER": "1",
            supervise.TOKEN: self._token,
        }

    def _context(self, progress: Path) -> dict[str, object]:
        model = self._cell.model
        return {
            "run": self._job.bundle.run_id,
            "cell": self._cell.id,
            "attempt": self._attempt,
            "python": self._cell.python,
            "dependencies": self._cell.dependencies,
            "model": asdict(model) if model else None,
            "progress": str(progress),
            "project": str(self._job.project),
        }


def _told(progress: Path) -> dict[str, Any]:
    """The last word of a process on what it collected and what it was running."""
    told: dict[str, Any] = {"collected": None, "running": None}
    if progress.exists():
        for line in progress.read_text(encoding="utf-8").splitlines():
            told |= json.loads(line)
    return told


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private directory that is gone afterwards; the name starts as the safety checks of the isolated cache expect."""
    path = Path(tempfile.mkdtemp(prefix="mlxk2_test_"))
    try:
        yield path
    finally:
        shutil.rmtree(path, onerror=_make_writable_and_retry)


def _make_writable_and_retry(function: object, path: str, _error: object) -> None:
    Path(path).parent.chmod(0o700)
    if callable(function):
        function(path)
