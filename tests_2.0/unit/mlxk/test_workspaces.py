"""Workspaces: folders with a model in them, by path or by name, and whether they were changed since they were made."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from mlxk import content_hash, workspace
from mlxk.compatibility import Packages
from mlxk.errors import ModelNotFound, OperationFailed, RevisionNotFound, UsageError
from mlxk.library import Library

MADE = {"mlxk_version": "0.1.0", "created_at": "2026-01-01T00:00:00Z", "managed": True, "operation": "clone"}
MADE["source_repo"] = "org/m"


@pytest.fixture
def made(tmp_path, hub) -> Path:
    """A workspace with a sentinel that pins nothing yet, in a folder of workspaces."""
    snapshot = hub.add("org/origin")
    folder = tmp_path / "home" / "mine"
    folder.parent.mkdir()
    snapshot.rename(folder)
    shutil.rmtree(hub.root / "models--org--origin")
    (folder / ".mlxk_workspace.json").write_text(json.dumps(MADE), encoding="utf-8")
    return folder


@pytest.fixture
def library(hub, made) -> Library:
    return Library(hub.root, Packages.none(), made.parent)


@pytest.mark.parametrize("spec", ["./x", "../x", "/x", ".", ".."])
def test_a_path_is_what_begins_as_one(spec):
    assert workspace.is_path(spec)


@pytest.mark.parametrize("spec", ["x", "org/x", ".x", "..x", "~/x", ""])
def test_anything_else_is_a_name(spec):
    assert not workspace.is_path(spec)


def test_a_path_finds_the_folder_and_not_a_model_of_the_cache(hub, library, made, monkeypatch):
    hub.add("org/mine")
    monkeypatch.chdir(made.parent)

    assert [library.find(spec).name for spec in ("./mine", str(made))] == [str(made)] * 2
    assert library.find("./mine").snapshot.cached is False


def test_a_name_in_the_folder_of_workspaces_goes_before_the_cache(hub, library, made):
    hub.add("org/mine")

    assert library.find("mine").name == str(made)
    assert library.find("org/mine").name == "org/mine"


@pytest.mark.parametrize("spec", ["min", "MINE", "mine/"])
def test_the_name_of_a_workspace_must_be_exact(library, spec):
    with pytest.raises(ModelNotFound):
        library.find(spec)


@pytest.mark.parametrize("spec", ["..", "../home/none", "./none"])
def test_a_path_to_nothing_is_not_found_and_never_leaves_the_folder_by_name(library, made, monkeypatch, spec):
    monkeypatch.chdir(made)
    if spec == "..":
        assert library.find(spec).name == str(made.parent)
    else:
        with pytest.raises(ModelNotFound, match="no folder"):
            library.find(spec)


def test_a_revision_pins_a_snapshot_and_no_workspace(library):
    with pytest.raises((ModelNotFound, RevisionNotFound)):
        library.find("mine@main")


def test_workspaces_are_listed_before_the_cache_and_by_pattern(hub, library, made):
    hub.add("org/a-mine")
    hub.add("org/b")

    assert [model.name for model in library.models()] == [str(made), "org/a-mine", "org/b"]
    assert [model.name for model in library.models("MINE")] == [str(made), "org/a-mine"]


def test_a_path_lists_the_workspace_or_those_in_it_or_those_whose_name_begins_so(library, made):
    (made.parent / "other").mkdir()
    (made.parent / "other" / "config.json").write_text("{}", encoding="utf-8")
    (made.parent / "no-model").mkdir()

    assert [model.name for model in library.models(str(made))] == [str(made)]
    assert [model.name for model in library.models(str(made.parent))] == [str(made), str(made.parent / "other")]
    assert [model.name for model in library.models(str(made.parent / "mi"))] == [str(made)]
    assert list(library.models(str(made.parent / "zz"))) == []


def test_a_whole_workspace_is_healthy_and_its_sentinel_is_no_fault(library, made):
    assert [problem.code for problem in library.find("mine").problems] == []


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps(MADE | {"managed": "yes"}), '{"a":' * 50_000])
def test_a_sentinel_that_cannot_be_trusted_is_none(made, content):
    (made / workspace.SENTINEL).write_text(content, encoding="utf-8")

    assert workspace.sentinel(str(made)) is None


def clean(made: Path) -> bool | None:
    return content_hash.clean(str(made), workspace.sentinel(str(made)))


def test_nothing_is_known_of_a_workspace_before_its_content_is_pinned(made):
    assert clean(made) is None


def test_a_pinned_workspace_is_clean_until_something_changes(made):
    before = content_hash.pin(str(made))
    told = [clean(made)]
    (made / "config.json").write_text('{"model_type": "llama", "changed": true}', encoding="utf-8")
    told.append(clean(made))
    after = content_hash.pin(str(made))
    told.append(clean(made))

    assert told == [True, False, True]
    assert before.content_hash != after.content_hash
    assert (after.origin, after.document["operation"]) == ("org/m", "clone")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda made: (made / "new.txt").write_text("x", encoding="utf-8"), False),
        (lambda made: (made / "tokenizer.json").unlink(), False),
        (lambda made: os.utime(made / "config.json", (1, 1)), True),
        (lambda made: (made / "tokenizer.json").write_bytes(b'{"version":"9.9"}'), False),
        (lambda made: (made / "model.safetensors").write_bytes((made / "model.safetensors").read_bytes()[:-1]), False),
        (lambda made: (made / ".git").mkdir() or (made / ".git" / "x").write_text("x", encoding="utf-8"), True),
    ],
    ids=["added", "removed", "touched", "same size", "weights cut", "hidden folder"],
)
def test_what_counts_as_a_change(made, change, expected):
    (made / "tokenizer.json").write_bytes(b'{"version":"1.0"}')
    content_hash.pin(str(made))
    change(made)

    assert clean(made) is expected


def test_the_hash_is_of_the_content_and_not_of_the_place_or_time(made, tmp_path):
    first = content_hash.pin(str(made)).content_hash
    moved = made.rename(tmp_path / "elsewhere")
    for path in moved.iterdir():
        os.utime(path, (1, 1))

    assert content_hash.pin(str(moved)).content_hash == first


def test_a_folder_that_mlxk_did_not_make_is_not_pinned(made):
    (made / workspace.SENTINEL).unlink()
    with pytest.raises(UsageError, match="no hash to renew"):
        content_hash.pin(str(made))

    assert not (made / workspace.SENTINEL).exists()


def test_a_sentinel_that_cannot_be_written_leaves_the_old_one(made):
    before = (made / workspace.SENTINEL).read_bytes()
    (made / f"{workspace.SENTINEL}.{os.getpid()}.new").mkdir()  # the file that would be written beside it
    with pytest.raises(OperationFailed, match="cannot be written"):
        content_hash.pin(str(made))

    assert (made / workspace.SENTINEL).read_bytes() == before
