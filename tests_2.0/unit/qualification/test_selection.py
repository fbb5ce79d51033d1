"""Which tests run, by flag and mark, and which are not even collected because a rule of live tests is broken."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qualification.plugin import portfolios, rules, selection
from qualification.portfolio import Capacity

PROJECT = Path(__file__).parents[3]
GIB = 1 << 30

ORDINARY = """
import pytest

def test_unit(): pass

@pytest.mark.model_test
def test_model(): pass

@pytest.mark.cuda
def test_cuda(): pass
"""
LIVE = """
import pytest

@pytest.mark.live_e2e
def test_e2e(text_portfolio): pass

@pytest.mark.live_pull
def test_pull(isolated_cache): pass

@pytest.mark.live_lifecycle
@pytest.mark.slow
def test_lifecycle(): pass
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A checkout with the project's own pytest settings, two folders of tests, and an empty Hugging Face home."""
    root = tmp_path_factory.mktemp("selection")
    (root / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    for folder, code in (("tests_2.0/unit", ORDINARY), ("tests_2.0/live", LIVE), ("tests_2.0/spec", "def test_spec(): pass\n")):
        (root / folder).mkdir(parents=True)
        (root / folder / "test_it.py").write_text(code)
    return root


def _pytest(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-rA", "-W", "ignore", *arguments]
    usual = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**usual, "HF_HOME": str(root / "hf")}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _became(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Outcome by the test's name."""
    lines = (line.split() for line in done.stdout.splitlines() if "::" in line and "%]" in line)
    return {words[0].rpartition("::")[2].partition("[")[0]: words[1] for words in lines}


@pytest.mark.parametrize(
    ("arguments", "passed", "skipped"),
    [
        ([], {"test_unit", "test_spec"}, {"test_model", "test_cuda"}),
        (["-m", "not live"], {"test_unit", "test_spec"}, {"test_model", "test_cuda"}),
        (["-m", "spec"], {"test_spec"}, set()),
        (
            ["--run-model-tests", "-m", "not slow"],
            {"test_unit", "test_spec", "test_model", "test_e2e", "test_pull"},
            {"test_cuda"},
        ),
        (["-m", "wet"], {"test_e2e"}, set()),
        (["-m", "live_pull or live_lifecycle"], {"test_pull", "test_lifecycle"}, set()),
    ],
    ids=lambda value: " ".join(value) or "plain" if isinstance(value, list) else "",
)
def test_flags_and_marks_choose_what_runs(project, arguments, passed, skipped):
    done = _pytest(project, *arguments)

    became = _became(done)
    hardware = {"test_cuda"} if selection.hardware() == "cuda" else set()
    assert {name for name, outcome in became.items() if outcome == "PASSED"} == passed | (skipped & hardware), done.stdout
    assert {name for name, outcome in became.items() if outcome == "SKIPPED"} == skipped - hardware


def test_a_live_test_that_breaks_a_rule_fails_its_module_with_the_reason(project, tmp_path):
    (tmp_path / "pyproject.toml").write_text((project / "pyproject.toml").read_text())
    live = tmp_path / "tests_2.0/live"
    live.mkdir(parents=True)
    (live / "test_groupless.py").write_text("def test_it(): pass\n")
    (live / "test_good.py").write_text(LIVE)

    done = _pytest(tmp_path, "-m", "live or live_e2e or live_pull", "tests_2.0/live")

    assert done.returncode == 2
    assert (
        "test_groupless.py::test_it: a live test has the mark of its group, one of benchmark, issue27, live_clone" in done.stdout
    )


@pytest.fixture
def broken(monkeypatch):
    """``broken(code, marks, fixtures)`` is the first rule that a live test of this code breaks."""

    def judge(code: str, marks: set[str], fixtures: set[str]) -> str:
        monkeypatch.setattr(rules.inspect, "getsource", lambda _: code)
        return next(rules._violations(test_placeholder, marks, frozenset(fixtures)), "")

    def test_placeholder() -> None: ...

    return judge


@pytest.mark.parametrize(
    ("code", "marks", "fixtures", "reason"),
    [
        ("def t(): pass", {"live_lifecycle"}, set(), ""),
        ("def t(): pass", {"live"}, {"text_model_info"}, "the mark of its group"),
        ("def t(): pass", {"live_e2e"}, {"text_model_info"}, ""),
        ("def t(): pass", {"live_e2e"}, {"vision_portfolio", "text_portfolio"}, ""),
        ("def t(): pass", {"live_e2e"}, {"mlxk"}, "it runs over models and takes none"),
        ("def t(): pass", {"live_e2e"}, {"model_key", "text_model_key"}, "the fixture model_key does not tell a modality"),
        ("def t(): pass", {"live_list"}, {"portfolio_models"}, "take text_portfolio, vision_portfolio or audio_portfolio"),
        ("def t(mlxk): mlxk('list', '--json')", {"live_list"}, {"mlxk"}, ""),
        ("def t(mlxk): mlxk('rm', 'm', '--force')", {"live_list"}, {"mlxk"}, "`mlxk rm` would write to the user's cache"),
        ("def t(mlxk): mlxk('--json', 'rm', 'm')", {"live_list"}, {"mlxk"}, "`mlxk rm` would write to the user's cache"),
        ("def t(): subject.call('pull', 'm')", {"live_pull"}, set(), "`mlxk pull` would write to the user's cache"),
        ("def t(): subject.call('pull', 'm')", {"live_pull"}, {"isolated_cache"}, ""),
        ("def t(mlxk): other('rm', 'm')", {"live_list"}, {"mlxk"}, ""),
    ],
)
def test_every_rule_has_its_sentence(broken: Any, code: str, marks: set[str], fixtures: set[str], reason: str) -> None:
    ast.parse(code)

    found = broken(code, marks, fixtures)

    assert (bool(found), reason in found) == (bool(reason), True), found


def test_every_mark_of_a_group_is_registered_and_has_one_place(pytestconfig):
    registered = {line.partition(":")[0] for line in pytestconfig.getini("markers")}

    assert not selection.WET & selection.SEPARATE
    assert registered >= selection.WET | selection.SEPARATE | selection.ALONE | selection.HARDWARE | {"wet", "live", "slow"}


def test_the_portfolios_show_what_runs_and_why_not(build: Any) -> None:
    models = [
        build.model("org/small", size_bytes=GIB),
        build.model("org/large", size_bytes=40 * GIB),
        build.model("org/sees", modality="vision", size_bytes=46 * GIB),
    ]

    shown = portfolios.show(models, Capacity(portfolios.TIERS[2])).splitlines()

    assert shown[:3] == ["64 GiB of memory, tier 64gb", "", "TEXT: 2 models, budget 38.4 GiB"]
    assert [line.split()[0] for line in shown if line.startswith("  ")] == ["text_00", "text_01", "vision_00"]
    assert [line.rpartition("  ")[2] for line in shown if line.startswith("  text")] == ["RUN", "SKIP (above the budget)"]
    assert [line.partition("  ")[2].endswith("SKIP (above the vision limit)") for line in shown if "vision_" in line] == [True]


def test_the_tiers_shown_are_those_of_the_matrices(build: Any) -> None:
    assert build.tiers == portfolios.TIERS
