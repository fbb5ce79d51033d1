"""pull: what it asks before it writes, what it writes, and that it writes nothing that the Hub did not mean."""

from __future__ import annotations

import fcntl
import hashlib
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import snapshot_download

from mlxk import fetch
from mlxk.hub import Hub
from qualification.hub.faults import Fault

NAME = "acme/tiny"
FIRST_SHARD, SECOND_SHARD = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def everything(folder) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def ranges_of(hub, file: str) -> list[str | None]:
    """The ranges in which a large file was asked for, in turn."""
    return [request.range for request in hub.requests() if request.path.startswith("/cdn/") and request.path.endswith(file)]


def test_a_pulled_model_is_byte_for_byte_what_was_published(local_hub, person, model, tell):
    commit = local_hub.store.import_folder(NAME, model)
    data = person.run("pull", NAME, "--json").data
    pulled = person.files(NAME)

    assert (data["download_status"], data["commit_hash"], data["health"]) == ("success", commit.id, "healthy")
    assert {name: pulled[name] for name in tell(model)} == tell(model)
    assert data["downloaded_bytes"] == data["total_bytes"] == sum(map(len, pulled.values()))
    assert sorted(path.name for path in person.repository(NAME).iterdir()) == ["blobs", "refs", "snapshots"]


def test_the_client_takes_what_was_pulled_for_its_own_download(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    person.run("pull", NAME)
    before = everything(person.repository(NAME))
    local_hub.forget()
    folder = snapshot_download(NAME, cache_dir=person.hub, endpoint=local_hub.url, token=False)
    asked = [request for request in local_hub.requests() if "/resolve" in request.path or "/cdn/" in request.path]

    assert asked == []
    assert folder == str(next((person.repository(NAME) / "snapshots").iterdir()))
    assert (person.repository(NAME) / "refs" / "main").read_text(encoding="utf-8") == Path(folder).name
    after = everything(person.repository(NAME))
    assert {path: after[path] for path in before if "/refs" not in path} == {  # which some clients write anew
        path: was for path, was in before.items() if "/refs" not in path
    }


def test_what_the_client_has_pulled_is_there_already_and_the_hub_is_not_asked(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    snapshot_download(NAME, cache_dir=person.hub, endpoint=local_hub.url, token=False)
    local_hub.forget()
    data = person.run("pull", NAME, "--json").data

    assert data["download_status"] == "already_exists"
    assert local_hub.requests() == []


def test_people_get_one_sentence(local_hub, person, model):
    commit = local_hub.store.import_folder(NAME, model)
    first, second = person.run("pull", NAME), person.run("pull", NAME)

    assert first.out == f"{NAME}@{commit.id[:7]} is complete: 800.8KB downloaded, 800.8KB in all.\n"
    assert second.out.startswith(f"{NAME} is there at {commit.id[:7]}, and whole.")
    assert first.err == second.err == ""


@pytest.mark.parametrize("by", ["branch", "tag", "hash", "prefix"])
def test_a_revision_is_what_is_fetched_and_what_is_pinned(local_hub, person, model, by):
    old = local_hub.store.import_folder(NAME, model)
    local_hub.store.set_ref(NAME, "branches", "old/one", old.id)
    local_hub.store.set_ref(NAME, "tags", "v1", old.id)
    (model / "config.json").write_text('{"model_type": "llama", "vocab_size": 9}', encoding="utf-8")
    new = local_hub.store.import_folder(NAME, model)
    revision = {"branch": "old/one", "tag": "v1", "hash": old.id, "prefix": old.id[:8]}[by]
    pinned = person.run("pull", f"{NAME}@{revision}", "--json").data
    again = person.run("pull", f"{NAME}@{revision}", "--json").data
    person.run("pull", NAME)
    shown = person.run("show", f"{NAME}@{revision}", "--config", "--json").data

    assert (pinned["commit_hash"], again["download_status"]) == (old.id, "already_exists")
    assert shown["config"]["vocab_size"] == 8
    assert json.loads(person.files(NAME)["config.json"])["vocab_size"] == 9
    assert sorted(path.name for path in (person.repository(NAME) / "snapshots").iterdir()) == sorted([old.id, new.id])
    refs = {path.name for path in (person.repository(NAME) / "refs").rglob("*") if path.is_file()}
    assert refs == {"main", *({"branch": ["one"], "tag": ["v1"]}.get(by, []))}


def test_a_newer_commit_brings_only_what_changed(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    person.run("pull", NAME)
    (model / "config.json").write_text('{"model_type": "llama", "vocab_size": 9}', encoding="utf-8")
    local_hub.store.import_folder(NAME, model)
    local_hub.forget()
    data = person.run("pull", NAME, "--force-resume", "--json").data

    assert data["downloaded_bytes"] == len((model / "config.json").read_bytes())
    assert [request.path for request in local_hub.requests() if request.path.startswith("/cdn/")] == []
    assert json.loads(person.files(NAME)["config.json"])["vocab_size"] == 9


REFUSALS = [
    # state, token, spec, exit code, error type, what the sentence says
    ({"gated": "auto"}, None, NAME, 4, "access_denied", "accept its terms"),
    ({"gated": "manual"}, "hf_local_stranger", NAME, 4, "access_denied", "accept its terms"),
    ({"private": True}, None, NAME, 4, "access_denied", "is private"),
    ({"private": True}, "hf_local_stranger", NAME, 3, "model_not_found", "no model"),
    ({"disabled": True}, "hf_local_read", NAME, 4, "access_denied", "disabled"),
    ({}, "hf_unknown", NAME, 4, "access_denied", "token"),
    ({}, None, "acme/none", 4, "access_denied", "not there"),
    ({}, "hf_local_read", "acme/none", 3, "model_not_found", "no model"),
    ({}, None, f"{NAME}@none", 3, "hash_not_found", "no revision"),
    ({}, None, f"{NAME}@abcdef", 3, "hash_not_found", "no revision"),
    ({}, None, "../tiny", 2, "ValidationError", "mlxk clone"),
    ({}, None, "acme//tiny", 2, "ValidationError", "cannot be a model"),
    ({}, None, "acme/tiny@", 2, "ValidationError", "cannot be a revision"),
    ({}, None, "acme/tiny@../../x", 2, "ValidationError", "cannot be a revision"),
    ({}, None, f"acme/{'x' * 97}", 2, "ValidationError", "allows 96"),
]


@pytest.mark.parametrize(("state", "token", "spec", "code", "kind", "says"), REFUSALS)
def test_a_refusal_comes_before_anything_is_written(local_hub, person, model, monkeypatch, state, token, spec, code, kind, says):
    local_hub.store.import_folder(NAME, model)
    local_hub.store.change(NAME, **state)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for_programs = person.run("pull", spec, "--json")
    for_people = person.run("pull", spec)

    assert (for_programs.code, for_programs.error["type"]) == (code, kind)
    assert (for_people.code, for_people.out) == (code, "")
    assert says in for_people.err
    assert not person.home.exists()


def test_a_token_is_taken_from_either_variable_and_from_the_file(local_hub, person, model, monkeypatch):
    local_hub.store.import_folder(NAME, model)
    local_hub.store.change(NAME, gated="manual")
    told = []
    for place in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "file"):
        if place == "file":
            person.home.mkdir(exist_ok=True)
            (person.home / "token").write_text("hf_local_read\n", encoding="utf-8")
        else:
            monkeypatch.setenv(place, "hf_local_read")
        told.append(person.run("pull", NAME, "--dry-run", "--json").code)
        monkeypatch.delenv(place, raising=False)

    assert told == [0, 0, 0]
    assert not any(request.authorized for request in local_hub.requests() if request.path.startswith("/cdn/"))


def test_a_dry_run_tells_the_sizes_and_writes_nothing(local_hub, person, model, tell):
    local_hub.store.import_folder(NAME, model)
    data = person.run("pull", NAME, "--dry-run", "--json").data
    for_people = person.run("pull", NAME, "--dry-run").out
    sizes = {file["path"]: file["size_bytes"] for file in data["files"]}

    assert not person.home.exists()
    assert {name: sizes[name] for name in tell(model)} == {name: len(raw) for name, raw in tell(model).items()}
    assert (data["download_status"], data["missing_bytes"]) == ("dry_run", sum(sizes.values()))
    assert f"400.1KB  to come  {FIRST_SHARD}" in for_people
    person.run("pull", NAME)
    assert all(file["cached"] for file in person.run("pull", NAME, "--dry-run", "--json").data["files"])


def test_a_model_that_is_there_in_part_is_completed_when_told_to(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    person.run("pull", NAME)
    snapshot = next((person.repository(NAME) / "snapshots").iterdir())
    (snapshot / SECOND_SHARD).resolve().unlink()
    asked = person.run("pull", NAME, "--json")
    local_hub.forget()
    done = person.run("pull", NAME, "--json", "--force-resume").data

    assert (asked.code, asked.error["type"]) == (4, "requires_confirmation")
    assert done["downloaded_bytes"] == (model / SECOND_SHARD).stat().st_size
    assert len([request for request in local_hub.requests() if "/cdn/" in request.path]) == 1
    assert done["health"] == "healthy"


def test_resuming_finds_bytes_that_have_changed(local_hub, person, model, tell):
    local_hub.store.import_folder(NAME, model)
    person.run("pull", NAME)
    blob = (next((person.repository(NAME) / "snapshots").iterdir()) / FIRST_SHARD).resolve()
    raw = bytearray(blob.read_bytes())
    raw[-1] ^= 1
    blob.write_bytes(raw)
    person.run("pull", NAME, "--force-resume")

    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)


def test_content_that_is_not_what_the_hub_says_is_never_shown(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("corrupt", f"*{SECOND_SHARD}", at_byte=399_000))
    ended = person.run("pull", NAME, "--json")
    second = hashlib.sha256((model / SECOND_SHARD).read_bytes()).hexdigest()

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert SECOND_SHARD in ended.error["message"]
    assert not (person.repository(NAME) / "snapshots").exists()
    assert not list((person.repository(NAME) / "blobs").glob(f"{second}*"))


OUTSIDE = [
    "../outside.txt",
    "/etc/outside",
    "deep/../../x",
    "a//b",
    "back\\slash",
    "half\ud83d",
    ".git/config",
    "deep/.GIT/hooks/x",
]


@pytest.mark.parametrize("path", [*OUTSIDE, "deep", "config.json/x"])
def test_a_file_that_would_lie_outside_is_refused_before_anything_is_written(local_hub, person, model, path):
    base = local_hub.store.import_folder(NAME, model)
    local_hub.store.commit(NAME, "main", "evil", {path: local_hub.store.put(path, b"evil")}, {}, base.id)
    ended = person.run("pull", NAME, "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert not person.home.exists()


def test_what_was_left_is_not_kept_where_what_comes_anew_is_wrong_too(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("corrupt", f"*{SECOND_SHARD}", at_byte=399_000))
    second = hashlib.sha256((model / SECOND_SHARD).read_bytes()).hexdigest()
    blobs = person.repository(NAME) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{second}.incomplete").write_bytes(b"x" * 1000)
    ended = person.run("pull", NAME, "--force-resume", "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert "Nothing of it was kept" in ended.error["message"]
    assert not list(blobs.glob(f"{second}*"))


def test_a_hub_that_wants_to_be_left_alone_for_long_is_not_waited_for(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("status", f"*{FIRST_SHARD}", status=429, seconds=31))
    ended = person.run("pull", NAME, "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert "31 seconds" in ended.error["message"]


@pytest.mark.parametrize("error", [ZeroDivisionError, ValueError, TypeError])
def test_whatever_goes_wrong_in_a_thread_no_snapshot_is_shown(local_hub, person, model, error):
    def fails(count: int) -> None:
        raise error

    local_hub.store.import_folder(NAME, model)
    source = Hub(local_hub.url, None)
    remote = source.model(NAME)
    planned = fetch.plan(person.hub, NAME, remote, source.files(NAME, remote.commit), "main")
    with pytest.raises(error):
        fetch.carry_out(planned, source, fails)

    assert not (person.repository(NAME) / "snapshots").exists()


FAULTS = [
    # what goes wrong, and whether the model comes all the same
    ("cut", Fault("cut", f"*{FIRST_SHARD}", times=2, at_byte=100_000), True),
    ("reset", Fault("reset", f"*{FIRST_SHARD}", times=2, at_byte=200_000), True),
    ("cut-at-nothing", Fault("cut", f"*{FIRST_SHARD}", times=2, at_byte=0), True),
    ("busy", Fault("status", f"*{FIRST_SHARD}", times=1, status=503), True),
    ("too-many", Fault("status", f"*{FIRST_SHARD}", times=1, status=429, seconds=1), True),
    ("expired-address", Fault("status", f"/cdn/*{FIRST_SHARD}", times=1, status=500), True),
    ("ranges-ignored", Fault("ignore_range", f"/cdn/*{FIRST_SHARD}"), True),
    ("info-busy", Fault("status", f"/api/models/{NAME}", times=1, status=503), True),
    ("info-down", Fault("status", f"/api/models/{NAME}", status=503), False),
    ("info-strange", Fault("status", f"/api/models/{NAME}", status=418), False),
    ("captive-portal", Fault("html", "/api/*"), False),
]


@pytest.mark.parametrize(("fault", "comes"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_what_the_network_does_is_survived_or_told(local_hub, person, model, tell, fault, comes):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(fault)
    ended = person.run("pull", NAME, "--json")

    if comes:
        assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model), ended.out
    else:
        assert (ended.code, ended.error["type"]) == (1, "download_failed")
        assert not person.home.exists()


def test_after_a_cut_only_what_is_missing_is_asked_for(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("cut", f"/cdn/*{FIRST_SHARD}", times=2, at_byte=150_000))
    person.run("pull", NAME)

    assert ranges_of(local_hub, FIRST_SHARD) == [None, "bytes=150000-", "bytes=300000-"]


def test_a_hub_that_was_busy_at_first_is_a_warning(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("status", f"/api/models/{NAME}", times=1, status=503))
    data = person.run("pull", NAME, "--json").data

    assert (data["download_status"], "503" in data["preflight_warning"]) == ("success", True)


ENTRY = {"type": "file", "path": "config.json", "size": 2, "oid": "0" * 40}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (f"/api/models/{NAME}", {"id": NAME, "sha": 5}),
        (f"/api/models/{NAME}", {"id": NAME, "sha": "../../../outside"}),
        (f"/api/models/{NAME}", ["no", "model"]),
        ("*/tree/*", {"no": "list"}),
        ("*/tree/*", [7]),
        ("*/tree/*", [{**ENTRY, "size": "2"}]),
        ("*/tree/*", [{**ENTRY, "size": -2}]),
        ("*/tree/*", [{**ENTRY, "path": ["a"]}]),
        ("*/tree/*", [{**ENTRY, "oid": "../../x"}]),
        ("*/tree/*", [{**ENTRY, "lfs": {"oid": None}}]),
        ("*/tree/*", [ENTRY, {**ENTRY, "oid": "1" * 40}]),
    ],
)
def test_an_answer_that_is_no_hubs_is_refused_before_anything_is_written(local_hub, person, model, path, answer):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("json", path, body=json.dumps(answer)))
    ended = person.run("pull", NAME, "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert not person.home.exists()


def test_pages_that_never_end_are_not_read_for_ever(local_hub, person, model):
    commit = local_hub.store.import_folder(NAME, model)
    again = f"{local_hub.url}/api/models/{NAME}/tree/{commit.id}?cursor=1"
    local_hub.fail(Fault("json", "*/tree/*", body=json.dumps([ENTRY]), link=f'<{again}>; rel="next"'))
    ended = person.run("pull", NAME, "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert "its list of files has no end" in ended.error["message"]


def test_a_page_on_another_host_is_asked_for_without_the_token(local_hub, person, model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_local_read")
    commit = local_hub.store.import_folder(NAME, model)
    elsewhere = f"http://localhost:{local_hub.port}/api/models/{NAME}/tree/{commit.id}?recursive=true"
    local_hub.fail(Fault("json", "*/tree/*", times=1, body="[]", link=f'<{elsewhere}>; rel="next"'))
    person.run("pull", NAME)

    assert [request.authorized for request in local_hub.requests() if "/tree/" in request.path] == [True, False]


def test_a_model_that_was_renamed_is_fetched_under_the_name_that_was_asked_for(local_hub, person, model, tell):
    local_hub.store.import_folder("acme/old", model)
    local_hub.store.rename("acme/old", NAME)
    data = person.run("pull", "acme/old", "--json").data
    pulled = person.files("acme/old")

    assert data["expanded_name"] == NAME
    assert {name: pulled[name] for name in tell(model)} == tell(model)


def test_a_gate_is_seen_through_an_old_name_too(local_hub, person, model):
    local_hub.store.import_folder("acme/old", model)
    local_hub.store.rename("acme/old", NAME)
    local_hub.store.change(NAME, gated="manual")
    ended = person.run("pull", "acme/old", "--json")

    assert (ended.code, ended.error["type"]) == (4, "access_denied")
    assert not person.home.exists()


def test_a_file_of_more_than_one_answer_comes_in_several(local_hub, person, model, tell, monkeypatch):
    monkeypatch.setattr("mlxk.hub._ANSWER_MAX_BYTES", 150_000)
    local_hub.store.import_folder(NAME, model)
    person.run("pull", NAME)

    assert ranges_of(local_hub, FIRST_SHARD) == ["bytes=0-149999", "bytes=150000-299999", "bytes=300000-"]
    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("HF_ENDPOINT", "http://[", "download_failed"), ("HF_ENDPOINT", "nonsense", "download_failed")]
    + [("HF_TOKEN", value, "auth_error") for value in ("hf_a\nb", "hf_ü", "hf a")],
)
def test_an_environment_that_cannot_be_meant_is_a_sentence(local_hub, person, monkeypatch, name, value, kind):
    monkeypatch.setenv(name, value)
    ended = person.run("pull", NAME, "--json")

    assert ended.error["type"] == kind
    assert name in ended.error["message"] or value in ended.error["message"]


def test_without_the_client_it_says_what_is_missing(person):
    pulling = person.start("pull", NAME, "--json", first="import sys; sys.modules['huggingface_hub'] = None")
    out, err = pulling.communicate(timeout=30)

    assert (pulling.returncode, json.loads(out)["error"]["type"], err) == (1, "dependency_missing", "")


@pytest.mark.parametrize("path", [f"/api/models/{NAME}", "*/tree/*", f"*{FIRST_SHARD}"], ids=["info", "tree", "file"])
def test_a_hub_that_says_nothing_is_not_waited_for(local_hub, person, model, monkeypatch, path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("stall", path, times=1))
    began = time.monotonic()
    data = person.run("pull", NAME, "--json").data

    assert data["download_status"] == "success"
    assert time.monotonic() - began < 10


def test_two_at_once_fetch_everything_once(local_hub, person, model, tell):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("slow", "/cdn/*", bytes_per_s=800_000))
    both = [person.start("pull", NAME, "--json", "--force-resume") for _ in range(2)]
    for each in both:
        each.communicate(timeout=60)
    fetched = [request.path for request in local_hub.requests() if request.path.startswith("/cdn/")]

    assert [each.returncode for each in both] == [0, 0]
    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)
    assert len(fetched) == len(set(fetched)) == 2


def test_what_an_unfinished_download_of_the_client_has_left_is_gone_on_with(local_hub, person, model, tell):
    local_hub.store.import_folder(NAME, model)
    raw = (model / FIRST_SHARD).read_bytes()
    blobs = person.repository(NAME) / "blobs"
    blobs.mkdir(parents=True)
    name = hashlib.sha256(raw).hexdigest()
    (blobs / f"{name}.0123abcd.incomplete").write_bytes(raw[:300_000])
    (blobs / f"{name}.4567cdef.incomplete").write_bytes(raw[:100])
    (blobs / f"{'0' * 64}.89abcdef.incomplete").write_bytes(b"of a file that is no more")
    person.run("pull", NAME, "--force-resume")

    assert ranges_of(local_hub, FIRST_SHARD) == ["bytes=300000-"]
    assert list(blobs.glob("*.incomplete")) == []
    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)


def test_what_was_left_and_is_wrong_is_fetched_anew(local_hub, person, model, tell):
    local_hub.store.import_folder(NAME, model)
    raw = (model / FIRST_SHARD).read_bytes()
    blobs = person.repository(NAME) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(raw).hexdigest()}.incomplete").write_bytes(b"x" * 1000)
    data = person.run("pull", NAME, "--force-resume", "--json").data

    assert data["download_status"] == "success"
    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)


