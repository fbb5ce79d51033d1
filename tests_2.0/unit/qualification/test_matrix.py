"""A matrix file becomes a checked declaration, or one sentence that says where it is wrong and what would be right."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from qualification import declared, matrix, schemas
from qualification.errors import MatrixError, nearest
from qualification.performance import workload

MATRIX = """\
matrix: 1
about: What must hold.
pythons: ["3.10", "3.12"]
dependencies: [locked, latest]
tiers:
  32gb: {ram: 32 GiB, text_budget: 50%, vision_limit: 70%, audio_floor: 4 GiB}
  16gb: {ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}
portfolio: {source: minted}
groups:
  unit: {process: wet, tests: [tests/unit], over: [python, dependencies], gate: blocker, timeout: 90 s}
  text: {process: wet, tests: [tests/live], marks: live_e2e, for_each: portfolio.text, over: [tier], gate: major}
  pull: {process: separate, tests: [tests/live], gate: minor}
require: {pythons: all, tiers: [this, 16gb], groups: [unit, text], text: ">= 3 families"}
"""

PULL = "{process: separate, tests: [tests/live], gate: minor}"
PERF = (
    "{process: separate, tests: [tests/live], for_each: portfolio.perf, exclusive: true, "
    "metrics: {token_s: {tolerance: 3%, margin: 8%}}, gate: minor}"
)

PROJECT = Path(__file__).parents[3]


def _load(folder: Path, content: str | bytes) -> declared.Matrix:
    path = folder / "m.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return matrix.load(path)


def _refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(MatrixError) as caught:
        _load(folder, content)
    return str(caught.value).replace(f"{folder}/", "")


def test_every_declaration_arrives_in_its_unit(tmp_path: Path) -> None:
    loaded = _load(tmp_path, MATRIX)

    assert (loaded.name, loaded.about, loaded.source) == ("m", "What must hold.", "minted")
    assert (loaded.pythons, loaded.dependencies) == (("3.10", "3.12"), ("locked", "latest"))
    assert loaded.tiers == (
        declared.Tier("16gb", 17_179_869_184, 0.4, 0.7, 4_294_967_296),
        declared.Tier("32gb", 34_359_738_368, 0.5, 0.7, 4_294_967_296),
    )
    assert loaded.groups == (
        declared.Group("unit", "wet", ("tests/unit",), None, None, ("python", "dependencies"), "blocker", 90.0),
        declared.Group("text", "wet", ("tests/live",), "live_e2e", "text", ("tier",), "major", 600.0),
        declared.Group("pull", "separate", ("tests/live",), None, None, (), "minor", 600.0),
    )
    assert loaded.require == declared.Require(("3.10", "3.12"), ("this", "16gb"), ("unit", "text"), (("text", 3),))


def test_the_hash_is_that_of_the_files_bytes(tmp_path: Path) -> None:
    assert _load(tmp_path, MATRIX).sha256 == hashlib.sha256(MATRIX.encode()).hexdigest()


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    short = re.sub(r"dependencies: \[locked.*\n|portfolio: .*\n|groups: \[unit, text\], ", "", MATRIX)

    loaded = _load(tmp_path, short)

    assert (loaded.dependencies, loaded.source) == (("locked",), "auto")
    assert loaded.require.groups == ("unit", "text", "pull")


@pytest.mark.parametrize("path", sorted((PROJECT / "matrices").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_matrix_loads(path: Path) -> None:
    assert matrix.load(path).groups


def test_every_figure_that_is_measured_can_be_held_to_a_bar_and_no_other() -> None:
    group = schemas.load("matrix")["properties"]["groups"]["additionalProperties"]

    assert group["properties"]["metrics"]["properties"].keys() == workload.METRICS.keys()


def test_the_bars_of_figures_are_shares(tmp_path: Path) -> None:
    (pull,) = (group for group in _load(tmp_path, MATRIX.replace(PULL, PERF)).groups if group.name == "pull")

    assert (pull.for_each, pull.metrics) == ("perf", (declared.Metric("token_s", 0.03, 0.08),))


@pytest.mark.parametrize(("name", "left_out"), [("release", {"browser"}), ("nightly", set())])
def test_what_lies_among_the_tests_is_examined(name: str, left_out: set[str]) -> None:
    tests = PROJECT / "tests_2.0"
    examined = [PROJECT / path for group in matrix.load(PROJECT / "matrices" / f"{name}.yaml").groups for path in group.tests]
    forgotten = [module for module in tests.rglob("test_*.py") if not any(map(module.is_relative_to, examined))]

    assert {module.relative_to(tests).parts[0] for module in forgotten} == left_out


@pytest.mark.parametrize(
    ("right", "wrong", "refusal"),
    [
        # unknown keys, on every level
        ("portfolio:", "portfolo:", "m.yaml:8: unknown key 'portfolo'; did you mean 'portfolio'?"),
        (
            "text_budget: 50%",
            "text_bugdet: 50%",
            "m.yaml:6: unknown key 'text_bugdet' in tiers.32gb; did you mean 'text_budget'?",
        ),
        ("source:", "sorce:", "m.yaml:8: unknown key 'sorce' in portfolio; did you mean 'source'?"),
        ("over: [tier]", "ovr: [tier]", "m.yaml:11: unknown key 'ovr' in groups.text; did you mean 'over'?"),
        ('text: ">=', 'txt: ">=', "m.yaml:13: unknown key 'txt' in require; did you mean 'text'?"),
        ("source:", "zzz: 1, source:", "m.yaml:8: unknown key 'zzz' in portfolio; valid here: minted, source"),
        # missing keys
        ("about: What must hold.\n", "", "m.yaml:1: the matrix lacks the key 'about'"),
        (", gate: minor", "", "m.yaml:12: groups.pull lacks the key 'gate'"),
        # a version that is a number
        ('"3.10", "3.12"', '3.10, "3.12"', 'm.yaml:3: pythons[0]: YAML reads 3.10 as the number 3.1; write "3.10" in quotes'),
        ('["3.10", "3.12"]', "3.10", 'm.yaml:3: pythons: YAML reads 3.10 as the number 3.1; write "3.10" in quotes'),
        ("all", '["3.12", 3.10]', 'm.yaml:13: require.pythons[1]: YAML reads 3.10 as the number 3.1; write "3.10" in quotes'),
        ("all", "3.10", 'm.yaml:13: require.pythons: YAML reads 3.10 as the number 3.1; write "3.10" in quotes'),
        ('"3.10", "3.12"', '3, "3.12"', 'm.yaml:3: pythons[0]: 3 is not of the form "3.12"'),
        ('"3.12"', '"3.x"', "m.yaml:3: pythons[1]: '3.x' is not of the form \"3.12\""),
        # references to nothing
        ("all", '["3.11"]', "m.yaml:13: Python '3.11' is not in 'pythons'; did you mean '3.12'?"),
        ("all", "al", "m.yaml:13: require.pythons: 'al' is not known here; did you mean 'all'?"),
        ("[this, 16gb]", "[thsi]", "m.yaml:13: 'thsi' is not a tier of this matrix; did you mean 'this'?"),
        ("[this, 16gb]", "[61gb]", "m.yaml:13: '61gb' is not a tier of this matrix; did you mean '16gb'?"),
        ("[unit, text]", "[unti]", "m.yaml:13: 'unti' is not a group of this matrix; did you mean 'unit'?"),
        ('text: ">=', 'audio: ">=', "m.yaml:13: no group runs for_each: portfolio.audio, so nothing can meet this"),
        ("over: [tier], ", "", "m.yaml:13: no group runs over: [tier], so only 'this' can be met"),
        (
            "[python, dependencies]",
            "[dependencies]",
            "m.yaml:13: no group runs over: [python], so only the last of 'pythons' can be met",
        ),
        (
            "portfolio.text",
            "portfolio.txt",
            "m.yaml:11: groups.text.for_each: 'portfolio.txt' is not known here; did you mean 'portfolio.text'?",
        ),
        ("minor", "miner", "m.yaml:12: groups.pull.gate: 'miner' is not known here; did you mean 'minor'?"),
        ("latest]", "lates]", "m.yaml:4: dependencies[1]: 'lates' is not known here; did you mean 'latest'?"),
        # twice
        ("about: What must hold.", "matrix: 1", "m.yaml:2: 'matrix' stands here a second time"),
        ("  pull:", "  unit:", "m.yaml:12: 'unit' stands here a second time"),
        ('"3.12"]', '"3.10"]', "m.yaml:3: pythons: '3.10' stands here a second time"),
        ("ram: 32 GiB", "ram: 16 GiB", "m.yaml:7: '16gb' has the memory of '32gb', and a machine is in one tier only"),
        # units
        ("ram: 32 GiB", "ram: 32 GB", "m.yaml:6: tiers.32gb.ram: '32 GB' is not of the form \"16 GiB\""),
        ("ram: 32 GiB", "ram: 0 GiB", "m.yaml:6: tiers.32gb.ram: '0 GiB' is not of the form \"16 GiB\""),
        ("ram: 32 GiB", 'ram: "32 GiB\\n"', "m.yaml:6: tiers.32gb.ram: '32 GiB\\n' is not of the form \"16 GiB\""),
        ("40%", "0.4", 'm.yaml:7: tiers.16gb.text_budget: 0.4 is not of the form "40%"'),
        ("40%", "100.5%", "m.yaml:7: tiers.16gb.text_budget: '100.5%' is not of the form \"40%\""),
        ("90 s", "90", 'm.yaml:10: groups.unit.timeout: 90 is not of the form "10 min"'),
        ("90 s", "0 s", "m.yaml:10: groups.unit.timeout: '0 s' is not of the form \"10 min\""),
        (">= 3 families", "3", "m.yaml:13: require.text: '3' is not of the form \">= 3 families\""),
        (">= 3 families", ">= 3 models", "m.yaml:13: require.text: '>= 3 models' is not of the form \">= 3 families\""),
        # names and paths
        ("  pull:", "  Pull:", "m.yaml:12: groups: 'Pull' is not of the form 16gb or text, in small letters"),
        ("  32gb:", "  this:", "m.yaml:6: tiers: 'this' is not of the form 16gb or text, in small letters"),
        (
            "tests/unit",
            "/etc",
            "m.yaml:10: groups.unit.tests[0]: '/etc' is not of the form tests_2.0/unit, below the project's root",
        ),
        (
            "tests/unit",
            "tests/../..",
            "m.yaml:10: groups.unit.tests[0]: 'tests/../..' is not of the form tests_2.0/unit, below the project's root",
        ),
        # kinds
        (
            "{process: separate, tests: [tests/live], gate: minor}",
            "[a]",
            "m.yaml:12: groups.pull: a list stands where a mapping belongs",
        ),
        (
            "{process: separate, tests: [tests/live], gate: minor}",
            "",
            "m.yaml:12: groups.pull: nothing stands where a mapping belongs",
        ),
        ("[tests/unit]", "tests/unit", "m.yaml:10: groups.unit.tests: text stands where a list belongs"),
        ("What must hold.", "12", "m.yaml:2: about: a number stands where text belongs"),
        ("matrix: 1", "matrix: 2", "m.yaml:1: matrix: 2 stands where 1 belongs"),
        # what is compared with the release before
        (
            PULL,
            PERF.replace("metrics: {token_s: {tolerance: 3%, margin: 8%}}, ", ""),
            "m.yaml:12: a group that runs for_each: portfolio.perf lacks 'metrics', which say what it compares",
        ),
        (
            PULL,
            PERF.replace("for_each: portfolio.perf, ", ""),
            "m.yaml:12: 'metrics' belong to a group that runs for_each: portfolio.perf",
        ),
        (
            PULL,
            PERF.replace("exclusive: true, ", ""),
            "m.yaml:12: a group with 'metrics' is exclusive: others would disturb what it measures",
        ),
        (
            PULL,
            PERF.replace("8%", "3%"),
            "m.yaml:12: 'tolerance', beyond which it fails, must be less than 'margin', within which it passes",
        ),
        (
            PULL,
            PERF.replace("token_s", "tokens_s"),
            "m.yaml:12: unknown key 'tokens_s' in groups.pull.metrics; did you mean 'token_s'?",
        ),
        # YAML that a matrix does without
        ("[tests/unit]", "&a [tests/unit]", "m.yaml:10: a matrix has no anchors, aliases or merge keys; write it out"),
        ("[tests/live], gate", "*a, gate", "m.yaml:12: a matrix has no anchors, aliases or merge keys; write it out"),
        (
            "{process: separate",
            "{<<: {gate: minor}, process: separate",
            "m.yaml:12: unknown key '<<' in groups.pull; valid here: cpu, exclusive, for_each, gate, marks, "
            "memory, metrics, needs, over, process, reruns, tests and 1 more",
        ),
        (
            "What",
            "!!python/name:os What",
            "m.yaml:2: about: 'What must hold.' cannot be read as tag:yaml.org,2002:python/name:os; write it without a tag",
        ),
        (
            "What",
            "!!int What",
            "m.yaml:2: about: 'What must hold.' cannot be read as tag:yaml.org,2002:int; write it without a tag",
        ),
        ("about:", "[a, b]:", "m.yaml:2: a key is one word, not a list or a mapping"),
        ("about:", "about: {}: {}", "m.yaml:2: not YAML: mapping values are not allowed here"),
        ("  pull:", "\tpull:", "m.yaml:12: not YAML: found character '\\t' that cannot start any token"),
        ("hold.", "hold\0", "m.yaml:2: not YAML: the character '\\x00' cannot stand in it"),
        ("require:", "---\nrequire:", "m.yaml:13: not YAML: but found another document"),
    ],
)
def test_one_wrong_thing_gives_one_sentence_with_its_line(tmp_path: Path, right: str, wrong: str, refusal: str) -> None:
    assert right in MATRIX

    assert _refusal(tmp_path, MATRIX.replace(right, wrong, 1)) == refusal


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", "m.yaml:1: the matrix is empty; docs/matrices.md shows what one looks like"),
        (b"# nothing yet\n", "m.yaml:1: the matrix is empty; docs/matrices.md shows what one looks like"),
        (b"- matrix\n", "m.yaml:1: the matrix: a list stands where a mapping belongs"),
        (b"matrix\n", "m.yaml:1: the matrix: text stands where a mapping belongs"),
        (b"matrix: 1\nabout: caf\xe9\n", "m.yaml:2: the matrix is not UTF-8: the byte 0xe9 stands here"),
        (MATRIX.encode("utf-16"), "m.yaml:1: the matrix is not UTF-8: the byte 0xff stands here"),
        (b"a: [1, 2\nb: }\n", "m.yaml:2: not YAML: expected ',' or ']', but got ':'"),
        (b"a: &a [*a]\n", "m.yaml:1: a matrix has no anchors, aliases or merge keys; write it out"),
        (b"[" * 5000 + b"]" * 5000, "m.yaml:1: a matrix is no more than 8 levels deep"),
    ],
    ids=["empty", "comment", "list", "scalar", "latin-1", "utf-16", "unclosed", "self-reference", "nested"],
)
def test_what_is_no_matrix_at_all_is_refused_in_one_sentence(tmp_path: Path, content: bytes, refusal: str) -> None:
    assert _refusal(tmp_path, content) == refusal


@pytest.mark.parametrize(
    ("name", "why"),
    [("smok.yaml", "there is no such matrix; did you mean 'smoke.yaml'"), (".", "cannot be read: Is a directory")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "smoke.yaml").touch()

    with pytest.raises(MatrixError, match=why):
        matrix.load(tmp_path / name)


def test_a_group_that_runs_models_cannot_run_beside_others(tmp_path: Path) -> None:
    both = MATRIX.replace("for_each:", "cpu: true, for_each:", 1)

    assert _refusal(tmp_path, both) == "m.yaml:11: a group that runs models cannot be cpu: models share one memory"


def test_of_several_wrong_things_the_first_in_the_file_is_named(tmp_path: Path) -> None:
    twice_wrong = MATRIX.replace("minor", "miner").replace("40%", "40")

    assert _refusal(tmp_path, twice_wrong).startswith("m.yaml:7: tiers.16gb.text_budget")


def test_a_byte_order_mark_and_a_date_in_a_sentence_are_no_obstacle(tmp_path: Path) -> None:
    dated = MATRIX.replace("What must hold.", "2026-01-02")

    assert _load(tmp_path, b"\xef\xbb\xbf" + dated.encode()).about == "2026-01-02"


def test_a_name_that_is_like_nothing_gets_a_short_list_of_what_is_valid() -> None:
    valid = [f"cell{number:02}" for number in range(15)]

    assert nearest("zzz", valid) == "; valid here: " + ", ".join(valid[:12]) + " and 3 more"
