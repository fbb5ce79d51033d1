"""Every command in docs/performance.md is one: its targets, its scripts, its options."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def documented(program):
    """Command lines that begin with this program, in blocks of code and in the text."""
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", GUIDE)
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]


def test_targets_of_make_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {words[1] for words in documented("make")}

    assert targets == {"bench", "compare", "qualify"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("script", ["scripts/convert_tests_bulk.py", "benchmarks/simulate_gate.py", "benchmarks/slowed.py"])
def test_scripts_are_there_and_know_their_options(script):
    options = {word for words in documented("python") if words[1] == script for word in words if word.startswith("--")}

    told = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True, timeout=60, check=True)

    assert any(words[1] == script for words in documented("python"))
    assert all(option in told.stdout for option in options)


def test_options_of_pytest_are_ones():
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    options = {word.partition("=")[0] for words in documented("pytest") for word in words if word.startswith("--")}

    assert {"--update-baselines", "--baseline-tolerance", "--cov"} <= options
    assert all(re.search(rf"^  {option}\b", told.stdout, re.MULTILINE) for option in options)


def test_the_limits_told_are_those_of_the_rules():
    from qualification.performance.compare import EXIT_CODES
    from qualification.performance.sequential import Rules

    rules = Rules()

    assert f"the tolerance of {rules.tolerance:.0%}".replace("%", " %") in GUIDE
    assert f"the margin of {rules.margin:.0%}".replace("%", " %") in GUIDE
    assert f"After {', '.join(map(str, rules.looks[:-1]))} and {rules.looks[-1]} pairs" in GUIDE
    assert all(f"| `{answer}` | {code} |" in GUIDE for answer, code in EXIT_CODES.items())