def test_a_pull_waits_for_an_rm_and_then_fetches_what_it_took(local_hub, person, model, tell):
    local_hub.store.import_folder(NAME, model)
    person.run("pull", NAME)
    lock = person.hub / ".locks" / "models--acme--tiny" / "model.lock"
    local_hub.forget()
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        pulling = person.start("pull", NAME, "--force-resume", "--json")
        deadline = time.monotonic() + 20
        while not any("/tree/" in request.path for request in local_hub.requests()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for path in (person.repository(NAME) / "blobs").iterdir():
            path.unlink()
        (person.repository(NAME) / "blobs").rmdir()
        there = (person.repository(NAME) / "blobs").exists()
    out, _ = pulling.communicate(timeout=20)

    assert not there
    assert (pulling.returncode, json.loads(out)["data"]["health"]) == (0, "healthy")
    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)


def test_rm_is_refused_while_a_pull_is_under_way(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("stall", "/cdn/*", at_byte=1000))
    pulling = person.start("pull", NAME)
    deadline = time.monotonic() + 20
    while not list(person.home.rglob("*.incomplete")) and time.monotonic() < deadline:
        time.sleep(0.02)
    refused = person.run("rm", NAME, "--force", "--json")
    pulling.kill()
    pulling.communicate()
    gone = person.run("rm", NAME, "--force", "--json")

    assert refused.error["type"] == "locks_present"
    assert gone.data["action"] == "deleted"
    assert not person.repository(NAME).exists()


