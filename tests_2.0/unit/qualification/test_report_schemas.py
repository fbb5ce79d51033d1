"""Schemas of records: what each version reads, that migration loses nothing, and that a broken record is never written."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qualification import records, schemas
from qualification.errors import QualificationError
from qualification.report import migrate

OF_SEED = {
    "schema_version": "0.1.0",
    "timestamp": "2025-11-16T10:30:00Z",
    "mlx_knife_version": "2.0.3",
    "test": "tests_2.0/live/test_stop_tokens_live.py::test_stop_tokens[phi-3-mini]",
    "outcome": "passed",
    "duration": 12.3,
    "model": {"id": "mlx-community/phi-3-mini-4k-instruct", "size_gb": 2.8, "family": "phi-3", "variant": "mini-4k-instruct"},
    "performance": {"tokens_per_sec": 45.2, "ram_peak_mb": 3200, "prompt_tokens": 15, "completion_tokens": 42},
    "stop_tokens": {
        "configured": ["<|end|>", "<|endoftext|>"],
        "detected": ["<|end|>"],
        "workaround": "phi-3-dual-eos",
        "leaked": False,
    },
}
AS_HOOKS_WROTE = {
    **OF_SEED,
    "schema_version": "0.2.1",
    "timestamp": "2026-01-31T12:00:00.5+02:00",
    "system": {"hardware_profile": {"model_identifier": "Mac14,13", "cores_physical": 12, "color": "grey"}},
    "system_health": {"swap_gb": 0.35, "zombies_detected": 1, "quality_flags": ["degraded_swap"]},
    "metadata": {"inference_modality": "vision", "a/b~c": [1]},
}
WHOLE = {
    **OF_SEED,
    "schema_version": "1.0.0",
    "test_start_ts": 1000.0,
    "test_end_ts": 1012.3,
    "system": {"platform": "linux", "ram_total_gb": 25.3, "hardware_profile": {"cores_physical": 2}},
    "system_health": {"swap_used_mb": 0.0, "ram_free_gb": 20.5, "zombie_processes": 0, "quality_flags": ["clean"]},
    "timeline": {"first_token_ms": 35.5},
    "environment": {"python": "3.12.1", "dependencies": "locked", "packages": {"mlx": "0.31.2"}},
}
VERSIONS = [*schemas.EARLIER]
FOLDER = Path(schemas.__file__).parent
CHECKOUT = Path(__file__).parents[3] / "qualification" / "schemas"
"""Of the project: a wheel has no links."""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_report_of_the_first_version_is_valid_under_each_later_one_of_its_line(version: str) -> None:
    assert schemas.violations(schemas.EARLIER[version], OF_SEED) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mood": "good"}, "'mood' was unexpected"),
        ({"outcome": "error"}, "outcome: 'error' is not one of"),
        ({"timestamp": "yesterday"}, "timestamp: 'yesterday' is not a 'date-time'"),
        ({"timestamp": "2026-02-30T10:00:00Z"}, "is not a 'date-time'"),
        ({"timestamp": "2026-02-03T10:00:00"}, "is not a 'date-time'"),
        ({"mlx_knife_version": "two"}, "mlx_knife_version: 'two' does not match"),
        ({"duration": -1}, "duration: -1 is less than the minimum of 0"),
        ({"schema_version": "0.3.0"}, "schema_version: '0."),
        ({"performance": {"prompt_tokens": 1.5}}, "performance.prompt_tokens: 1.5 is not of type 'integer'"),
    ],
)
def test_an_old_record_that_breaks_its_schema_is_named(version: str, change: dict[str, Any], why: str) -> None:
    found = schemas.violations(schemas.EARLIER[version], {**OF_SEED, **change})

    assert any(why in sentence for sentence in found), found


@pytest.mark.parametrize("version", VERSIONS)
def test_nested_objects_of_an_old_record_are_open(version: str) -> None:
    assert schemas.violations(schemas.EARLIER[version], {**OF_SEED, "model": {"id": "org/a", "color": "grey"}}) == []


def test_every_nested_object_of_the_current_schema_is_closed_but_the_free_ones() -> None:
    def open_objects(schema: dict[str, Any], path: str) -> list[str]:
        below = [each for name, part in schema.get("properties", {}).items() for each in open_objects(part, f"{path}/{name}")]
        loose = schema.get("type") == "object" and "additionalProperties" not in schema
        return [path, *below] if loose else below

    assert open_objects(schemas.load("report"), "") == ["/migrated/was", "/metadata"]


def test_the_current_schema_is_a_link_to_the_version_that_it_names() -> None:
    assert (CHECKOUT / "report-current.schema.json").readlink() == Path(f"report-v{schemas.report_version()}.schema.json")


def test_the_folder_of_benchmarks_shows_the_same_schemas() -> None:
    shown = CHECKOUT.parents[1] / "benchmarks" / "schemas"

    assert shown.resolve() == CHECKOUT.resolve()


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.schema.json")), ids=lambda file: file.name)
def test_each_schema_is_itself_valid(file: Path) -> None:
    schema = json.loads(file.read_text(encoding="utf-8"))

    jsonschema.validators.validator_for(schema, default=None).check_schema(schema)


def test_what_hooks_wrote_in_other_words_has_one_name_now_and_nothing_is_lost() -> None:
    new = migrate.forward(AS_HOOKS_WROTE)

    assert schemas.violations("report", new) == []
    assert new["timestamp"] == "2026-01-31T10:00:00.500000Z"
    assert new["system_health"] == {"swap_used_mb": 350.0, "zombie_processes": 1, "quality_flags": ["degraded_swap"]}
    assert new["system"]["hardware_profile"] == {"model": "Mac14,13", "cores_physical": 12}
    assert new["metadata"] == AS_HOOKS_WROTE["metadata"]
    assert new["migrated"]["was"]["/system/hardware_profile/color"] == "grey"
    assert migrate.back(new) == AS_HOOKS_WROTE


def test_nothing_is_invented_by_migration() -> None:
    new = migrate.forward({key: OF_SEED[key] for key in ("schema_version", "timestamp", "mlx_knife_version", "test", "outcome")})

    assert not {"duration", "test_start_ts", "test_end_ts"} & new.keys()
    assert new["migrated"] == {"from": "0.1.0", "was": {}, "added": []}


def test_a_current_record_is_left_as_it_is_both_ways() -> None:
    assert migrate.forward(WHOLE) == WHOLE
    assert migrate.back(WHOLE) == WHOLE


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_STRANGERS = st.dictionaries(st.text(max_size=6) | st.sampled_from(["a/b", "~", "~1", "", "migrated"]), _JSON, max_size=3)
_TIMES = st.datetimes(timezones=st.timezones()).filter(lambda time: 1 < time.year < 9999 and time.utcoffset() is not None)
_OFFSET_TIMES = _TIMES.map(lambda time: time.isoformat()).filter(
    lambda text: schemas.violations("report-v0.1", {**OF_SEED, "timestamp": text}) == []
)


def _of_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Anything that an old schema allows at one place, with strangers wherever it is open."""
    if "properties" in schema or schema.get("type") == "object":
        known = {key: _of_schema(part) for key, part in schema.get("properties", {}).items()}
        return st.builds(lambda named, others: {**others, **named}, st.fixed_dictionaries({}, optional=known), _STRANGERS)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    each: dict[str, st.SearchStrategy[Any]] = {
        "string": st.text(max_size=8),
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(),
        "number": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "array": st.lists(_of_schema(schema.get("items", {"enum": [1]})), max_size=3),
    }
    return st.one_of([each[kind] for kind in kinds])


