"""clone: a folder of one's own with everything in it, or no folder; and the cache knows nothing of it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import time
from contextlib import suppress

import pytest

from mlxk import clone, copying
from mlxk.errors import LocksPresent
from qualification.hub.faults import Fault

NAME = "acme/tiny"
SENTINEL = ".mlxk_workspace.json"


def refusing(number: int):
    """A system call that is refused with this error."""

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return refuse


def without_sentinel(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: raw for name, raw in files.items() if name != SENTINEL}


def test_a_clone_is_what_was_published_and_nothing_else_is_written(local_hub, person, model, tell, tmp_path):
    commit = local_hub.store.import_folder(NAME, model)
    before = set(tmp_path.iterdir())
    data = person.run("clone", NAME, str(tmp_path / "mine"), "--json").data
    cloned = without_sentinel(tell(tmp_path / "mine"))

    assert {name: cloned[name] for name in tell(model)} == tell(model)
    assert set(cloned) - set(tell(model)) == {".gitattributes"}
    assert (data["health"], data["commit_hash"], data["target_dir"]) == ("healthy", commit.id, str(tmp_path / "mine"))
    assert set(tmp_path.iterdir()) - before == {tmp_path / "mine"}


def test_its_sentinel_says_where_it_came_from_and_pins_what_it_is(local_hub, person, model, tmp_path):
    commit = local_hub.store.import_folder(NAME, model)
    person.run("clone", NAME, str(tmp_path / "mine"))
    sentinel = json.loads((tmp_path / "mine" / SENTINEL).read_bytes())
    clean = person.run("show", str(tmp_path / "mine"), "--json").data["model"]
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    changed = person.run("show", str(tmp_path / "mine"), "--json").data["model"]

    assert (sentinel["source_repo"], sentinel["source_revision"]) == (NAME, commit.id)
    assert (sentinel["managed"], sentinel["operation"]) == (True, "clone")
    assert (clean["origin"], clean["clean"], changed["clean"]) == (NAME, True, False)


def test_files_of_the_same_content_do_not_change_together(local_hub, person, model, tmp_path):
    (model / "copy.json").write_bytes((model / "config.json").read_bytes())
    local_hub.store.import_folder(NAME, model)
    person.run("clone", NAME, str(tmp_path / "mine"))
    with (tmp_path / "mine" / "copy.json").open("a", encoding="utf-8") as file:
        file.write(" ")

    assert (tmp_path / "mine" / "config.json").read_bytes() == (model / "config.json").read_bytes()


@pytest.mark.parametrize("how", ["@old", "--branch"])
def test_a_revision_is_the_one_that_is_cloned(local_hub, person, model, tmp_path, how):
    old = local_hub.store.import_folder(NAME, model)
    local_hub.store.set_ref(NAME, "branches", "old", old.id)
    (model / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    local_hub.store.import_folder(NAME, model)
    arguments = [f"{NAME}@old"] if how == "@old" else [NAME, "--branch", "old"]
    data = person.run("clone", *arguments, str(tmp_path / "mine"), "--json").data

    assert data["commit_hash"] == old.id
    assert json.loads((tmp_path / "mine" / "config.json").read_bytes())["model_type"] == "llama"


def test_in_the_workspace_home_a_name_is_enough(local_hub, person, model, tmp_path, monkeypatch):
    local_hub.store.import_folder(NAME, model)
    (tmp_path / "workspaces").mkdir()
    monkeypatch.setenv("MLXK_WORKSPACE_HOME", str(tmp_path / "workspaces"))
    first = person.run("clone", NAME, "--json").data["target_dir"]
    second = person.run("clone", NAME, "other", "--json").data["target_dir"]
    again = person.run("clone", NAME, "--json")
    listed = [entry["name"] for entry in person.run("list", "--json").data["models"]]

    assert listed == [second, first] == [str(tmp_path / "workspaces" / name) for name in ("other", "tiny")]
    assert (again.code, again.error["type"]) == (2, "InvalidTargetError")
    assert not person.hub.exists()


@pytest.mark.parametrize("target", ["", "{full}", "{file}", "{tmp}/no/where", "{hub}/mine"])
def test_a_target_that_cannot_be_is_refused_before_the_hub_is_asked(local_hub, person, model, tmp_path, target):
    local_hub.store.import_folder(NAME, model)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me", encoding="utf-8")
    person.hub.mkdir(parents=True)
    places = {"full": tmp_path / "full", "file": tmp_path / "full" / "mine.txt", "tmp": tmp_path, "hub": person.hub}
    ended = person.run("clone", NAME, *([target.format(**places)] if target else []), "--json")

    assert (ended.code, ended.error["type"]) == (2, "InvalidTargetError")
    assert local_hub.requests() == []
    assert (tmp_path / "full" / "mine.txt").read_text(encoding="utf-8") == "keep me"
    assert list(person.hub.iterdir()) == []


def test_an_empty_folder_is_a_target(local_hub, person, model, tmp_path):
    local_hub.store.import_folder(NAME, model)
    (tmp_path / "mine").mkdir()

    assert person.run("clone", NAME, str(tmp_path / "mine"), "--json").data["clone_status"] == "success"


@pytest.mark.parametrize(
    ("state", "code", "kind"), [({"gated": "auto"}, 4, "access_denied"), ({"private": True}, 4, "access_denied")]
)
def test_a_refusal_leaves_nothing(local_hub, person, model, tmp_path, state, code, kind):
    local_hub.store.import_folder(NAME, model)
    local_hub.store.change(NAME, **state)
    before = set(tmp_path.iterdir())
    ended = person.run("clone", NAME, str(tmp_path / "mine"), "--json")

    assert (ended.code, ended.error["type"]) == (code, kind)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_what_an_interrupted_clone_has_fetched_is_not_fetched_again(local_hub, person, model, tell, tmp_path, end):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("stall", "/cdn/*", at_byte=250_000))
    cloning = person.start(
        "clone", NAME, str(tmp_path / "mine"), first="import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    )
    deadline = time.monotonic() + 30
    while not _came(tmp_path, 500_000):
        assert time.monotonic() < deadline and cloning.poll() is None
        time.sleep(0.01)
    cloning.send_signal(end)
    _, err = cloning.communicate(timeout=10)
    there = (tmp_path / "mine").exists()
    local_hub.forget()
    data = person.run("clone", NAME, str(tmp_path / "mine"), "--json").data
    cloned = tell(tmp_path / "mine")

    assert cloning.returncode == (130 if end == signal.SIGINT else -9)
    assert end != signal.SIGINT or "goes on with it" in err
    assert not there
    assert data["downloaded_bytes"] <= sum(map(len, without_sentinel(cloned).values())) - 500_000
    assert {name: cloned[name] for name in tell(model)} == tell(model)
    assert list(tmp_path.glob(".mlxk2_temp_*")) == []


def _came(place, count_bytes: int) -> bool:
    sizes = []
    for path in place.glob(".mlxk2_temp_*/models--*/blobs/*.incomplete"):
        with suppress(FileNotFoundError):  # it has just got its final name
            sizes.append(path.stat().st_size)
    return sum(sizes) >= count_bytes


def test_a_second_clone_into_the_same_folder_is_refused(local_hub, person, model, tmp_path):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("stall", "/cdn/*", at_byte=1000))
    first = person.start("clone", NAME, str(tmp_path / "mine"))
    deadline = time.monotonic() + 30
    while not _came(tmp_path, 1):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.01)
    second = person.run("clone", NAME, str(tmp_path / "mine"), "--json")
    first.kill()
    first.communicate()

    assert second.error["type"] == "locks_present"


def test_a_copy_is_a_file_of_its_own_on_any_file_system(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"content")
    copying.copy(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr("os.link", refusing(errno.EPERM))
    copying.move_or_copy(tmp_path / "a", tmp_path / "c")
    (tmp_path / "a").write_bytes(b"other")

    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes() == b"content"


def test_a_workspace_needs_a_file_system_neither_with_links_nor_with_locks(local_hub, person, model, tell, tmp_path, monkeypatch):
    """As FAT has none of the first, and some network file systems none of the second."""
    local_hub.store.import_folder(NAME, model)
    for name, number in (("os.link", errno.EPERM), ("pathlib.Path.symlink_to", errno.EPERM), ("fcntl.flock", errno.ENOTSUP)):
        monkeypatch.setattr(name, refusing(number))
    data = person.run("clone", NAME, str(tmp_path / "mine"), "--json").data
    cloned = tell(tmp_path / "mine")

    assert data["health"] == "healthy"
    assert {name: cloned[name] for name in tell(model)} == tell(model)
    assert list(tmp_path.glob(".mlxk2_temp_*")) == []


def test_a_cache_without_links_is_told_of_before_anything_is_downloaded(local_hub, person, model, monkeypatch):
    local_hub.store.import_folder(NAME, model)
    monkeypatch.setattr("pathlib.Path.symlink_to", refusing(errno.EPERM))
    ended = person.run("pull", NAME, "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert "mlxk clone" in ended.error["message"]
    assert [request for request in local_hub.requests() if "/resolve/" in request.path] == []


def test_a_copy_never_takes_the_place_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        copying.copy(tmp_path / "a", tmp_path / "b")

    assert (tmp_path / "b").read_bytes() == b"precious"


def test_a_workspace_that_was_published_with_its_sentinel_gets_one_of_its_own(local_hub, person, model, tmp_path):
    base = local_hub.store.import_folder(NAME, model)
    theirs = local_hub.store.put(SENTINEL, b'{"managed": true, "source_repo": "../../evil"}')
    commit = local_hub.store.commit(NAME, "main", "with a sentinel", {SENTINEL: theirs}, {}, base.id)
    person.run("clone", NAME, str(tmp_path / "mine"))
    verified = person.run("health", str(tmp_path / "mine"), "--verify", "--json").data["healthy"][0]["verified"]

    assert json.loads((tmp_path / "mine" / SENTINEL).read_bytes())["source_revision"] == commit.id
    assert verified == {"files": 8, "unknown": 0}


def test_a_temporary_folder_that_somebody_else_has_put_there_is_not_used(local_hub, person, model, tmp_path):
    local_hub.store.import_folder(NAME, model)
    place = clone.temporary(f"{NAME}@main", tmp_path / "mine")
    (tmp_path / "theirs").mkdir()
    place.symlink_to(tmp_path / "theirs")
    ended = person.run("clone", NAME, str(tmp_path / "mine"), "--json")

    assert (ended.code, ended.error["type"]) == (2, "InvalidTargetError")
    assert list((tmp_path / "theirs").iterdir()) == []


def test_who_waited_for_a_folder_that_is_dropped_has_one_of_its_own(tmp_path, monkeypatch):
    place = tmp_path / f"{clone.TEMPORARY}0"
    flock = fcntl.flock

    def dropped_first(file, how):
        monkeypatch.setattr("fcntl.flock", flock)
        clone.drop(place)
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", dropped_first)
    with clone.begun(place):
        with pytest.raises(LocksPresent), clone.begun(place):
            pass
        (place / "mine").touch()

    assert not place.exists()


def test_quiet_says_nothing(local_hub, person, model, tmp_path):
    local_hub.store.import_folder(NAME, model)
    ended = person.run("clone", NAME, str(tmp_path / "mine"), "--quiet", "--no-health-check")

    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_the_hubs_own_hashes_are_kept(local_hub, person, model, tmp_path):
    local_hub.store.import_folder(NAME, model)
    person.run("clone", NAME, str(tmp_path / "mine"))
    kept = json.loads((tmp_path / "mine" / SENTINEL).read_bytes())["hub_files"]
    shard = "model-00001-of-00002.safetensors"

    assert kept[shard] == hashlib.sha256((model / shard).read_bytes()).hexdigest()
