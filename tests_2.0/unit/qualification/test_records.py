"""Test records: the schema says what stands where, and nothing that is not a record gets into the file or out of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qualification
from qualification import records, schemas
from qualification.errors import BundleError, QualificationError

FIXED = {
    "timestamp": "2026-01-02T03:04:05Z",
    "mlx_knife_version": "2.0.0",
    "test": "test_a.py::test_it",
    "outcome": "passed",
    "duration": 1.5,
    "test_start_ts": 1000.0,
    "test_end_ts": 1001.5,
}
HARNESS = {*FIXED, "schema_version", "reason", "phase", "run", "cell", "attempt", "reruns", "environment", "migrated"}
SECTIONS = {"model", "performance", "stop_tokens", "system", "system_health", "timeline"}
RECORD = {"schema_version": "1.0.0", **FIXED}


def test_every_key_of_the_schema_is_the_harnesss_or_a_section_or_the_rest() -> None:
    assert set(schemas.load("report")["properties"]) == HARNESS | SECTIONS | {"metadata"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", {"id": "org/a", "size_gb": 1.2}),
        ("performance", {"generation_tps": 30.5}),
        ("stop_tokens", {"configured": ["</s>"], "leaked": False}),
        ("system", {"platform": "linux"}),
    ],
)
def test_a_section_that_the_schema_names_stands_on_top(name: str, value: Any) -> None:
    assert records.compose(FIXED, [(name, value)]) == {**RECORD, name: value}


def test_any_other_section_goes_to_metadata() -> None:
    record = records.compose(FIXED, [("custom_metric", "value"), ("inference_modality", "text"), ("metadata", {"more": 1})])

    assert record == {**RECORD, "metadata": {"custom_metric": "value", "inference_modality": "text", "more": 1}}


@pytest.mark.parametrize("name", sorted(HARNESS))
def test_a_key_of_the_harness_cannot_be_set_by_a_test(name: str) -> None:
    record = records.compose(FIXED, [(name, "forged")])

    assert record == {**RECORD, "metadata": {name: "forged"}}


def test_a_section_given_twice_with_one_value_is_one_section() -> None:
    assert records.compose(FIXED, [("a", (1, 2)), ("a", [1, 2])])["metadata"] == {"a": [1, 2]}


@pytest.mark.parametrize("first", [1, None], ids=["a value", "null"])
def test_a_section_given_twice_with_two_values_is_refused(first: Any) -> None:
    with pytest.raises(QualificationError, match=r"test_a\.py::test_it: the section 'a' was given twice with different values"):
        records.compose(FIXED, [("a", first), ("a", 2)])


def test_composing_leaves_the_tests_own_objects_alone() -> None:
    mine = {"mine": 1}

    records.compose(FIXED, [("metadata", mine), ("other", 2)])

    assert mine == {"mine": 1}


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {"deep": [float("-inf")]}, object(), {1, 2}, b"bytes"],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(QualificationError, match=r"test_a\.py::test_it: the section 'a' cannot be written as JSON"):
        records.compose(FIXED, [("a", value)])


@pytest.mark.parametrize(
    ("fixed", "section", "why"),
    [
        ({"outcome": "error"}, [], "outcome: 'error' is not one of"),
        ({"duration": -1}, [], "duration: -1 is less than the minimum of 0"),
        ({"timestamp": "yesterday"}, [], "timestamp: 'yesterday' does not match"),
        ({}, [("model", {"name": "org/a"})], "model: .*'id' is a required property"),
        ({}, [("performance", {"generation_tps": "fast"})], "performance.generation_tps: 'fast' is not of type 'number'"),
        ({}, [("performance", {"speed": 1})], "performance: .*'speed' was unexpected"),
    ],
)
def test_a_record_that_violates_the_schema_is_refused(fixed: dict[str, Any], section: Any, why: str) -> None:
    with pytest.raises(QualificationError, match=f"test_a.py::test_it: its record violates the report schema: .*{why}"):
        records.compose({**FIXED, **fixed}, section)


def test_a_new_property_of_the_schema_is_all_that_a_new_top_level_key_takes(tmp_path: Path) -> None:
    package = tmp_path / "qualification"
    shutil.copytree(Path(qualification.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "mint", "plugin"))
    schema = json.loads((package / "schemas" / "report-current.schema.json").read_text(encoding="utf-8"))
    schema["properties"]["energy"] = {"type": "object"}
    (package / "schemas" / "report-current.schema.json").write_text(json.dumps(schema), encoding="utf-8")
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from qualification import records;"
        "print(json.dumps(records.compose(json.loads(sys.argv[2]), [('energy', {'joules': 3})])))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path, json.dumps(FIXED)], capture_output=True, check=True, timeout=60
    )

    assert json.loads(done.stdout) == {**RECORD, "energy": {"joules": 3}}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(), st.none() | st.text() | st.integers()), max_size=4, unique_by=lambda each: each[0]))
def test_a_record_is_read_back_as_it_was_appended(
    tmp_path_factory: pytest.TempPathFactory, metadata: list[tuple[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("records") / "tests.jsonl"
    record = {**RECORD, "metadata": dict(metadata)}

    records.append(path, record)
    records.append(path, RECORD)

    first, second = path.read_bytes().splitlines(keepends=True)
    assert records.read(path) == [(1, record, first), (2, RECORD, second)]


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "tests.jsonl"

    records.append(path, {**RECORD, "reason": "a\ud800b"})

    assert records.read(path)[0][1]["reason"] == "a?b"


def test_a_torn_last_line_is_left_out_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "tests.jsonl"
    records.append(path, RECORD)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])

    assert len(records.read(path)) == 1

    records.mend(path)
    records.append(path, RECORD)

    assert path.read_bytes() == whole + whole


@pytest.mark.parametrize("content", [b"", b'{"a": 1}\n'])
def test_mending_leaves_whole_lines_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tests.jsonl"
    path.write_bytes(content)

    records.mend(path)

    assert path.read_bytes() == content


def test_where_no_test_has_finished_there_is_nothing_to_read_or_mend(tmp_path: Path) -> None:
    records.mend(tmp_path / "tests.jsonl")

    assert records.read(tmp_path / "tests.jsonl") == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\n", "not a JSON line"),
        (b"\xff\n", "not a JSON line"),
        (json.dumps(RECORD).encode() + b"\r" + json.dumps(RECORD).encode() + b"\n", "not a JSON line"),
        (json.dumps({**RECORD, "duration": float("nan")}).encode() + b"\n", "not a JSON line .NaN is no number of JSON"),
        (b"[]\n", "is not of type 'object'"),
        (json.dumps({**RECORD, "outcome": "xfailed"}).encode() + b"\n", "outcome: 'xfailed' is not one of"),
        (json.dumps({**RECORD, "mood": "good"}).encode() + b"\n", "'mood' was unexpected"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes, why: str) -> None:
    path = tmp_path / "tests.jsonl"
    records.append(path, RECORD)
    path.write_bytes(path.read_bytes() + line + path.read_bytes())

    with pytest.raises(BundleError, match=rf"^tests\.jsonl:2: .*{why}"):
        records.read(path)
    with pytest.raises(BundleError, match=rf"^tests\.jsonl:2: .*{why}"):
        records.written_since(path, path.read_bytes().index(b"\n") + 1, "a cell")


def test_the_digest_is_the_sha256_of_the_lines_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "tests.jsonl"
    for _ in range(3):
        records.append(path, RECORD)

    digest = records.digest(raw for _, _, raw in records.read(path))

    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_records_of_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "tests.jsonl"
    program = (
        "import json, sys; from pathlib import Path; from qualification import records\n"
        "record = json.loads(sys.argv[2])\n"
        "for number in range(30): records.append(Path(sys.argv[1]), {**record, 'reason': 'x' * 5000})"
    )

    both = [subprocess.Popen([sys.executable, "-c", program, path, json.dumps(RECORD)], env=os.environ.copy()) for _ in range(2)]
    codes = [process.wait(timeout=60) for process in both]

    assert codes == [0, 0]
    assert len(records.read(path)) == 60