def test_a_model_that_cannot_fit_on_the_disk_is_not_begun(local_hub, person, model, monkeypatch):
    local_hub.store.import_folder(NAME, model)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=64 << 20))
    ended = person.run("pull", NAME, "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert "800," in ended.error["message"]
    assert not person.home.exists()


def test_offline_asks_nobody(local_hub, person, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ended = person.run("pull", NAME, "--json")

    assert (ended.error["type"], local_hub.requests()) == ("download_failed", [])


def test_a_client_that_was_told_to_stay_offline_is_a_sentence(local_hub, person, model, monkeypatch):
    local_hub.store.import_folder(NAME, model)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # as TRANSFORMERS_OFFLINE sets it too
    ended = person.run("pull", NAME, "--json")

    assert (ended.code, ended.error["type"]) == (1, "download_failed")
    assert "offline" in ended.error["message"]


def test_nobody_at_the_other_end_is_a_sentence(person, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ended = person.run("pull", NAME)

    assert ended.code == 1
    assert ended.err.startswith("mlxk pull: The connection to http://127.0.0.1:9 failed")


def test_no_thread_is_left_behind(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    before = set(threading.enumerate())
    person.run("pull", NAME)

    assert {thread for thread in threading.enumerate() if thread.name.endswith("_work)")} - before == set()
