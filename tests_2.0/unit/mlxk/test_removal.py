"""rm deletes what was named and nothing else, and never under a running download."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlxk import cache as cache_layout
from mlxk import removal
from mlxk.errors import CacheNotFound, LocksPresent, ModelNotFound, RevisionNotFound

FIRST, SECOND = "a" * 40, "b" * 40


class Cache:
    """A hub as huggingface_hub lays it out: blobs, links to them, refs, locks."""

    def __init__(self, hub: Path) -> None:
        self.hub = hub

    def add(self, name: str, commit: str, files: dict[str, str], *refs: str) -> Path:
        folder = self.hub / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / commit
        for place in (folder / "blobs", folder / "refs", snapshot):
            place.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / "blobs" / content).write_text(content * 10, encoding="utf-8")
            (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            up = "../" * (2 + file.count("/"))
            (snapshot / file).symlink_to(f"{up}blobs/{content}")
        for ref in refs:
            (folder / "refs" / ref).write_text(commit, encoding="utf-8")
        return folder

    def lock(self, name: str) -> Path:
        path = self.hub / ".locks" / f"models--{name.replace('/', '--')}" / "blob.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    def files(self) -> set[str]:
        return {path.relative_to(self.hub).as_posix() for path in self.hub.rglob("*") if not path.is_dir() or path.is_symlink()}


@pytest.fixture
def cache(tmp_path) -> Cache:
    cache = Cache(tmp_path / "hub")
    cache.add("org/m", FIRST, {"config.json": "c1", "model.safetensors": "shared"}, "main", "v1")
    cache.add("org/m", SECOND, {"config.json": "c2", "model.safetensors": "shared", "deep/x": "c3"}, "next")
    cache.add("org/m-big", FIRST, {"config.json": "c1"}, "main")
    return cache


def remove(cache: Cache, spec: str) -> removal.Removal:
    return removal.carry_out(removal.plan(cache.hub, spec))


def test_a_model_goes_whole_and_another_with_a_like_name_stays(cache):
    remove(cache, "org/m")

    assert cache.files() == {f"models--org--m-big/{rest}" for rest in ("blobs/c1", "refs/main", f"snapshots/{FIRST}/config.json")}


@pytest.mark.parametrize("revision", ["next", SECOND, SECOND[:4]])
def test_a_snapshot_goes_with_its_own_blobs_and_refs_and_the_shared_blob_stays(cache, revision):
    gone = {"blobs/c2", "blobs/c3", "refs/next"} | {
        f"snapshots/{SECOND}/{name}" for name in ("config.json", "model.safetensors", "deep/x")
    }
    before = cache.files()
    remove(cache, f"org/m@{revision}")

    assert before - cache.files() == {f"models--org--m/{rest}" for rest in gone}


def test_what_is_freed_is_what_the_disk_gets_back(cache):
    assert removal.plan(cache.hub, f"org/m@{SECOND}").freed_bytes == len("c2" * 10) + len("c3" * 10)
    assert removal.plan(cache.hub, "org/m").freed_bytes == sum(len(text * 10) for text in ("c1", "c2", "c3", "shared")) + 3 * 40


def test_the_last_snapshot_takes_the_model_with_it(cache):
    remove(cache, f"org/m-big@{FIRST[:6]}")

    assert not (cache.hub / "models--org--m-big").exists()


def test_blobs_that_no_snapshot_used_before_were_not_named_and_stay(cache):
    (cache.hub / "models--org--m/blobs/half.incomplete").write_text("x", encoding="utf-8")
    remove(cache, "org/m@next")

    assert (cache.hub / "models--org--m/blobs/half.incomplete").exists()


def test_what_a_link_leads_to_outside_the_model_is_never_deleted(cache, tmp_path):
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    (cache.hub / "models--org--m/snapshots" / SECOND / "out").symlink_to(tmp_path / "precious")
    remove(cache, "org/m@next")
    (cache.hub / "models--org--m/snapshots" / FIRST / "out").symlink_to(tmp_path)
    remove(cache, "org/m")

    assert (tmp_path / "precious").read_text(encoding="utf-8") == "mine"


def test_of_a_model_that_is_a_link_to_another_disk_only_the_link_goes(cache, tmp_path):
    (cache.hub / "models--org--m").rename(tmp_path / "elsewhere")
    (cache.hub / "models--org--m").symlink_to(tmp_path / "elsewhere")
    remove(cache, "org/m")

    assert not (cache.hub / "models--org--m").is_symlink()
    assert (tmp_path / "elsewhere/blobs/shared").exists()


@pytest.mark.parametrize("spec", ["m", "org/M", "org/", "", "org", "../hub/models--org--m", "org/m-bi"])
def test_a_name_that_is_not_in_full_deletes_nothing(cache, spec):
    with pytest.raises(ModelNotFound):
        removal.plan(cache.hub, spec)


def test_the_error_names_what_is_near(cache):
    with pytest.raises(ModelNotFound) as caught:
        removal.plan(cache.hub, "m-b")

    assert caught.value.details["matches"] == ["org/m-big"]


@pytest.mark.parametrize("revision", ["none", "../main", "aaa"])
def test_a_revision_that_is_not_there_deletes_nothing(cache, revision):
    with pytest.raises(RevisionNotFound):
        removal.plan(cache.hub, f"org/m@{revision}")


def test_without_a_cache_the_error_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(CacheNotFound, match="nowhere"):
        removal.plan(tmp_path / "nowhere", "org/m")


@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_a_lock_that_a_download_holds_is_respected(cache, how):
    lock = cache.lock("org/m")
    before = cache.files()
    with lock.open("w") as held:
        fcntl.flock(held, how)
        with pytest.raises(LocksPresent) as caught:
            remove(cache, "org/m")

    assert cache.files() == before
    assert caught.value.details == {"lock_files": [str(lock)]}


def test_while_a_model_is_deleted_no_pull_of_it_can_begin(cache, monkeypatch):
    delete, refused = removal._delete, []

    def look(planned):
        with Path(cache_layout.model_lock(cache.hub, "org/m")).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                refused.append(planned.name)
        delete(planned)

    monkeypatch.setattr(removal, "_delete", look)
    gone = remove(cache, "org/m")

    assert (refused, gone.locks_cleaned) == (["org/m"], 0)
    assert not (cache.hub / ".locks" / "models--org--m").exists()


def test_a_lock_that_another_removal_deleted_is_made_and_held_again(cache, monkeypatch):
    lock = Path(cache_layout.model_lock(cache.hub, "org/m"))
    plain_open, opened, refused = os.open, [], []

    def opening(path, flags, *how, **options):
        file = plain_open(path, flags, *how, **options)
        if path == lock and flags & os.O_RDWR and not opened:
            opened.append(path)
            lock.unlink()
            lock.parent.rmdir()
        return file

    delete = removal._delete

    def look(planned):
        with lock.open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        refused.append(planned.name)
        delete(planned)

    monkeypatch.setattr("os.open", opening)
    monkeypatch.setattr(removal, "_delete", look)
    remove(cache, "org/m")

    assert (opened, refused) == ([lock], ["org/m"])


def test_a_pull_that_has_no_file_yet_is_respected(cache):
    lock = Path(cache_layout.model_lock(cache.hub, "org/m"))
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(LocksPresent):
            remove(cache, "org/m")


def test_a_lock_of_another_model_is_no_matter(cache):
    with cache.lock("org/m-big").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove(cache, "org/m")

    assert not (cache.hub / "models--org--m").exists()


def test_locks_that_nobody_holds_go_with_the_model(cache):
    lock = cache.lock("org/m")

    assert remove(cache, "org/m").locks_cleaned == 1
    assert not lock.parent.exists()


def test_a_snapshot_that_came_after_the_question_keeps_the_blobs_that_it_uses(cache):
    planned = removal.plan(cache.hub, "org/m@next")
    cache.add("org/m", "c" * 40, {"config.json": "c2"}, "later")
    gone = removal.carry_out(planned)

    assert (cache.hub / "models--org--m/snapshots" / ("c" * 40) / "config.json").exists()
    assert (gone.commit, gone.freed_bytes) == (SECOND, len("c3" * 10))


def test_of_the_last_snapshot_another_that_came_after_the_question_is_left(cache):
    planned = removal.plan(cache.hub, "org/m-big@main")
    cache.add("org/m-big", SECOND, {"config.json": "c2"}, "main")
    removal.carry_out(planned)

    assert [path.name for path in (cache.hub / "models--org--m-big/snapshots").iterdir()] == [SECOND]


def test_a_download_that_began_after_the_question_is_respected(cache):
    planned = removal.plan(cache.hub, "org/m")
    lock = cache.lock("org/m")
    before = cache.files()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LocksPresent):
            removal.carry_out(planned)

    assert cache.files() == before


def test_a_removal_that_was_cut_short_can_be_repeated(cache):
    planned = removal.plan(cache.hub, "org/m@next")
    planned.blobs[0].unlink()  # as if it had been killed after the first blob
    remove(cache, "org/m@next")

    assert not {"models--org--m/blobs/c2", "models--org--m/blobs/c3", "models--org--m/refs/next"} & cache.files()


def mlxk(cache: Cache, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_CACHE": str(cache.hub)}
    command = [sys.executable, "-m", "mlxk", "rm", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)


def test_a_script_must_say_force(cache):
    refused = mlxk(cache, "org/m", input="y\n")
    kept = (cache.hub / "models--org--m").exists()
    forced = mlxk(cache, "org/m", "--force")

    assert (refused.returncode, kept) == (4, True)
    assert refused.stderr == "mlxk rm: Nobody can be asked whether to delete org/m (240B). Add --force to delete it.\n"
    assert (forced.returncode, forced.stdout) == (0, "Deleted org/m (240B).\n")
    assert not (cache.hub / "models--org--m").exists()


def test_json_without_force_says_what_it_would_take_and_deletes_nothing(cache):
    done = mlxk(cache, "org/m@v1", "--json")
    error = json.loads(done.stdout)["error"]

    assert (done.returncode, error["type"]) == (4, "requires_confirmation")
    assert f"org/m@{FIRST[:7]}" in error["message"] and "--force" in error["message"]
    assert (cache.hub / "models--org--m/snapshots" / FIRST).is_dir()


@pytest.mark.parametrize(("answer", "kept"), [("y", False), ("YES", False), ("n", True), ("", True), ("yea", True)])
def test_a_person_is_asked(cache, answer, kept):
    ours, theirs = os.openpty()
    environment = {**os.environ, "HF_HUB_CACHE": str(cache.hub)}
    command = [sys.executable, "-m", "mlxk", "rm", "org/m"]
    asking = subprocess.Popen(command, env=environment, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True)
    os.close(theirs)
    question = os.read(ours, 1000).decode("utf-8")
    os.write(ours, f"{answer}\n".encode())
    said, _ = asking.communicate(timeout=60)
    os.close(ours)

    assert question == "Delete org/m (240B) from the cache? [y/N] "
    assert said == ("Nothing was deleted.\n" if kept else "Deleted org/m (240B).\n")
    assert ((cache.hub / "models--org--m").exists(), asking.returncode) == (kept, 0)


def test_a_folder_of_ones_own_is_not_for_rm(cache, tmp_path):
    done = mlxk(cache, str(tmp_path), "--force", "--json")

    assert (done.returncode, json.loads(done.stdout)["error"]["type"]) == (4, "workspace_model")


def test_a_file_that_a_download_renames_meanwhile_is_not_counted(cache, monkeypatch):
    partial = cache.hub / "models--org--m/blobs/whole.incomplete"
    before = removal.plan(cache.hub, "org/m").freed_bytes
    partial.write_bytes(bytes(1000))
    files = removal._files

    def meanwhile(folder):
        for file in [*files(folder)]:
            if file == partial:
                file.rename(file.with_name("whole"))
            yield file

    monkeypatch.setattr(removal, "_files", meanwhile)

    assert removal.plan(cache.hub, "org/m").freed_bytes == before