@st.composite
def _old_records(draw: st.DrawFn) -> dict[str, Any]:
    version = draw(st.sampled_from(VERSIONS))
    properties = schemas.load(schemas.EARLIER[version])["properties"]
    sections = {key: _of_schema(part) for key, part in properties.items() if part.get("type") == "object"}
    times = {
        key: st.floats(min_value=0, allow_infinity=False)
        for key in ("duration", "test_start_ts", "test_end_ts")
        if key in properties
    }
    optional = draw(st.fixed_dictionaries({}, optional={**sections, **times}))
    required = {
        "schema_version": version,
        "timestamp": draw(_OFFSET_TIMES),
        "mlx_knife_version": draw(st.sampled_from(["2.0.4", "2.0.4b7", "10.0.0-rc1"])),
        "test": draw(st.text(min_size=1)),
        "outcome": draw(st.sampled_from(["passed", "failed", "skipped"])),
    }
    return {**required, **optional}


@settings(max_examples=40)
@given(_old_records())
def test_any_old_record_is_valid_when_migrated_and_comes_back_to_the_last_key(old: dict[str, Any]) -> None:
    assert schemas.violations(schemas.EARLIER[old["schema_version"]], old) == []
    before = copy.deepcopy(old)

    new = json.loads(json.dumps(migrate.forward(old)))

    assert schemas.violations("report", new) == []
    assert json.dumps(migrate.back(new), sort_keys=True) == json.dumps(old, sort_keys=True)
    assert old == before


