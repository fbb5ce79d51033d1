"""Checks that an environment holds exactly the wheel that the plan names, file by file."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from qualification.errors import EnvironmentUnfitError


def check_installed(wheel: Path, python: Path) -> None:
    """Raises EnvironmentUnfitError for the first file of ``wheel`` that is absent from ``python``'s environment or differs."""
    site = _site_packages(python)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if ".dist-info/" in name or name.endswith("/"):
                continue
            installed = site / name
            if not installed.is_file():
                raise EnvironmentUnfitError(
                    f"{wheel.name} holds {name}, and {site} does not; install the wheel into this environment"
                )
            if _sha256(installed.read_bytes()) != _sha256(archive.read(name)):
                raise EnvironmentUnfitError(f"{installed} differs from the same file in {wheel.name}; install the wheel anew")


def _site_packages(python: Path) -> Path:
    found = sorted(python.parent.parent.glob("lib/python3.*/site-packages"))
    if not found:
        raise EnvironmentUnfitError(f"{python} is not in a virtual environment, so what it holds cannot be checked")
    return found[0]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
