"""Checks that an environment holds exactly the wheel that the plan names, file by file."""

from __future__ import annotations

import zipfile
from pathlib import Path

from qualification.errors import EnvironmentUnfitError


def check_installed(wheel: Path, python: Path) -> None:
    """Raises EnvironmentUnfitError for the first file that ``wheel`` and ``python``'s environment do not have in common.

    Compared are the wheel's packages, both ways; bytecode and the installer's own notes (``.dist-info``) are not.
    """
    site = _site_packages(python)
    shipped = _contents(wheel)
    for name, content in shipped.items():
        installed = site / name
        if not installed.is_file():
            raise EnvironmentUnfitError(f"{wheel.name} holds {name}, and the environment does not; install the wheel into it")
        if installed.read_bytes() != content:
            raise EnvironmentUnfitError(f"{name} is not as in {wheel.name}; install the wheel anew")
    for package in sorted({name.partition("/")[0] for name in shipped if "/" in name}):
        for file in sorted((site / package).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and file.relative_to(site).as_posix() not in shipped:
                name = file.relative_to(site).as_posix()
                raise EnvironmentUnfitError(f"the environment holds {name}, and {wheel.name} does not; make the environment anew")


def _contents(wheel: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and ".dist-info/" not in name]
            return {name: archive.read(name) for name in names}
    except (OSError, zipfile.BadZipFile) as error:
        raise EnvironmentUnfitError(f"{wheel.name} cannot be read as a wheel ({error}); build it anew") from error


def _site_packages(python: Path) -> Path:
    found = sorted(python.parent.parent.glob("lib/python3.*/site-packages"))
    if not found:
        raise EnvironmentUnfitError(f"{python.name} is not in a virtual environment, so what it holds cannot be checked")
    return found[0]
