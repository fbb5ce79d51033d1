"""The local hub speaks the Hub's protocol: huggingface_hub itself is the judge, and plain HTTP where it hides what came."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from qualification import cli
from qualification.hub.api import Limits
from qualification.hub.faults import Fault
from qualification.hub.server import running

WEIGHTS = random.Random(0).randbytes(300_000)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "deep" / "a name.txt").write_text("grün", encoding="utf-8")
    return folder


def files_of(path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def get(url: str, token: str | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, redirects followed."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


ROUND_TRIP = """
import sys
from huggingface_hub import HfApi, snapshot_download
api = HfApi()
api.create_repo("acme/tiny", private=True)
first = api.upload_folder(repo_id="acme/tiny", folder_path=sys.argv[1])
again = api.upload_folder(repo_id="acme/tiny", folder_path=sys.argv[1])
assert again.oid == first.oid, "the second upload made a commit"
snapshot_download("acme/tiny", local_dir=sys.argv[2])
"""


@pytest.mark.parametrize("disabled", ["0", "1"], ids=["xet", "lfs"])
def test_what_the_client_uploads_it_downloads_again(local_hub, folder, tmp_path, disabled):
    """In a process of its own: the client's Xet library writes to the HF_HOME that it was imported with."""
    ours = {
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": local_hub.url,
        "HF_TOKEN": "hf_local_write",
        "HF_HUB_DISABLE_XET": disabled,
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", ROUND_TRIP, str(folder), str(tmp_path / "got")]
    done = subprocess.run(command, env={**others, **ours}, capture_output=True, text=True, timeout=60, check=False)
    got = files_of(tmp_path / "got")
    by_xet = [request.path for request in local_hub.requests() if request.path.startswith("/cas/")]

    assert done.returncode == 0, done.stderr
    assert {name: got[name] for name in files_of(folder)} == files_of(folder)
    assert bool(by_xet) is (disabled == "0")


def test_what_it_holds_outlives_it(folder, tmp_path):
    with running(tmp_path / "root") as hub:
        commit = hub.store.import_folder("acme/tiny", folder)
        hub.store.set_ref("acme/tiny", "tags", "v1", commit.id)
    with running(tmp_path / "root") as hub:
        info = HfApi(endpoint=hub.url, token=False).model_info("acme/tiny", revision="v1", files_metadata=True)

    assert info.sha == commit.id
    weights = next(sibling for sibling in info.siblings if sibling.rfilename == "model.safetensors")
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_regular_file_is_named_as_git_names_it(local_hub, folder, tmp_path):
    local_hub.store.import_folder("acme/tiny", folder)
    path = hf_hub_download("acme/tiny", "config.json", cache_dir=tmp_path / "cache", endpoint=local_hub.url, token=False)
    named = subprocess.run(
        ["git", "hash-object", folder / "config.json"], capture_output=True, text=True, check=True
    ).stdout.strip()

    assert Path(path).resolve().name == named


def test_a_tree_comes_in_pages(folder, tmp_path):
    with running(tmp_path / "root", Limits(page_entries=2)) as hub:
        hub.store.import_folder("acme/tiny", folder)
        found = list(HfApi(endpoint=hub.url, token=False).list_repo_tree("acme/tiny", recursive=True))

        assert [entry.path for entry in found] == [".gitattributes", "config.json", "deep/a name.txt", "model.safetensors"]
        assert len(hub.requests()) == 2


def test_branches_begin_where_they_are_told_and_go_their_own_way(local_hub, folder, lead, monkeypatch):
    api = HfApi(endpoint=local_hub.url, token="hf_local_write")
    local_hub.store.import_folder("acme/tiny", folder)
    lead(local_hub, monkeypatch)
    api.create_branch("acme/tiny", branch="dev/one")
    operation = [CommitOperationAdd("new.txt", b"new")]
    made = api.create_commit("acme/tiny", operation, commit_message="one more", revision="dev/one")
    titles = [commit.title for commit in api.list_repo_commits("acme/tiny", revision=made.oid)]

    assert "new.txt" in api.list_repo_files("acme/tiny", revision="dev/one")
    assert "new.txt" not in api.list_repo_files("acme/tiny")
    assert titles == ["one more", "import", "initial commit"]


def test_a_commit_on_a_head_that_has_moved_is_refused(local_hub, folder, lead, monkeypatch):
    lead(local_hub, monkeypatch)
    api = HfApi(endpoint=local_hub.url, token="hf_local_write")
    base = local_hub.store.import_folder("acme/tiny", folder)
    operation = [CommitOperationAdd("new.txt", b"new")]
    api.create_commit("acme/tiny", operation, commit_message="mine", parent_commit=base.id)

    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit("acme/tiny", [CommitOperationAdd("b", b"b")], commit_message="late", parent_commit=base.id)
    assert caught.value.response.status_code == 412


def test_what_is_not_there_has_the_hubs_own_errors(local_hub, folder):
    api = HfApi(endpoint=local_hub.url, token="hf_local_read")
    local_hub.store.import_folder("acme/tiny", folder)

    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/none")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("acme/tiny", revision="none")
    with pytest.raises(HfHubHTTPError, match="Forbidden"):
        api.create_repo("acme/new")


@pytest.mark.parametrize(
    ("state", "token", "info", "file", "code"),
    [
        ({}, None, 200, 200, None),
        ({}, "hf_unknown", 401, 401, None),
        ({"private": True}, None, 401, 401, None),
        ({"private": True}, "hf_local_stranger", 404, 404, "RepoNotFound"),
        ({"private": True}, "hf_local_read", 200, 200, None),
        ({"gated": "auto"}, None, 200, 401, "GatedRepo"),
        ({"gated": "manual"}, "hf_local_stranger", 200, 403, "GatedRepo"),
        ({"gated": "manual"}, "hf_local_read", 200, 200, None),
        ({"disabled": True}, "hf_local_read", 200, 403, None),
    ],
)
def test_who_sees_what(local_hub, folder, state, token, info, file, code):
    local_hub.store.import_folder("acme/tiny", folder)
    local_hub.store.change("acme/tiny", **state)
    asked = get(f"{local_hub.url}/api/models/acme/tiny", token)
    fetched = get(f"{local_hub.url}/acme/tiny/resolve/main/config.json", token)

    assert (asked[0], fetched[0], fetched[1].get("X-Error-Code")) == (info, file, code)


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-9", 206, WEIGHTS[:10]),
        ("bytes=299990-", 206, WEIGHTS[-10:]),
        ("bytes=-5", 206, WEIGHTS[-5:]),
        ("bytes=299999-400000", 206, WEIGHTS[-1:]),
        ("bytes=300000-", 416, b""),
    ],
)
def test_ranges_are_those_of_the_standard(local_hub, folder, asked, status, expected):
    local_hub.store.import_folder("acme/tiny", folder)
    got = get(f"{local_hub.url}/acme/tiny/resolve/main/model.safetensors", Range=asked)

    assert (got[0], got[2]) == (status, expected)


