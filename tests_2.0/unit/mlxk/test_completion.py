"""Shells complete what mlxk understands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlxk.usage import COMMANDS

COMPLETE = """
source "$1"; shift
COMP_WORDS=(mlxk "$@"); COMP_CWORD=$#
_shtab_mlxk
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    command = [sys.executable, "-m", "mlxk", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def for_bash(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "mlxk.bash"
    path.write_text(script("bash"), encoding="utf-8")
    return path


def completed(for_bash, hub, *words: str) -> set[str]:
    """What bash offers for the last word."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HF_HUB_CACHE": str(hub.root)}
    argv = ["bash", "-c", COMPLETE, "bash", str(for_bash), *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return set(done.stdout.split())


def test_bash_completes_every_command(for_bash, hub):
    assert completed(for_bash, hub, "") >= set(COMMANDS)


def test_bash_completes_the_options_of_a_command(for_bash, hub):
    assert completed(for_bash, hub, "list", "--") == {"--help", "--all", "--health", "--verbose", "--json"}


@pytest.mark.parametrize("command", ["show", "rm", "health", "run"])
def test_bash_completes_the_models_of_the_cache(for_bash, hub, command):
    for name in ("org/one", "org/other", "else/third"):
        hub.add(name)

    assert completed(for_bash, hub, command, "org/o") == {"org/one", "org/other"}


@pytest.mark.parametrize(("shell", "mark"), [("zsh", "#compdef mlxk"), ("fish", "complete -c mlxk")])
def test_the_other_shells_get_scripts_of_their_own_that_name_every_command(shell, mark):
    text = script(shell)

    assert mark in text
    assert [command for command in COMMANDS if command not in text] == []


def test_names_are_one_to_a_line(hub):
    hub.add("org/b")
    hub.add("org/a")
    command = [sys.executable, "-m", "mlxk", "completion", "names"]
    environment = {**os.environ, "HF_HUB_CACHE": str(hub.root)}

    assert subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True).stdout == b"org/a\norg/b\n"
