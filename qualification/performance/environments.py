"""The two environments that are compared: one for each wheel, made alike, and refused where they are not."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qualification import wheel as wheels
from qualification.errors import EnvironmentUnfitError, UsageError

_INSTALL_TIMEOUT_S = 900
_PROBE = """\
import importlib.metadata, json, sys
print(json.dumps([sys.version, {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}]))
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its wheel, and the environment that holds it and what it requires."""

    wheel: Path
    sha256: str
    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def tool(self) -> Path:
        return self.root / "bin" / "mlxk"


@dataclass(frozen=True, slots=True)
class Releases:
    """The wheels of two releases; their environments are kept below ``home`` and made with the pins of ``constraints``."""

    base: Path
    candidate: Path
    constraints: Path | None
    home: Path


def both(releases: Releases, python: Path) -> tuple[Side, Side]:
    """The environments of base and candidate. Raises ``UsageError`` where they could not be compared."""
    base, candidate = (make(wheel, releases.home, releases.constraints, python) for wheel in (releases.base, releases.candidate))
    refuse_unlike(base, candidate)
    return base, candidate


def make(wheel: Path, root: Path, constraints: Path | None, python: Path) -> Side:
    """An environment of ``python`` below ``root`` with the wheel; one that is there for the same of all three is used again.

    Raises ``UsageError`` for what is no wheel, and ``EnvironmentUnfitError`` where it cannot be installed.
    """
    if wheel.suffix != ".whl" or not wheel.is_file():
        raise UsageError(f"{wheel} is not a wheel; give the path of one, or a tag for `make compare BASE=…`")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pins = constraints.read_bytes() if constraints else b""
    key = hashlib.sha256(f"{sys.version} {python.resolve()} {sha256} ".encode() + pins).hexdigest()[:16]
    side = Side(wheel, sha256, root / key)
    ready = side.root / "ready"
    if not ready.is_file():
        install(side.root, [str(wheel)], constraints, python)
        ready.touch()
    wheels.check_installed(wheel, side.python)
    return side


def refuse_unlike(base: Side, candidate: Side) -> None:
    """Raises ``UsageError`` where Python, or a distribution that both hold, is of different versions.

    What then differs in speed need not be the wheel's doing. What only one of them requires is.
    """
    theirs, ours = _versions(base), _versions(candidate)
    unlike = sorted(name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name])
    if unlike:
        named = ", ".join(f"{name} {theirs[name]} and {ours[name]}" for name in unlike[:6])
        raise UsageError(
            f"the environments of {base.wheel.name} and {candidate.wheel.name} hold different versions ({named}), "
            "so that their figures cannot be compared; pin both to the same ones with --constraints"
        )


def _versions(side: Side) -> dict[str, str]:
    """Versions by name: of Python, and of every distribution but the wheel's own."""
    probe = subprocess.run([side.python, "-I", "-c", _PROBE], capture_output=True, check=True, timeout=60)
    python, distributions = json.loads(probe.stdout)
    own = side.wheel.name.partition("-")[0].lower()
    return {"python": python} | {name: version for name, version in distributions.items() if name != own}


def install(root: Path, requirements: Sequence[str], constraints: Path | None, interpreter: Path = Path(sys.executable)) -> None:
    """A new environment at ``root`` with what is required; with uv, where there is one, since it takes a tenth of the time.

    Bytecode is made at once: the first process would otherwise pay for it. Raises ``EnvironmentUnfitError``.
    """
    python = str(root / "bin" / "python")
    uv = uv_command()
    making = [*uv, "venv", "--quiet", "--python", str(interpreter)] if uv else [str(interpreter), "-m", "venv"]
    installing = [*uv, "pip", "install", "--compile-bytecode", "--python", python] if uv else [python, "-m", "pip", "install"]
    pinned = ["-c", str(constraints)] if constraints else []
    shutil.rmtree(root, ignore_errors=True)
    for argv in ([*making, str(root)], [*installing, "--quiet", *pinned, *requirements]):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
        if done.returncode:
            raise EnvironmentUnfitError(f"{' '.join(requirements)} cannot be installed into {root}: {done.stderr.strip()[-500:]}")


def uv_command() -> list[str]:
    """The command of uv, from this environment or the path; empty where there is none."""
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else []