def test_a_model_that_was_renamed_is_found_under_its_old_name(local_hub, folder, tmp_path):
    local_hub.store.import_folder("acme/old", folder)
    local_hub.store.rename("acme/old", "acme/new")
    info = HfApi(endpoint=local_hub.url, token=False).model_info("acme/old")
    path = hf_hub_download("acme/old", "config.json", cache_dir=tmp_path / "cache", endpoint=local_hub.url, token=False)

    assert info.id == "acme/new"
    assert Path(path).read_bytes() == (folder / "config.json").read_bytes()


def test_large_files_come_from_another_host_that_wants_no_token(local_hub, folder):
    local_hub.store.import_folder("acme/tiny", folder)
    get(f"{local_hub.url}/acme/tiny/resolve/main/model.safetensors")
    last = local_hub.requests()[-1]

    assert last.path.startswith("/cdn/")
    assert get(f"{local_hub.url}{last.path}")[0] == 403


def test_content_that_is_not_what_it_is_called_is_not_taken(local_hub):
    name = hashlib.sha256(b"something").hexdigest()
    request = urllib.request.Request(f"{local_hub.url}/lfs/{name}", data=b"something else", method="PUT")

    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=10)
    assert not local_hub.store.object(name).exists()
    assert list((local_hub.store.root / "objects").iterdir()) == []


def read_until_it_ends(url: str) -> tuple[bytes, str]:
    """What came, and what ended it."""
    got = b""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            while piece := answer.read1(5000):
                got += piece
    except OSError as error:
        return got, type(error).__name__
    return got, "end"


