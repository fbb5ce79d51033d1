# /// script
# dependencies = ["jinja2>=3.1", "jsonschema>=4.23", "nox>=2025.5.1", "psutil>=6", "pyyaml>=6.0.2", "uv>=0.6"]
# ///
"""Environments and named sessions only: what happens in them is in ``qualification``."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from qualification import interpreters, matrix  # noqa: E402  (the checkout must be on the path first)
from qualification.errors import MatrixError  # noqa: E402
from qualification.plan import environment_id  # noqa: E402

CONSTRAINTS = ROOT / "qualification" / "constraints.txt"
MATRIX = ROOT / "matrices" / f"{os.environ.get('MATRIX', 'release').removesuffix('.yaml')}.yaml"
REPORTS = ROOT / "reports"
WHEELS = ROOT / ".nox" / "wheel"
QUALIFICATION = (sys.executable, "-m", "qualification")

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["test"]

COMPILED = {"UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "hardlink"}
"""Bytecode is made once, at installation: without it every process that imports the ML stack compiles it again."""

_planning = {"started": False, "done": False}


def _declared() -> matrix.Matrix:
    try:
        return matrix.load(MATRIX)
    except MatrixError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def _install(session: nox.Session, *what: str) -> None:
    session.install("-c", str(CONSTRAINTS), *what, env=COMPILED)


def _run(session: nox.Session, *command: str) -> None:
    """Runs the examiner; it gets time to stop its cells when it is interrupted, so that none is orphaned."""
    session.run(*command, external=True, interrupt_timeout=30, terminate_timeout=30)


def _suite(version: str) -> None:
    """Registers ``py310`` and the like: the default suite on one Python."""
    found = interpreters.find(version)

    @nox.session(name=f"py{version.replace('.', '')}", python=str(found) if found else False)
    def suite(session: nox.Session) -> None:
        """The default suite (no model, no network)."""
        if not found:
            session.error(interpreters.missing_sentence(version))
        _default_suite(session)


def _default_suite(session: nox.Session) -> None:
    _install(session, "-e", f"{ROOT}[qualification]")
    session.run("python", "-m", "pytest", *session.posargs)


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


@nox.session
def bench(session: nox.Session) -> None:
    """The figures that this project promises, each as a ratio measured side by side."""
    _install(session, str(_wheel(session)) + "[qualification]", "--reinstall-package", "mlxk")
    session.run("python", str(ROOT / "benchmarks" / "bench.py"), *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolves every dependency anew into the constraints that all environments are made with."""
    session.install("uv")
    target = CONSTRAINTS.relative_to(ROOT)
    reach = ("--universal", "--python-version", "3.10", "--all-extras", "--upgrade")
    output = ("--no-header", "--no-annotate", "--no-emit-index-url", "--quiet", "--output-file", str(target))
    session.run("uv", "pip", "compile", *reach, *output, "pyproject.toml")


@nox.session(venv_backend="none")
def plan(session: nox.Session) -> None:
    """Builds the wheel and freezes what must be accounted for into a new bundle."""
    _planning["started"] = True
    wheel = _wheel(session)
    _run(
        session,
        *QUALIFICATION,
        "plan",
        str(MATRIX),
        "--begin",
        str(REPORTS),
        "--wheel",
        str(wheel),
        "--constraints",
        str(CONSTRAINTS),
    )
    _planning["done"] = True


@nox.session
@nox.parametrize(
    ("python", "version", "dependencies"),
    [
        nox.param(
            str(found) if (found := interpreters.find(version)) else False,
            version,
            dependencies,
            id=environment_id(version, dependencies),
        )
        for version in _declared().pythons
        for dependencies in _declared().dependencies
    ],
)
def qualify(session: nox.Session, version: str, dependencies: str) -> None:
    """Runs the cells of one environment of the bundle."""
    environment = environment_id(version, dependencies)
    wheel = next(WHEELS.glob("*.whl"))
    inputs = ["--wheel", str(wheel), "--constraints", str(CONSTRAINTS)]
    command = [*QUALIFICATION, "run", str(_bundle(session)), "--environment", environment, *inputs]
    if session.python:
        try:
            pinned = ["-c", str(CONSTRAINTS)] if dependencies == "locked" else []
            session.install(*pinned, f"{wheel}[qualification]", "--reinstall-package", "mlxk", env=COMPILED)
        except nox.command.CommandFailed as error:
            command += ["--unfit", f"{wheel.name} cannot be installed on Python {version}: {error}"]
        command += ["--python", str(Path(session.virtualenv.location) / "bin" / "python")]
    _run(session, *command, *session.posargs)


@nox.session(venv_backend="none")
def verdict(session: nox.Session) -> None:
    """Seals the bundle and says whether the release qualifies."""
    _run(session, *QUALIFICATION, "verdict", str(_bundle(session)))


def _bundle(session: nox.Session) -> Path:
    """The bundle that this invocation planned, or the latest where it planned none."""
    if _planning["started"] and not _planning["done"]:
        session.error("there is no plan to run: see why above")
    return REPORTS / "latest"


def _wheel(session: nox.Session) -> Path:
    """Builds the one wheel that everything else installs."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    session.run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(WHEELS), str(ROOT), external=True)
    return next(WHEELS.glob("*.whl"))
