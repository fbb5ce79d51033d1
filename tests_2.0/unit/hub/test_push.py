"""push: what it refuses, what it finds changed, and that one commit makes the branch what the folder is."""

from __future__ import annotations

import json

import pytest

from mlxk import push
from mlxk.hub import Hub
from qualification.hub.api import Limits
from qualification.hub.faults import Fault
from qualification.hub.server import running

NAME = "acme/mine"


@pytest.fixture(autouse=True)
def writer(person, monkeypatch):
    """Uploads by LFS: the Xet library writes to the HF_HOME that this process began with. By Xet goes a process of its own."""
    monkeypatch.setenv("HF_TOKEN", "hf_local_write")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


@pytest.fixture
def pushed(local_hub, person, model):
    """The model on the Hub, private, as a first push puts it there."""
    person.run("push", str(model), NAME, "--private", "--create")
    return local_hub.store


def on_hub(store, branch: str = "main") -> dict[str, bytes]:
    files = store.resolve(NAME, branch).files
    return {path: store.object(entry.sha256).read_bytes() for path, entry in files.items() if path != ".gitattributes"}


def test_a_first_push_makes_a_private_repository_with_every_file(local_hub, person, model, tell):
    data = person.run("push", str(model), NAME, "--private", "--create", "--json").data
    state = local_hub.store.state(NAME)

    assert (state.private, data["created_repo"]) == (True, True)
    assert on_hub(local_hub.store) == tell(model)
    assert data["commit_sha"] == local_hub.store.resolve(NAME, "main").id
    assert data["uploaded_files_count"] == sum(data["change_summary"].values()) == data["local_files_count"] == 7
    assert (data["repo_url"], data["branch"]) == (f"{local_hub.url}/{NAME}", "main")


def test_by_xet_too(local_hub, person, model, tell):
    pushing = person.start("push", str(model), NAME, "--private", "--create")
    out, err = pushing.communicate(timeout=60)

    assert (pushing.returncode, err) == (0, "")
    assert out.startswith(f"push (experimental): {NAME}@main — commit ")
    assert on_hub(local_hub.store) == tell(model)
    assert any(entry.xet_hash for entry in local_hub.store.resolve(NAME, "main").files.values())


def test_what_has_not_changed_makes_no_commit(pushed, person, model):
    head = pushed.resolve(NAME, "main").id
    data = person.run("push", str(model), NAME, "--private", "--json").data
    for_people = person.run("push", str(model), NAME, "--private").out

    assert pushed.resolve(NAME, "main").id == head
    assert (data["no_changes"], data["uploaded_files_count"], data["commit_sha"], data["commit_url"]) == (True, 0, None, None)
    assert data["message"].startswith("No files have been modified")
    assert for_people == f"push (experimental): {NAME}@main — no changes\n"


def test_changes_are_told_by_content_and_the_branch_becomes_what_the_folder_is(pushed, person, model, tell):
    weights = model / "model-00001-of-00002.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)  # of the same size
    (model / "config.json").touch()  # of the same content
    (model / "new.txt").write_text("new", encoding="utf-8")
    (model / "deep" / "notes ü.json").unlink()
    planned = person.run("push", str(model), NAME, "--private", "--dry-run", "--json").data
    for_people = person.run("push", str(model), NAME, "--private", "--dry-run").out
    before = pushed.resolve(NAME, "main").id
    data = person.run("push", str(model), NAME, "--private", "--commit", "why", "--json").data

    assert planned["dry_run_summary"] == data["change_summary"] == {"added": 1, "modified": 1, "deleted": 1}
    assert planned["added_files"] == ["new.txt"]
    assert planned["modified_files"] == [weights.name]
    assert planned["deleted_files"] == ["deep/notes ü.json"]
    assert for_people == f"push (experimental): {NAME}@main — dry-run: +1 ~1 -1\n"
    assert on_hub(pushed) == tell(model)
    made = pushed.resolve(NAME, "main")
    assert (made.parent, made.title) == (before, "why")
    assert pushed.resolve(NAME, before).title == "mlx-knife push"


def test_the_address_of_the_commit_is_shown_when_asked_for(pushed, person, model, local_hub):
    (model / "new.txt").write_text("new", encoding="utf-8")
    out = person.run("push", str(model), NAME, "--private", "--verbose").out
    commit = pushed.resolve(NAME, "main").id

    assert out.splitlines() == [
        f"push (experimental): {NAME}@main — commit {commit[:7]} (+1 ~0 -0)",
        f"{local_hub.url}/{NAME}/commit/{commit}",
    ]


