# /// script
# dependencies = ["jinja2>=3.1.6", "jsonschema>=4.23", "nox>=2025.5.1", "psutil>=6", "pyyaml>=6.0.2", "rich>=13.9"]
# ///
"""Environments and named sessions only: what happens in them is in ``qualification``."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TextIO

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from qualification import interpreters, matrix, settings  # noqa: E402  (the checkout must be on the path first)
from qualification.declared import Matrix  # noqa: E402
from qualification.errors import BundleError, MatrixError  # noqa: E402
from qualification.plan import environment_id, thaw  # noqa: E402

CONSTRAINTS = ROOT / "qualification" / "constraints.txt"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REPORTS = ROOT / "reports"
LATEST = REPORTS / "latest"
WHEELS = ROOT / ".nox" / "wheel"
EXTRAS = "qualification,vision,audio"
"""Every environment in which tests run has all that the tool can be installed with."""

QUALIFICATION = (sys.executable, "-m", "qualification")
RESUMING = "--resume" in sys.argv

EVERY_CORE = ("-n", "logical", "--dist", "worksteal")
"""Of pytest-xdist: the default suite is mostly waiting for small processes; ``-- -n 0`` runs it in one."""

BASE = ("--base", os.environ["BASE"]) if os.environ.get("BASE") else ()
"""The release that speed is compared with, where somebody says which: a wheel, a tag, or ``first``."""

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["test"]

COMPILED = {"UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "hardlink"}
"""Bytecode is made once, at installation: without it every process that imports the ML stack compiles it again."""

KEPT = {"PYTHONDONTWRITEBYTECODE": ""}
"""The suite starts hundreds of processes from this checkout, which would each compile it where a machine keeps no bytecode."""


def _matrix_name() -> str:
    """What ``MATRIX`` names; a run that is resumed keeps its own."""
    plan = LATEST / "plan.json"
    if RESUMING and plan.is_file():
        return str(json.loads(plan.read_text(encoding="utf-8"))["matrix"])
    return os.environ.get("MATRIX", "release").removesuffix(".yaml")


MATRIX = ROOT / "matrices" / f"{_matrix_name()}.yaml"


def _declared() -> Matrix | None:
    """The matrix, or None where it is wrong: ``plan`` then says why, and no other session is kept from its work."""
    try:
        return matrix.load(MATRIX)
    except MatrixError:
        return None


DECLARED = _declared()

_planning = {"begun": False, "done": False}


def _install(session: nox.Session, *what: str) -> None:
    session.install("-c", str(CONSTRAINTS), *what, env=COMPILED)


def _install_wheel(session: nox.Session, wheel: Path, *pinned: str) -> None:
    """The wheel with what it needs, and then the wheel anew: another one of the same version may be there."""
    session.install(*pinned, f"{wheel}[{EXTRAS}]", env=COMPILED)
    session.install("--force-reinstall", "--no-deps", str(wheel), env=COMPILED)


def _run(session: nox.Session, *command: str) -> None:
    """Runs the examiner; it gets time to stop its cells when it is interrupted, so that none is orphaned."""
    here = {"PYTHONPATH": str(ROOT)}
    session.run(*command, external=True, env=here, interrupt_timeout=30, terminate_timeout=30)


def _python(version: str) -> str | bool:
    """The interpreter for nox; False, which is no environment at all, where this machine has none."""
    found = interpreters.find(version)
    return str(found) if found else False


def _suite(version: str) -> None:
    """Registers ``py310`` and the like: the default suite on one Python."""

    @nox.session(name=f"py{version.replace('.', '')}", python=_python(version))
    def suite(session: nox.Session) -> None:
        """The default suite (no model, no network)."""
        if not session.python:
            session.error(interpreters.missing_sentence(version))
        _default_suite(session)


def _default_suite(session: nox.Session) -> None:
    _install(session, "-e", f"{ROOT}[{EXTRAS}]")
    session.run("python", "-m", "pytest", *EVERY_CORE, *session.posargs, env=KEPT)


for _version in ("3.10", "3.11", "3.12", "3.13"):
    _suite(_version)


@nox.session
def test(session: nox.Session) -> None:
    """The default suite on the Python that runs nox."""
    _default_suite(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Format, rules, types, and who may import whom."""
    _install(session, "-e", f"{ROOT}[qualification,runner,dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS))
    session.run("zizmor", "--offline", "--no-progress", *map(str, WORKFLOWS))


@nox.session
def bench(session: nox.Session) -> None:
    """The figures that this project promises, each as a ratio measured side by side."""
    _only_one(session)
    _install_wheel(session, _build(session), "-c", str(CONSTRAINTS))
    _install(session, "matplotlib", "uv")
    session.run("python", str(ROOT / "benchmarks" / "bench.py"), *session.posargs, env=KEPT)


@nox.session
def compare(session: nox.Session) -> None:
    """Says whether the wheel of this checkout is slower than that of ``BASE``, a wheel or a tag."""
    _only_one(session)
    base = os.environ.get("BASE")
    if not base:
        session.error("what to compare with? `make compare BASE=<wheel|tag>` takes the last release's wheel or its tag")
    _install(session, "-e", f"{ROOT}[qualification,runner]")
    asked = ("--base", base, "--constraints", str(CONSTRAINTS), "--output", str(REPORTS / "compare" / "comparison.json"))
    _run(session, "python", "-m", "qualification", "compare", str(_build(session)), *asked, *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolves every dependency anew into the constraints that all environments are made with."""
    session.install("uv")
    target = CONSTRAINTS.relative_to(ROOT)
    reach = ("--universal", "--python-version", "3.10", "--all-extras", "--upgrade")
    output = ("--no-header", "--no-annotate", "--no-emit-index-url", "--quiet", "--output-file", str(target))
    session.run("uv", "pip", "compile", *reach, *output, "pyproject.toml")


@nox.session(python=_python(DECLARED.pythons[-1]) if DECLARED else False)
def plan(session: nox.Session) -> None:
    """Freezes what must be accounted for into a new bundle; with ``-- --show`` (or other options of ``plan``) only shows it."""
    _planning["begun"] = not session.posargs
    _only_one(session)
    command = [*QUALIFICATION, "plan", str(MATRIX), "--project", str(ROOT)]
    if DECLARED:
        wheel = _build(session)
        command += ["--wheel", str(wheel), "--constraints", str(CONSTRAINTS)]
        if session.python and DECLARED.source != "minted" and any((settings.hf_home() / "hub").glob("models--*")):
            _install_wheel(session, wheel, "-c", str(CONSTRAINTS))
            command += ["--tool", str(Path(session.bin) / "mlxk")]
    _run(session, *command, *BASE, *(session.posargs or ["--begin", str(REPORTS)]))
    _planning["done"] = True


@nox.session
@nox.parametrize(
    ("python", "version", "dependencies"),
    [
        nox.param(_python(version), version, dependencies, id=environment_id(version, dependencies))
        for version in (DECLARED.pythons if DECLARED else ())
        for dependencies in (DECLARED.dependencies if DECLARED else ())
    ],
)
def qualify(session: nox.Session, version: str, dependencies: str) -> None:
    """Runs the cells of one environment of the bundle."""
    _only_one(session)
    bundle = _bundle(session)
    environment = environment_id(version, dependencies)
    if environment not in _planned(session, bundle):
        session.skip(f"no cell of this plan is in {environment}")
    wheel = next(WHEELS.glob("*.whl"), None)
    if wheel is None:
        session.error("the wheel of this run is gone from .nox/wheel; `make qualify` builds it and begins anew")
    inputs = ["--matrix", str(MATRIX), "--wheel", str(wheel), "--constraints", str(CONSTRAINTS), "--project", str(ROOT)]
    command = [*QUALIFICATION, "run", str(bundle), "--environment", environment, *inputs, *BASE]
    if session.python and dependencies == "lowest" and not _uv():
        command += ["--absent", "uv, which alone resolves the lowest versions, is not installed; `pip install uv` adds it"]
    elif session.python:
        try:
            _install_wheel(session, wheel, *_versions(session, version, dependencies))
        except nox.command.CommandFailed as error:
            command += ["--unfit", f"{wheel.name} cannot be installed on Python {version}: {error}"]
        command += ["--python", str(Path(session.bin) / "python")]
    _run(session, *command, *session.posargs)


@nox.session(venv_backend="none")
def verdict(session: nox.Session) -> None:
    """Seals the bundle and says whether the release qualifies."""
    _only_one(session)
    _run(session, *QUALIFICATION, "verdict", str(_bundle(session)))


def _bundle(session: nox.Session) -> Path:
    """The bundle that this invocation planned, or the latest where it planned none."""
    if _planning["begun"] and not _planning["done"]:
        session.error("there is no plan to run: see why above")
    return LATEST


def _planned(session: nox.Session, bundle: Path) -> tuple[str, ...]:
    """The environments that the cells of the plan need: a matrix may pair fewer than all Pythons and dependency sets."""
    try:
        return thaw((bundle / "plan.json").read_bytes()).environments
    except (OSError, BundleError) as error:
        session.error(f"there is no plan to run ({error}); `make qualify` begins anew")


def _versions(session: nox.Session, version: str, dependencies: str) -> list[str]:
    """What pip and uv must be told for a dependency set: the pinned versions, the newest, or the oldest that we declare."""
    if dependencies == "locked":
        return ["-c", str(CONSTRAINTS)]
    if dependencies == "latest":
        return ["--upgrade"]
    target = Path(session.bin).parent / "lowest.txt"
    compile_ = (*_uv(), "pip", "compile", "--quiet", "--resolution", "lowest-direct", "--python-version", version)
    extras = [argument for extra in EXTRAS.split(",") for argument in ("--extra", extra)]
    session.run(*compile_, *extras, "--output-file", str(target), str(ROOT / "pyproject.toml"), external=True)
    return ["-c", str(target)]


def _uv() -> list[str]:
    """The command of uv, or nothing where it is not installed."""
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else []


def _build(session: nox.Session) -> Path:
    """Builds the one wheel that everything else installs; the same files give the same bytes."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    if uv := _uv():
        builder = [*uv, "build", "--quiet", "--wheel", "--out-dir", str(WHEELS), str(ROOT)]
    else:
        session.install("build")
        builder = ["python", "-m", "build", "--wheel", "--outdir", str(WHEELS), str(ROOT)]
    session.run(*builder, external=True)
    return next(WHEELS.glob("*.whl"))


def _only_one(session: nox.Session) -> None:
    """One qualification or measurement at a time in one checkout: they would share the wheel, and disturb each other."""
    if "lock" not in _held:
        REPORTS.mkdir(exist_ok=True)
        lock = (REPORTS / ".lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            session.error("another qualification is running in this checkout; wait for it, or use a clone")
        _held["lock"] = lock


_held: dict[str, TextIO] = {}
"""The lock, which the system frees when this process ends."""
