"""A plan is the frozen, complete list of cells: countable by hand, the same bytes for the same inputs, stable under additions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qualification import matrix, plan
from qualification.declared import Axis, Gate, Group, Matrix, Metric, Modality, Portfolio, Process, Require, Tier
from qualification.errors import BundleError, UsageError
from qualification.plan import Inputs, Plan
from qualification.portfolio import Model, Origin

INPUTS = Inputs("a" * 64, "b" * 64, None, None, None)
MATRIX = """\
matrix: 1
about: Six, four and one.
pythons: ["3.10", "3.11", "3.12"]
dependencies: [locked, latest]
tiers:
  16gb: {ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}
  64gb: {ram: 64 GiB, text_budget: 60%, vision_limit: 70%, audio_floor: 4 GiB}
groups:
  unit: {process: wet, tests: [tests/unit], over: [python, dependencies], gate: blocker}
  text: {process: wet, tests: [tests/live], for_each: portfolio.text, over: [tier], gate: blocker}
  pull: {process: separate, tests: [tests/live], gate: minor}
require: {pythons: all, tiers: [16gb, 64gb], text: ">= 1"}
"""

text = st.text(max_size=8)
names = st.text("abcdefgh0123456789", min_size=1, max_size=6)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
shares = st.floats(0, 1)
sizes = st.integers(0, 1 << 50)


def _lists(of: st.SearchStrategy[Any], **limits: Any) -> st.SearchStrategy[Any]:
    return st.lists(of, max_size=3, **limits).map(tuple)


models = st.builds(
    Model,
    model_id=st.builds("{}/{}".format, names, names),
    modality=st.sampled_from(get_args(Modality)),
    family=names,
    size_bytes=sizes,
    origin=st.sampled_from(get_args(Origin)),
    revision=st.none() | text,
)
portfolios = st.lists(models, max_size=5, unique_by=lambda model: model.model_id)
tiers = st.builds(Tier, names, st.integers(1, 1 << 50), shares, shares, sizes)
groups = st.builds(
    Group,
    name=names,
    process=st.sampled_from(get_args(Process)),
    tests=_lists(text, min_size=1),
    marks=st.none() | text,
    for_each=st.none() | st.sampled_from(get_args(Portfolio)),
    over=_lists(st.sampled_from(get_args(Axis)), unique=True),
    gate=st.sampled_from(get_args(Gate)),
    timeout_s=st.floats(0.001, 1e6),
    metrics=_lists(st.builds(Metric, names, shares, shares)),
)
matrices = st.builds(
    Matrix,
    name=names,
    about=text,
    sha256=hashes,
    pythons=_lists(st.integers(0, 30).map("3.{}".format), min_size=1, unique=True),
    dependencies=_lists(st.sampled_from(["locked", "latest"]), min_size=1, unique=True),
    tiers=_lists(tiers, min_size=1),
    source=st.just("auto"),
    groups=_lists(groups, min_size=1, unique_by=lambda group: group.name),
    require=st.builds(
        Require,
        pythons=_lists(text),
        tiers=_lists(st.sampled_from(["this", "16gb", "64gb"]), unique=True),
        groups=_lists(names),
        families=_lists(st.tuples(st.sampled_from(get_args(Modality)), st.integers(1, 9))),
    ),
)
inputs = st.builds(Inputs, hashes, hashes, st.none() | hashes, st.none() | text, st.none() | hashes)
plans = st.builds(plan.expand, matrices, portfolios, st.sampled_from(["16gb", "64gb"]), inputs, text)


@pytest.fixture
def declared(tmp_path: Path) -> Matrix:
    path = tmp_path / "m.yaml"
    path.write_text(MATRIX, encoding="utf-8")
    return matrix.load(path)


def _text_models(count: int) -> list[Model]:
    return [Model(f"org/model-{number}", "text", "llama", 1, "discovered", None) for number in range(count)]


def test_cells_are_counted_by_multiplying_the_axes(declared: Matrix) -> None:
    audio = Model("org/whisper", "audio", "whisper", 1, "discovered", None)

    expanded = plan.expand(declared, [audio, *_text_models(2)], "64gb", INPUTS)

    by_group = [cell.group for cell in expanded.cells]
    assert [by_group.count(group) for group in ("unit", "text", "pull")] == [3 * 2, 2 * 2, 1]
    assert by_group == sorted(by_group, key=["unit", "text", "pull"].index)


def test_an_id_says_group_environment_tier_and_model(declared: Matrix) -> None:
    expanded = plan.expand(declared, _text_models(1), "64gb", INPUTS)

    assert [cell.id for cell in expanded.cells] == [
        "unit[py310-locked]",
        "unit[py310-latest]",
        "unit[py311-locked]",
        "unit[py311-latest]",
        "unit[py312-locked]",
        "unit[py312-latest]",
        "text[py312-locked,16gb,org/model-0]",
        "text[py312-locked,64gb,org/model-0]",
        "pull[py312-locked]",
    ]


def test_environments_are_those_that_cells_need_in_the_order_of_the_matrix(declared: Matrix) -> None:
    expanded = plan.expand(declared, [], "64gb", INPUTS)

    assert expanded.environments == (
        "py310-locked", "py310-latest", "py311-locked", "py311-latest", "py312-locked", "py312-latest",
    )  # fmt: skip


def test_a_tier_that_is_meant_twice_is_owed_once(declared: Matrix) -> None:
    both = replace(declared, require=replace(declared.require, tiers=("this", "64gb")))

    expanded = plan.expand(both, _text_models(1), "64gb", INPUTS)

    assert expanded.required.tiers == ("64gb",)
    assert [cell.tier for cell in expanded.cells if cell.group == "text"] == ["64gb"]


def test_speed_is_compared_on_one_minted_model_whatever_the_portfolio_holds(declared: Matrix) -> None:
    expanded = plan.expand(_comparing(declared), _text_models(2), "64gb", INPUTS)

    (cell,) = (cell for cell in expanded.cells if cell.group == "perf")
    assert cell.id == "perf[py312-locked,mint-pathology/never-stops]"
    assert cell.metrics == (Metric("token_s", 0.03, 0.08),)
    assert plan.thaw(plan.freeze(expanded)) == expanded


def test_the_first_release_is_compared_with_nothing_and_the_plan_says_so(declared: Matrix) -> None:
    comparing = _comparing(declared)

    expanded = plan.expand(comparing, _text_models(2), "64gb", INPUTS, first="no release came before")

    assert expanded.left_out == (plan.LeftOut("perf", "no release came before"),)
    assert "perf" in comparing.require.groups
    assert "perf" not in {*expanded.required.groups, *(cell.group for cell in expanded.cells)}
    assert plan.thaw(plan.freeze(expanded)) == expanded


def _comparing(declared: Matrix) -> Matrix:
    """With a group that compares with the release before, and is required."""
    perf = Group(
        "perf", "separate", ("tests",), None, "perf", (), "major", 60.0,
        exclusive=True, metrics=(Metric("token_s", 0.03, 0.08),),
    )  # fmt: skip
    require = replace(declared.require, groups=(*declared.require.groups, "perf"))
    return replace(declared, groups=(*declared.groups, perf), require=require)


@settings(max_examples=30)
@given(plans)
def test_no_two_cells_have_one_id(expanded: Plan) -> None:
    ids = [cell.id for cell in expanded.cells]

    assert len(set(ids)) == len(ids)


@settings(max_examples=30)
@given(matrices, portfolios, models)
def test_another_model_changes_no_other_cell(declared: Matrix, portfolio: list[Model], added: Model) -> None:
    others = [model for model in portfolio if model.model_id != added.model_id]
    before = plan.expand(declared, others, "64gb", INPUTS)

    after = plan.expand(declared, [added, *others], "64gb", INPUTS)

    assert tuple(cell for cell in after.cells if cell.model != added) == before.cells


@settings(max_examples=30)
@given(plans)
def test_a_frozen_plan_thaws_to_itself(expanded: Plan) -> None:
    assert plan.thaw(plan.freeze(expanded)) == expanded


@settings(max_examples=30)
@given(plans)
def test_a_frozen_plan_is_sorted_json_with_a_cell_on_each_line(expanded: Plan) -> None:
    frozen = plan.freeze(expanded).decode("utf-8")

    document = json.loads(frozen)
    assert json.loads(json.dumps(dataclasses.asdict(expanded))) == {
        key: value for key, value in document.items() if key != "plan"
    }
    assert json.dumps(document, sort_keys=True) == json.dumps(document)
    cells = [json.dumps(cell, sort_keys=True, ensure_ascii=False) for cell in document["cells"]]
    assert [line.strip().rstrip(",") for line in frozen.split("\n") if line.startswith('  {"cpu"')] == cells
    assert frozen.endswith("}\n")


def test_the_order_in_which_a_process_hashes_changes_no_byte(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX, encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from qualification import matrix, plan, portfolio;"
        "models = portfolio.resolve('minted', []);"
        "inputs = plan.Inputs('a' * 64, plan.hash_tree(Path('.'), {'m.yaml'}), None, None, None);"
        "sys.stdout.buffer.write(plan.freeze(plan.expand(matrix.load(Path('m.yaml')), models, '64gb', inputs)))"
    )

    frozen = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "4242")
    }

    assert len(frozen) == 1
    assert frozen.pop().startswith(b"{")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "does not follow its schema: record: \\[\\] is not of type 'object'"),
        (b'{"plan": 1}', "does not follow its schema: record: 'matrix' is a required property"),
    ],
)
def test_bytes_that_are_no_plan_are_refused(content: bytes, why: str) -> None:
    with pytest.raises(BundleError, match=f"plan.json {why}"):
        plan.thaw(content)


@pytest.mark.parametrize(
    ("name", "count"),
    [("unit[py310-locked]", 1), ("unit", 6), ("py312-locked", 1 + 4 + 1), ("org/model-1", 2)],
    ids=["cell", "group", "environment", "model"],
)
def test_cells_are_selected_by_every_name_they_have(declared: Matrix, name: str, count: int) -> None:
    expanded = plan.expand(declared, _text_models(2), "64gb", INPUTS)

    assert len(plan.select(expanded, [name])) == count


def test_selections_add_up(declared: Matrix) -> None:
    expanded = plan.expand(declared, _text_models(2), "64gb", INPUTS)

    assert plan.select(expanded, ["pull", "unit[py310-locked]", "pull"]) == {"pull[py312-locked]", "unit[py310-locked]"}


def test_a_name_of_nothing_is_refused_with_the_nearest(declared: Matrix) -> None:
    expanded = plan.expand(declared, _text_models(2), "64gb", INPUTS)

    with pytest.raises(UsageError, match=r"--only org/modle-1: no cell, .*; did you mean 'org/model-1'\?"):
        plan.select(expanded, ["unit", "org/modle-1"])


def _tree(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")


def test_a_tree_is_hashed_by_names_and_contents_in_the_order_of_names(tmp_path: Path) -> None:
    _tree(tmp_path, {"tests/b.py": "two", "tests/a/z.py": "one", "elsewhere.py": "no"})
    expected = hashlib.sha256()
    for name, content in (("tests/a/z.py", b"one"), ("tests/b.py", b"two")):
        expected.update(name.encode() + b"\0" + hashlib.sha256(content).digest())

    assert plan.hash_tree(tmp_path, ["tests"]) == expected.hexdigest()


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    _tree(tmp_path, {"tests/a.py": "one"})

    assert plan.hash_tree(tmp_path, ["tests", "tests/a.py"]) == plan.hash_tree(tmp_path, ["tests"])


@pytest.mark.parametrize("noise", ["__pycache__/a.pyc", "x/__pycache__/a.pyc", ".pytest_cache/v", ".DS_Store", "x/.hypothesis/a"])
def test_what_a_run_leaves_behind_changes_no_hash(tmp_path: Path, noise: str) -> None:
    root = tmp_path / ".checkout"
    _tree(root, {"tests/a.py": "one"})
    before = plan.hash_tree(root, ["tests"])

    _tree(root, {f"tests/{noise}": "noise"})

    assert plan.hash_tree(root, ["tests"]) == before


@pytest.mark.parametrize("change", [{"tests/a.py": "two"}, {"tests/b.py": ""}, {"tests/a/b.json": "{}"}])
def test_any_other_file_changes_the_hash(tmp_path: Path, change: dict[str, str]) -> None:
    _tree(tmp_path, {"tests/a.py": "one"} if "tests/a/b.json" not in change else {"tests/c.py": "one"})
    before = plan.hash_tree(tmp_path, ["tests"])

    _tree(tmp_path, change)

    assert plan.hash_tree(tmp_path, ["tests"]) != before
