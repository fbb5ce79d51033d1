"""Schema, documentation and code say the same: one version, the same examples, the same error types, codes and exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from mlxk import errors, output, schemas
from mlxk.errors import MlxkError
from mlxk.health import Code
from mlxk.usage import COMMANDS

SCHEMA = schemas.output()
DOCUMENT = (Path(__file__).parents[2] / "docs" / "json-api.md").read_text(encoding="utf-8")
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]

INTERNAL = {"not_found", "refused", "validation_error", "deadline_exceeded"}
"""Types of the branches of the tree, and of HTTP requests, which no command ends with; ``schema`` ends with the first."""


def kinds(base: type[MlxkError] = MlxkError) -> set[type[MlxkError]]:
    return {base}.union(*map(kinds, base.__subclasses__()))


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_code_schema_and_documentation_have_one_version():
    printed = json.loads(
        subprocess.run([sys.executable, "-m", "mlxk", "version", "--json"], capture_output=True, check=True).stdout
    )
    versions = {
        schemas.JSON_API_SPEC_VERSION,
        printed["data"]["json_api_spec_version"],
        SCHEMA["version"],
        *re.findall(r"\d+\.\d+\.\d+", SCHEMA["title"] + SCHEMA["$id"]),
        *re.findall(r"Version (\d+\.\d+\.\d+) of the JSON API", DOCUMENT),
        *re.findall(r'"json_api_spec_version": "([^"]+)"', DOCUMENT),
    }

    assert len(versions) == 1


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example['command']}-{example['status']}")
def test_an_example_of_the_documentation_is_valid(example):
    assert [problem.message for problem in Draft202012Validator(SCHEMA).iter_errors(example)] == []


def test_the_documentation_has_an_example_of_every_command_that_manages_or_runs_models():
    assert {example["command"] for example in EXAMPLES} >= {"list", "show", "health", "rm", "version", "run"}


def test_every_error_that_a_command_can_end_with_is_in_the_schema():
    declared = set(SCHEMA["$defs"]["error"]["properties"]["type"]["enum"])

    assert {kind.type for kind in kinds()} - INTERNAL == declared - INTERNAL


def test_the_documentation_gives_every_error_its_exit_code():
    rows = re.findall(r"^\| (\d+) \| [^|]* \| (.*) \|$", DOCUMENT, re.MULTILINE)
    documented = {kind: int(code) for code, text in rows for kind in re.findall(r"`(\w+)`", re.sub(r"\(with [^)]*\)", "", text))}
    real = {kind.type: output.exit_code(kind("")) for kind in kinds() if kind.type not in INTERNAL or kind is errors.NotFound}

    assert documented == real


def test_the_codes_of_health_are_the_same_in_code_schema_and_documentation():
    table = DOCUMENT.split("The codes:")[1].split("## rm")[0]
    documented = {code for cell in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for code in re.findall(r"`(\w+)`", cell)}

    assert set(get_args(Code)) == set(SCHEMA["$defs"]["problem"]["properties"]["code"]["enum"]) == documented


def test_the_schema_knows_every_command():
    assert set(SCHEMA["properties"]["command"]["enum"]) == {"mlxk", *COMMANDS}


@pytest.mark.parametrize("name", sorted(SCHEMA["$defs"]))
def test_a_part_of_the_schema_is_complete_in_itself(name):
    part = schemas.definition(name)

    Draft202012Validator.check_schema(part)
    assert list(Draft202012Validator(part).iter_errors(object())) != []


@pytest.mark.parametrize("spoil", [{"surprise": 1}, {"size_bytes": -1}, {"hash": "main"}, {"last_modified": "2026-01-01 12:00"}])
def test_the_schema_lets_no_other_model_through(spoil):
    model = EXAMPLES[1]["data"]["models"][1]
    validator = Draft202012Validator(schemas.definition("modelObject"))

    assert (validator.is_valid(model), validator.is_valid(model | spoil)) == (True, False)