def test_a_branch_is_made_where_it_is_wanted(pushed, person, model, tell):
    (model / "new.txt").write_text("new", encoding="utf-8")
    refused = person.run("push", str(model), NAME, "--private", "--branch", "dev", "--json")
    planned = person.run("push", str(model), NAME, "--private", "--branch", "dev", "--create", "--dry-run", "--json").data
    data = person.run("push", str(model), NAME, "--private", "--branch", "dev", "--create", "--json").data

    assert (refused.code, refused.error["type"]) == (1, "upload_failed")
    assert (planned["would_create_branch"], planned["would_create_repo"]) == (True, False)
    assert data["commit_sha"] == pushed.resolve(NAME, "dev").id
    assert on_hub(pushed, "dev") == tell(model)
    assert "new.txt" not in on_hub(pushed)


def test_a_branch_is_made_even_where_nothing_has_changed(pushed, person, model):
    head = pushed.resolve(NAME, "main").id
    data = person.run("push", str(model), NAME, "--private", "--branch", "dev", "--create", "--json").data

    assert data["no_changes"]
    assert pushed.resolve(NAME, "dev").id == head


def test_a_branch_that_is_made_has_nothing_that_the_folder_lacks(pushed, person, model, tell):
    (model / "new.txt").write_text("new", encoding="utf-8")
    (model / "deep" / "notes ü.json").unlink()
    wanted = ("push", str(model), NAME, "--private", "--branch", "dev", "--create", "--json")
    planned = person.run(*wanted, "--dry-run").data
    data = person.run(*wanted).data

    assert planned["dry_run_summary"] == data["change_summary"] == {"added": 1, "modified": 0, "deleted": 1}
    assert on_hub(pushed, "dev") == tell(model)
    assert "deep/notes ü.json" in on_hub(pushed)


def test_a_branch_that_the_hub_does_not_know_yet_is_tried_once_more(pushed, person, model, local_hub):
    (model / "new.txt").write_text("new", encoding="utf-8")
    answer = Fault("status", f"/api/models/{NAME}/preupload/dev", method="POST", times=1, status=404, code="RevisionNotFound")
    local_hub.fail(answer)
    data = person.run("push", str(model), NAME, "--private", "--branch", "dev", "--create", "--json").data

    assert data["commit_sha"] == pushed.resolve(NAME, "dev").id


@pytest.fixture
def limited(person, lead, tmp_path, monkeypatch):
    """A hub that takes files of more than 150,000 bytes in parts, and none of more than 500,000."""
    with running(tmp_path / "limited", Limits(part_bytes=150_000, file_max_bytes=500_000)) as hub:
        lead(hub, monkeypatch)
        yield hub


def test_a_large_file_goes_up_in_parts(limited, person, model, tell):
    data = person.run("push", str(model), NAME, "--private", "--create", "--json").data
    parts = [request.path for request in limited.requests() if "/parts/" in request.path and request.status == 200]

    assert data["uploaded_files_count"] == 7
    assert on_hub(limited.store) == tell(model)
    assert len(parts) == 6  # two files of 400,113 bytes


def test_a_file_that_is_too_large_for_the_hub_is_told_in_its_words(limited, person, model):
    (model / "model-00003-of-00003.safetensors").write_bytes(bytes(500_001))
    ended = person.run("push", str(model), NAME, "--private", "--create", "--json")

    assert (ended.code, ended.error["type"]) == (1, "upload_failed")
    assert "No file may have more than 500,000 bytes" in ended.error["message"]
    assert on_hub(limited.store) == {}


REFUSALS = [
    # arguments after the folder, token, exit code, error type
    ((NAME,), "hf_local_write", 2, "CommandError"),
    ((NAME, "--private"), None, 4, "auth_error"),
    ((NAME, "--private"), "hf_unknown", 4, "auth_error"),
    (("acme/none", "--private"), "hf_local_write", 3, "repo_not_found"),
    (("acme/none", "--private", "--create"), "hf_local_read", 1, "upload_failed"),
    ((NAME, "--private"), "hf_local_read", 1, "upload_failed"),
    ((NAME, "--private"), "hf_local_stranger", 3, "repo_not_found"),
    (("mine", "--private"), "hf_local_write", 2, "ValidationError"),
    (("../mine", "--private"), "hf_local_write", 2, "ValidationError"),
    ((NAME, "--private", "--branch", "a b"), "hf_local_write", 2, "ValidationError"),
]


@pytest.mark.parametrize(("arguments", "token", "code", "kind"), REFUSALS)
def test_a_refusal_uploads_nothing(pushed, person, model, monkeypatch, arguments, token, code, kind):
    (model / "new.txt").write_text("new", encoding="utf-8")
    head = pushed.resolve(NAME, "main").id
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
    ended = person.run("push", str(model), *arguments, "--json")

    assert (ended.code, ended.error["type"]) == (code, kind)
    assert pushed.resolve(NAME, "main").id == head
    assert pushed.names() == [NAME]


