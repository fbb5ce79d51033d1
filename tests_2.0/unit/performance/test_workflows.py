"""The workflows of CI call what there is: targets of the Makefile, options of pytest, actions at one commit."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from qualification.plugin.baselines import FILE

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def commands(program):
    """Command lines of all workflows that begin with this program."""
    lines = [line for path in WORKFLOWS for step in steps(path) for line in step.get("run", "").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


def test_there_is_one_for_the_suite_one_for_models_and_one_for_baselines():
    assert [path.name for path in WORKFLOWS] == ["baselines.yml", "model-tests.yml", "tests.yml"]


def test_every_target_of_make_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    called = {words[1] for words in commands("make")}

    assert called == {"lint", "test", "qualify"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in called)


def test_every_option_of_pytest_is_one():
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    used = {word for words in commands("pytest") for word in words if word.startswith("--")}

    assert {"--run-model-tests", "--update-baselines", "--baseline-tolerance"} <= used
    assert all(re.search(rf"^  {option}\b", told.stdout, re.MULTILINE) for option in used)


def test_baselines_are_committed_where_they_are_written():
    assert [words[-1] for words in commands("git") if words[1] == "add"] == [FILE.as_posix()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_others_wrote_is_taken_at_one_commit_and_every_job_ends(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]

    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each) for each in used)
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    assert all(job["timeout-minutes"] <= 60 for job in jobs)