@pytest.mark.parametrize(
    ("fault", "count", "ending"),
    [
        (Fault("cut", "*.safetensors", at_byte=12_345), 12_345, "end"),
        (Fault("stall", "*.safetensors", at_byte=12_345), 12_345, "TimeoutError"),
        (Fault("cut", "*.json", at_byte=1), 300_000, "end"),
    ],
    ids=["cut", "stall", "other-path"],
)
def test_a_fault_happens_at_its_byte_to_its_file(local_hub, folder, fault, count, ending):
    local_hub.store.import_folder("acme/tiny", folder)
    local_hub.fail(fault)

    assert read_until_it_ends(f"{local_hub.url}/acme/tiny/resolve/main/model.safetensors") == (WEIGHTS[:count], ending)


def test_a_reset_is_a_reset(local_hub, folder):
    local_hub.store.import_folder("acme/tiny", folder)
    local_hub.fail(Fault("reset", "/cdn/*", at_byte=100_000))
    got, ending = read_until_it_ends(f"{local_hub.url}/acme/tiny/resolve/main/model.safetensors")

    assert ending == "ConnectionResetError"
    assert WEIGHTS.startswith(got)


def test_a_fault_ends_after_its_times(local_hub, folder):
    local_hub.store.import_folder("acme/tiny", folder)
    local_hub.fail(Fault("status", "*/config.json", times=1, status=429, seconds=2))
    first, second = (get(f"{local_hub.url}/acme/tiny/resolve/main/config.json") for _ in range(2))

    assert (first[0], first[1]["Retry-After"], second[0]) == (429, "2", 200)


def test_wrong_bytes_a_sign_in_page_and_ranges_ignored(local_hub, folder):
    local_hub.store.import_folder("acme/tiny", folder)
    url = f"{local_hub.url}/acme/tiny/resolve/main/model.safetensors"
    local_hub.fail(Fault("corrupt", "/cdn/*", times=1, at_byte=70_000))
    corrupt = get(url)[2]
    local_hub.fail(Fault("ignore_range", "/cdn/*", times=1))
    whole = get(url, Range="bytes=10-")
    local_hub.fail(Fault("html", "/api/*"))
    page = get(f"{local_hub.url}/api/models/acme/tiny")

    assert [place for place in range(300_000) if corrupt[place] != WEIGHTS[place]] == [70_000]
    assert (whole[0], whole[2]) == (200, WEIGHTS)
    assert (page[0], page[1]["Content-Type"]) == (200, "text/html")


WRONG = [
    ("--import acme/x=./nowhere", "org/name=FOLDER"),
    ("--import ../x=.", "org/name=FOLDER"),
    ("--port 99999", "port must be"),
    ("--gated acme/none", "import it first"),
    ('--fault {"kind":"none"}', "a fault has a kind"),
    ('--fault {"kind":"cut","at_byte":"x"}', "at_byte cannot be 'x'"),
    ("--fault [1]", "a fault has a kind"),
    ("--fault nonsense", "Expecting value"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=[words for words, _ in WRONG])
def test_by_hand_what_cannot_be_meant_is_a_sentence(tmp_path, capsys, arguments, says):
    code = cli.main(["hub", "--root", str(tmp_path / "root"), "--port", "0", *arguments.split()])
    said = capsys.readouterr()

    assert (code, said.out) == (2, "")
    assert says in said.err


def test_by_hand_it_serves_a_folder_takes_faults_and_ends_when_told(tmp_path, folder):
    command = [sys.executable, "-m", "qualification", "hub", "--root", str(tmp_path / "root"), "--port", "0"]
    hub = subprocess.Popen([*command, "--import", f"acme/tiny={folder}"], stdout=subprocess.PIPE, text=True)
    try:
        url = hub.stdout.readline().split()[0]
        fault = json.dumps({"kind": "status", "path": "*config.json", "status": 500}).encode()
        added = urllib.request.urlopen(f"{url}/-/faults", data=fault, timeout=10).status
        broken = get(f"{url}/acme/tiny/resolve/main/config.json")[0]
        asked = json.loads(get(f"{url}/-/requests")[2])["requests"]
        wrong = get(f"{url}/-/faults")[0], urllib.request.Request(f"{url}/-/faults", data=b'{"kind": "none"}')
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(wrong[1], timeout=10)
    finally:
        hub.send_signal(signal.SIGTERM)
        ended = hub.wait(timeout=10)

    assert (added, broken, ended) == (200, 500, 0)
    assert [request["path"] for request in asked] == ["/acme/tiny/resolve/main/config.json"]