def test_nothing_private_goes_to_a_public_repository(pushed, person, model):
    pushed.change(NAME, private=False)
    (model / "new.txt").write_text("new", encoding="utf-8")
    ended = person.run("push", str(model), NAME, "--private", "--json")

    assert (ended.code, ended.error["type"]) == (4, "public_repository")
    assert "new.txt" not in on_hub(pushed)


def test_nothing_private_goes_to_a_repository_that_somebody_made_public_meanwhile(local_hub, person, model, monkeypatch):
    create = Hub.create

    def meanwhile(target, name, *, private):
        local_hub.store.create(name, private=False)
        create(target, name, private=private)

    monkeypatch.setattr(Hub, "create", meanwhile)
    ended = person.run("push", str(model), NAME, "--private", "--create", "--json")

    assert (ended.code, ended.error["type"]) == (4, "public_repository")
    assert on_hub(local_hub.store) == {}


def test_a_file_that_goes_while_it_is_pushed_is_told(pushed, person, model, monkeypatch):
    change = push.change

    def meanwhile(*arguments):
        (model / "new.txt").unlink()
        return change(*arguments)

    (model / "new.txt").write_text("new", encoding="utf-8")
    monkeypatch.setattr(push, "change", meanwhile)
    ended = person.run("push", str(model), NAME, "--private", "--json")

    assert (ended.code, ended.error["type"]) == (1, "upload_failed")
    assert "new.txt" in ended.error["message"]


def test_a_link_to_a_folder_is_refused_unless_it_is_ignored(pushed, person, model, tmp_path):
    (model / "deep").rename(tmp_path / "elsewhere")
    (model / "deep").symlink_to(tmp_path / "elsewhere")
    before = on_hub(pushed)
    refused = person.run("push", str(model), NAME, "--private", "--json")
    (model / ".hfignore").write_text("deep\n", encoding="utf-8")
    ignored = person.run("push", str(model), NAME, "--private", "--json").data

    assert (refused.code, refused.error["type"]) == (1, "upload_failed")
    assert "deep is a link to a folder" in refused.error["message"]
    assert ignored["no_changes"]
    assert on_hub(pushed) == before


def test_a_folder_with_nothing_to_upload_empties_no_branch(pushed, person, tmp_path):
    (tmp_path / "empty" / "__pycache__").mkdir(parents=True)
    (tmp_path / "empty" / "__pycache__" / "x.pyc").touch()
    head = pushed.resolve(NAME, "main").id
    ended = person.run("push", str(tmp_path / "empty"), NAME, "--private", "--json")

    assert (ended.code, ended.error["type"]) == (1, "upload_failed")
    assert pushed.resolve(NAME, "main").id == head


def test_what_only_begins_as_workspaces_do_is_never_guessed(person, model, tmp_path, monkeypatch):
    monkeypatch.setenv("MLXK_WORKSPACE_HOME", str(tmp_path))
    one = person.run("push", "mod", NAME, "--private", "--json")
    model.with_name("model-2").mkdir()
    (model.with_name("model-2") / "config.json").touch()
    by_name = person.run("push", "mod", NAME, "--private", "--json")
    by_path = person.run("push", str(tmp_path / "mod"), NAME, "--check-only", "--json")

    assert (one.code, one.error["type"], one.error["matches"]) == (3, "workspace_not_found", [str(model)])
    assert (by_name.code, by_name.error["type"]) == (by_path.code, by_path.error["type"]) == (3, "ambiguous_workspace")
    assert by_name.error["matches"] == by_path.error["matches"] == [str(model), f"{model}-2"]


def test_a_fault_of_its_own_has_the_name_that_scripts_know(pushed, person, model, monkeypatch):
    monkeypatch.setattr(push, "compare", lambda *arguments: 1 / 0)
    ended = person.run("push", str(model), NAME, "--private", "--json")

    assert (ended.code, ended.error["type"]) == (1, "push_operation_failed")


@pytest.mark.parametrize("folder", ["./nowhere", "nowhere", ""])
def test_a_folder_that_is_not_there_is_told(person, folder):
    ended = person.run("push", folder, NAME, "--private", "--json")

    assert (ended.code, ended.error["type"]) == (3, "workspace_not_found")