def test_of_a_thousand_mutated_records_none_is_written(tmp_path: Path) -> None:
    assert schemas.violations("report", WHOLE) == []
    chance = random.Random(20260101)
    path = tmp_path / "tests.jsonl"
    written = 0
    for _ in range(1000):
        mutated = _mutated(WHOLE, chance)
        sections = [
            (name, mutated.pop(name))
            for name in ("model", "performance", "stop_tokens", "system", "system_health", "timeline")
            if name in mutated
        ]
        mutated.pop("schema_version", None)
        try:
            records.append(path, records.compose(mutated, sections))
            written += 1
        except QualificationError:
            continue

    assert written == 0
    assert not path.exists()


def _mutated(record: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The record with one change that its schema forbids: a key more, a required key less, or a value of another kind."""
    changed = copy.deepcopy(record)
    sections = [
        changed[name] for name in ("model", "performance", "stop_tokens", "system", "system_health", "timeline", "environment")
    ]
    homes = [*sections, changed["system"]["hardware_profile"]]
    kind = chance.choice(["stranger", "missing", "kind", "range"])
    if kind == "stranger":
        chance.choice(homes)["".join(chance.choices("abcdefghij", k=6))] = chance.choice([None, 1, "x", {}])
    elif kind == "missing":
        home, key = chance.choice(
            [
                (changed, key)
                for key in ("timestamp", "mlx_knife_version", "test", "outcome", "duration", "test_start_ts", "test_end_ts")
            ]
            + [(changed["model"], "id"), (changed["environment"], "python"), (changed["environment"], "dependencies")]
        )
        if home is changed and key == "test":
            home[key] = ""
        else:
            del home[key]
    elif kind == "kind":
        home = chance.choice([changed, *homes])
        key = chance.choice([key for key in home if key != "schema_version"])
        home[key] = chance.choice([[None], {"a": {}}, [[]]])
    else:
        chance.choice([changed["performance"], changed["timeline"], changed["system_health"]])[
            chance.choice(["ram_peak_mb", "first_token_ms", "swap_used_mb"])
        ] = -chance.random() - 0.001
    return changed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "the key 'b' stands twice"),
        ('["\\ud800"]', "surrogates not allowed"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("{", "Expecting property name"),
    ],
    ids=["NaN", "infinity", "twice", "half a pair", "deep lists", "deep objects", "cut"],
)
def test_what_readers_of_json_would_disagree_on_is_no_json(text: str, why: str) -> None:
    for content in (text, text.encode("utf-8")):
        with pytest.raises(ValueError, match=re.escape(why)):
            schemas.parse(content)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_other_document_is_read_as_python_reads_it(document: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(document, ensure_ascii=ascii_only)

        assert schemas.parse(text) == json.loads(text) == schemas.parse(text.encode("utf-8"))
