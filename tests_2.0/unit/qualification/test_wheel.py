"""Whether an environment holds the wheel that the plan names: compared file by file, both ways."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from qualification import wheel
from qualification.errors import EnvironmentUnfitError

FILES = {
    "mlxk/__init__.py": b'__version__ = "2.0.0"\n',
    "mlxk/data/schema.json": b"{}",
    "qualification/__init__.py": b"",
    "mlxk-2.0.0.dist-info/METADATA": b"Name: mlxk\n",
}


class Environment:
    """A wheel, and a virtual environment that it was installed into."""

    def __init__(self, root: Path) -> None:
        self.wheel = root / "mlxk-2.0.0-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("mlxk/", b"")
            for name, content in FILES.items():
                archive.writestr(name, content)
        self.python = root / "venv" / "bin" / "python"
        self.site = root / "venv" / "lib" / "python3.12" / "site-packages"
        for name, content in FILES.items():
            self.put(name, content)

    def put(self, name: str, content: bytes) -> None:
        (self.site / name).parent.mkdir(parents=True, exist_ok=True)
        (self.site / name).write_bytes(content)

    def check(self) -> None:
        wheel.check_installed(self.wheel, self.python)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def test_an_environment_that_holds_every_file_is_fit(environment: Environment) -> None:
    environment.check()


@pytest.mark.parametrize(
    "name",
    [
        "mlxk/__pycache__/__init__.cpython-312.pyc",
        "other/module.py",
        "mlxk-2.0.0.dist-info/INSTALLER",
        "mlxk-2.0.0.dist-info/METADATA",
    ],
)
def test_bytecode_other_packages_and_the_installers_notes_do_not_count(environment: Environment, name: str) -> None:
    environment.put(name, b"anything")

    environment.check()


@pytest.mark.parametrize("name", ["mlxk/__init__.py", "mlxk/data/schema.json", "qualification/__init__.py"])
def test_a_file_that_is_missing_is_named(environment: Environment, name: str) -> None:
    (environment.site / name).unlink()

    with pytest.raises(EnvironmentUnfitError, match=f"holds {name}, and the environment does not; install the wheel"):
        environment.check()


def test_a_file_with_one_other_byte_is_named(environment: Environment) -> None:
    environment.put("mlxk/__init__.py", b'__version__ = "2.0.1"\n')

    with pytest.raises(EnvironmentUnfitError, match=r"mlxk/__init__\.py is not as in mlxk-2\.0\.0"):
        environment.check()


def test_a_file_of_another_release_that_was_left_behind_is_named(environment: Environment) -> None:
    environment.put("mlxk/data/left_behind.py", b"")

    with pytest.raises(EnvironmentUnfitError, match=r"holds mlxk/data/left_behind\.py, and mlxk-2\.0\.0"):
        environment.check()


@pytest.mark.parametrize("content", [None, b"", b"not a zip", "cut"], ids=["absent", "empty", "text", "cut"])
def test_a_wheel_that_cannot_be_read_is_named(environment: Environment, content: bytes | str | None) -> None:
    whole = environment.wheel.read_bytes()
    environment.wheel.unlink()
    if content is not None:
        environment.wheel.write_bytes(whole[:-30] if isinstance(content, str) else content)

    with pytest.raises(EnvironmentUnfitError, match=r"none-any\.whl cannot be read as a wheel"):
        environment.check()


def test_a_damaged_member_of_the_wheel_is_not_taken_for_the_truth(environment: Environment) -> None:
    environment.wheel.write_bytes(environment.wheel.read_bytes().replace(b'"2.0.0"', b'"2.0.9"', 1))

    with pytest.raises(EnvironmentUnfitError, match=r"cannot be read as a wheel .*CRC"):
        environment.check()


def test_an_interpreter_outside_a_virtual_environment_is_refused(environment: Environment, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfitError, match="is not in a virtual environment"):
        wheel.check_installed(environment.wheel, tmp_path / "usr" / "bin" / "python")