def test_ignored_files_are_neither_uploaded_nor_deleted(pushed, person, model):
    (model / ".hfignore").write_text("# mine\n*.log\nprivate/\ndeep/*.json\n", encoding="utf-8")
    for name in ("run.log", "private/key.txt", "keep/private.txt", "__pycache__/x.pyc", ".git/config", ".mlxk_workspace.json"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text("x", encoding="utf-8")
    data = person.run("push", str(model), NAME, "--private", "--dry-run", "--json").data

    assert data["added_files"] == ["keep/private.txt"]
    assert data["deleted_files"] == []


@pytest.mark.parametrize(
    ("path", "pattern", "ignored"),
    [
        ("a/b.log", "*.log", True),
        ("a/b.log", "a/*.log", True),
        ("x/a/b.log", "a/*.log", False),
        ("build/x", "build/", True),
        ("build", "build/", False),
        ("rebuild/x", "build/", False),
        ("a/build/x", "build", True),
        ("a/b/c", "a/b", True),
        ("A.log", "a.log", False),
    ],
)
def test_what_a_line_of_hfignore_means(path, pattern, ignored):
    assert push.is_ignored(path, [pattern]) is ignored


def test_a_workspace_is_checked_by_the_rules_of_health_and_without_a_network(local_hub, person, model, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    whole = person.run("push", str(model), NAME, "--check-only", "--json").data["workspace_health"]
    (model / "model-00002-of-00002.safetensors").unlink()
    (model / "link").symlink_to("nowhere")
    broken = person.run("push", str(model), NAME, "--check-only", "--json").data["workspace_health"]
    judged = person.run("health", str(model), "--json").data["unhealthy"][0]["problems"]

    assert (whole["healthy"], whole["anomalies"], whole["weights"]["index"]["has_index"]) == (True, [], True)
    assert (broken["healthy"], broken["weights"]["index"]["missing"]) == (False, ["model-00002-of-00002.safetensors"])
    assert [{key: found[key] for key in ("code", "message", "path")} for found in broken["anomalies"]] == judged
    assert local_hub.requests() == []


def test_a_workspace_goes_by_its_name_and_comes_back_the_same(local_hub, person, model, tell, tmp_path, monkeypatch):
    monkeypatch.setenv("MLXK_WORKSPACE_HOME", str(tmp_path))
    person.run("push", "model", NAME, "--private", "--create")
    person.run("clone", NAME, "back")
    again = person.run("push", "back", NAME, "--private", "--json").data
    back = tell(tmp_path / "back")

    assert {name: back[name] for name in tell(model)} == tell(model)
    assert again["no_changes"]


def test_somebody_elses_commit_in_between_is_not_overwritten(pushed, person, model, local_hub, monkeypatch):
    (model / "new.txt").write_text("new", encoding="utf-8")
    compare = push.compare

    def meanwhile(*arguments):
        pushed.commit(NAME, "main", "theirs", {"theirs.txt": pushed.put("theirs.txt", b"theirs")}, {})
        return compare(*arguments)

    monkeypatch.setattr(push, "compare", meanwhile)
    ended = person.run("push", str(model), NAME, "--private", "--json")

    assert (ended.code, ended.error["type"]) == (1, "upload_failed")
    assert "theirs.txt" in on_hub(pushed)


def test_a_hub_that_says_nothing_to_a_commit_is_not_waited_for(pushed, person, model, local_hub, monkeypatch):
    monkeypatch.setattr("mlxk.hub._CHANGE_S", 0.2)
    (model / "new.txt").write_text("new", encoding="utf-8")
    local_hub.fail(Fault("stall", f"/api/models/{NAME}/commit/*", method="POST", times=1, seconds=30))
    ended = person.run("push", str(model), NAME, "--private", "--json")

    assert (ended.code, ended.error["type"]) == (1, "upload_failed")
    assert "did not answer in time" in ended.error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/api/models/{NAME}/preupload/*"),
        ("POST", f"/api/models/{NAME}/commit/*"),
        ("GET", f"/api/models/{NAME}/revision/*"),
        ("GET", f"/api/models/{NAME}/tree/*"),
    ],
)
def test_a_hub_that_fails_is_told_and_the_next_push_does_it(pushed, person, model, local_hub, method, path):
    (model / "new.txt").write_text("new", encoding="utf-8")
    local_hub.fail(Fault("status", path, method=method, times=1, status=400))
    failed = person.run("push", str(model), NAME, "--private", "--json")
    done = person.run("push", str(model), NAME, "--private", "--json").data

    assert (failed.code, failed.error["type"]) == (1, "upload_failed")
    assert json.dumps(done["change_summary"]) == '{"added": 1, "modified": 0, "deleted": 0}'


def test_an_interrupt_that_the_client_takes_for_a_mistake_is_an_interrupt(person, model, interrupted_amid):
    first = interrupted_amid("huggingface_hub.hf_api")
    pushing = person.start("push", str(model), NAME, "--private", "--create", "--json", first=first)
    out, err = pushing.communicate(timeout=60)

    assert (pushing.returncode, json.loads(out)["error"]["type"], err) == (130, "interrupted", "")
