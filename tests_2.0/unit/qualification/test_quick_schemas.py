"""The quick check says what jsonschema says, of every schema that we have."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from qualification import schemas
from qualification.schemas import quick

STRANGE = [None, True, False, 0, 1, -1, 1.0, 0.5, "", "x", "2026-02-30", "2026-12-31", [], ["x", "x"], [1, True], {}, {"x": 1}]
HARD: list[dict[str, Any]] = [
    {"oneOf": [{"type": "integer"}, {"minimum": 1}]},
    {"anyOf": [{"type": "string", "minLength": 1}, {"const": 1}]},
    {"enum": [0, "x"]},
    {"type": ["integer", "null"]},
    {"uniqueItems": True},
    {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}, "maxItems": 1},
    {"if": {"type": "string"}, "then": {"format": "date"}, "else": {"type": "object", "minProperties": 1}},
    {"properties": {"x": {"exclusiveMinimum": 1}}},
    {"propertyNames": {"pattern": "^y"}},
]
CHECKOUT = Path(__file__).parents[3]
REPORTS = CHECKOUT / "reports" / "example"
QUARANTINE = {
    "quarantine": 1,
    "tests": [
        {"owner": "a", "reason": "b", "issue": "c", "expires": "2026-12-31", "test": "t"},
        {"owner": "a", "reason": "b", "issue": "c", "expires": "2026-12-31", "cell": "c"},
    ],
}


def _documents() -> Iterator[tuple[schemas.Name, Any]]:
    for line in (REPORTS / "tests.jsonl").read_text(encoding="utf-8").splitlines()[::40]:
        yield "report", json.loads(line)
    for line in (REPORTS / "journal.jsonl").read_text(encoding="utf-8").splitlines():
        yield "journal", json.loads(line)
    for name in ("plan", "manifest", "verdict"):
        yield name, json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))
    for file in (CHECKOUT / "matrices").glob("*.yaml"):
        yield "matrix", yaml.safe_load(file.read_text(encoding="utf-8"))
    yield "quarantine", QUARANTINE


def test_of_real_documents_with_one_thing_changed_it_says_what_jsonschema_says() -> None:
    chance = random.Random(1)
    told = set()
    for name, document in _documents():
        check = quick.compiled(schemas.load(name))
        assert check(document)
        for _ in range(15):
            changed = _changed(document, chance)
            told.add(said := check(changed))

            assert said == schemas.validator(name).is_valid(changed)

    assert told == {True, False}


def _changed(document: Any, chance: random.Random) -> Any:
    """A copy in which one value, anywhere, is another, or gone, or has a neighbour."""
    changed = copy.deepcopy(document)
    homes = [changed]
    for home in homes:
        homes += [part for part in (home.values() if isinstance(home, dict) else home) if isinstance(part, (dict, list)) and part]
    home = chance.choice(homes)
    where = chance.choice(list(home) if isinstance(home, dict) else range(len(home)))
    match chance.choice(["other", "gone", "more"]):
        case "other":
            home[where] = chance.choice(STRANGE)
        case "gone":
            del home[where]
        case _ if isinstance(home, dict):
            home["stranger"] = 1
        case _:
            home.append(home[where])
    return changed


@pytest.mark.parametrize("schema", HARD, ids=str)
def test_where_keywords_meet_it_says_what_jsonschema_says(schema: dict[str, Any]) -> None:
    check, authority = quick.compiled(schema), jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

    assert [check(each) for each in STRANGE] == [authority.is_valid(each) for each in STRANGE]


@pytest.mark.parametrize("name", get_args(schemas.Name))
def test_every_schema_that_we_have_is_within_what_it_knows(name: schemas.Name) -> None:
    assert not quick.compiled(schemas.load(name))({})


def test_a_keyword_that_it_does_not_know_is_refused_and_not_passed_over() -> None:
    with pytest.raises(KeyError, match="contains"):
        quick.compiled({"type": "array", "contains": {"type": "string"}})
