"""A test has a cache of its own, which alone is ever deleted, and cannot change the user's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from qualification.plugin import guard, isolation
from qualification.plugin.copying import FICLONE, copy_file, copy_tree
from qualification.plugin.guard import UserCacheIsReadOnly
from qualification.plugin.isolation import IsolationError

pytest_plugins = ["pytester"]


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cache = isolation.create()
    yield cache
    shutil.rmtree(cache.root, ignore_errors=True)


@pytest.fixture(scope="module")
def user_cache(tmp_path_factory) -> Path:
    """A folder that stands for the user's cache. It stays read-only for this process: protection is for life."""
    hub = tmp_path_factory.mktemp("user") / "hub"
    (hub / "models--org--m" / "refs").mkdir(parents=True)
    (hub / "models--org--m" / "refs" / "main").write_text("precious", encoding="utf-8")
    guard.protect(hub)
    return hub


def test_a_new_cache_is_signed_for_its_own_place_and_has_the_sentinel(made):
    signature = json.loads((made.root / ".mlxk2_test_cache_signature").read_text(encoding="utf-8"))
    sentinel = made.hub / "models--TEST-CACHE-SENTINEL--mlxk2-safety-check"

    assert signature["magic"] == "MLXK2_ISOLATED_TEST_CACHE_V1"
    assert signature["path_hash"] == sha256(str(made.root).encode()).hexdigest()[:16]
    assert signature["created_path"] == str(made.root)
    assert [path.name for path in sentinel.glob("snapshots/*/*")] == ["config.json"]


def test_deleting_takes_the_whole_folder_and_nothing_beside_it(made, tmp_path):
    (tmp_path / "beside").write_text("stays", encoding="utf-8")
    isolation.delete(made)

    assert [path.name for path in tmp_path.iterdir()] == ["beside"]


def spoil_signature(made, **changes):
    path = made.root / isolation.SIGNATURE
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda made: (made.root / isolation.SIGNATURE).unlink(), "no signature"),
        (lambda made: (made.root / isolation.SIGNATURE).write_text("{"), "no signature"),
        (lambda made: (made.root / isolation.SIGNATURE).write_text("[]"), "magic"),
        (lambda made: spoil_signature(made, magic="MINE"), "magic"),
        (lambda made: spoil_signature(made, signature_id="another"), "signature_id"),
        (lambda made: spoil_signature(made, path_hash="0" * 16), "path_hash"),
        (lambda made: shutil.rmtree(made.hub / isolation.SENTINEL), "SENTINEL"),
    ],
)
def test_whatever_is_not_surely_this_cache_is_not_deleted(made, spoil, said):
    spoil(made)
    with pytest.raises(IsolationError, match=said):
        isolation.delete(made)

    assert made.hub.is_dir()


def test_a_cache_that_was_moved_is_not_deleted_under_its_new_name(made, tmp_path):
    made.root.rename(tmp_path / "precious")
    moved = isolation.IsolatedCache(tmp_path / "precious", made.signature_id)
    with pytest.raises(IsolationError, match="path_hash"):
        isolation.delete(moved)

    assert moved.hub.is_dir()


def test_a_cache_that_cannot_be_signed_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(isolation, "SIGNATURE", "no/such/folder")
    with pytest.raises(FileNotFoundError):
        isolation.create()

    assert list(tmp_path.iterdir()) == []


def test_the_fixture_leads_this_process_and_its_children_to_the_tests_cache(isolated_cache):
    child = [sys.executable, "-c", "from huggingface_hub.constants import HF_HUB_CACHE as hub; print(hub)"]
    told = subprocess.run(child, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    assert told == str(isolated_cache.hub)
    assert isolation.check_context("test") == isolated_cache.hub
    with pytest.raises(IsolationError, match="needs a user cache"):
        isolation.check_context("user")


def test_without_the_fixture_the_context_is_the_users():
    with pytest.raises(IsolationError, match="needs a test cache"):
        isolation.check_context("test")


def test_after_the_test_its_cache_is_gone_and_the_environment_as_it_was(pytester, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(pytester.path / "users-own"))
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    pytester.makepyfile(
        """
        import os

        def test_inside(isolated_cache):
            assert os.environ["HF_HOME"] == str(isolated_cache.home)
            assert os.environ["MLXK2_USER_HF_HOME"].endswith("users-own")
            assert os.environ["MLXK2_STRICT_TEST_DELETE"] == "1"
            (isolated_cache.hub / "models--a--b").mkdir()

        def test_after():
            assert os.environ["HF_HOME"].endswith("users-own")
            assert "MLXK2_USER_HF_HOME" not in os.environ
            assert "MLXK2_STRICT_TEST_DELETE" not in os.environ
        """
    )
    outcome = pytester.runpytest_subprocess("-p", "qualification.plugin")

    outcome.assert_outcomes(passed=2)
    assert list(pytester.path.glob("mlxk2_test_*")) == []


WRITES = {
    "open": lambda hub: (hub / "new").write_text("x", encoding="utf-8"),
    "append": lambda hub: (hub / "models--org--m/refs/main").open("a"),
    "os.open": lambda hub: os.open(hub / "new", os.O_CREAT | os.O_RDWR),
    "mkdir": lambda hub: (hub / "models--org--n").mkdir(),
    "remove": lambda hub: (hub / "models--org--m/refs/main").unlink(),
    "rmdir": lambda hub: (hub / "models--org--m/refs").rmdir(),
    "rmtree": lambda hub: shutil.rmtree(hub / "models--org--m"),
    "rmtree of all": shutil.rmtree,
    "rename away": lambda hub: (hub / "models--org--m").rename(hub.parent / "gone"),
    "rename over": lambda hub: (hub.parent / "other").rename(hub / "models--org--m"),
    "link": lambda hub: (hub / "new").symlink_to("x"),
    "truncate": lambda hub: os.truncate(hub / "models--org--m/refs/main", 0),
    "chmod": lambda hub: hub.chmod(0o700),
    "utime": lambda hub: os.utime(hub, (0, 0)),
    "by another way there": lambda hub: (hub.parent / "hub/../hub/new").write_text("x", encoding="utf-8"),
    "through a link": lambda hub: (hub.parent / "link/new").write_text("x", encoding="utf-8"),
    "by descriptor": lambda hub: os.remove("main", dir_fd=os.open(hub / "models--org--m/refs", os.O_RDONLY)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_no_write_reaches_the_users_cache(user_cache, write):
    (user_cache.parent / "other").mkdir(exist_ok=True)
    if not (user_cache.parent / "link").exists():
        (user_cache.parent / "link").symlink_to(user_cache)
    with pytest.raises(UserCacheIsReadOnly):
        write(user_cache)

    assert (user_cache / "models--org--m/refs/main").read_text(encoding="utf-8") == "precious"
    assert [path.name for path in user_cache.iterdir()] == ["models--org--m"]


def test_the_users_cache_may_be_read(user_cache):
    assert (user_cache / "models--org--m/refs/main").read_bytes() == b"precious"


@pytest.mark.parametrize("how", ["inherited", "given"])
def test_no_child_that_would_use_the_users_cache_starts_beside_an_isolated_one(user_cache, isolated_cache, monkeypatch, how):
    leading_there = {**os.environ, "HF_HOME": str(user_cache.parent)}
    if how == "inherited":
        monkeypatch.setenv("HF_HOME", str(user_cache.parent))
    with pytest.raises(UserCacheIsReadOnly, match="would use the user's cache"):
        subprocess.run([sys.executable, "-c", "pass"], env=None if how == "inherited" else leading_there, check=True)


@pytest.fixture
def cache_without_sentinel(tmp_path, monkeypatch) -> Path:
    """A hub that nobody protects by name, beside strict deletion."""
    hub = tmp_path / "elsewhere" / "hub"
    (hub / "models--org--m" / "refs").mkdir(parents=True)
    (hub / "models--org--m" / "refs" / "main").write_text("precious", encoding="utf-8")
    monkeypatch.setenv("MLXK2_STRICT_TEST_DELETE", "1")
    yield hub
    monkeypatch.undo()


DELETIONS = {name: WRITES[name] for name in ("remove", "rmtree", "rmtree of all", "by descriptor")} | {
    "a child": lambda hub: subprocess.run(
        [sys.executable, "-m", "mlxk", "rm", "org/m", "--force"], env={**os.environ, "HF_HOME": str(hub.parent)}, check=True
    ),
}


@pytest.mark.parametrize("delete", DELETIONS.values(), ids=DELETIONS)
def test_strict_deletion_takes_nothing_from_a_cache_without_the_sentinel(cache_without_sentinel, delete):
    with pytest.raises(UserCacheIsReadOnly, match="MLXK2_STRICT_TEST_DELETE is 1"):
        delete(cache_without_sentinel)

    assert (cache_without_sentinel / "models--org--m/refs/main").read_text(encoding="utf-8") == "precious"


def test_strict_deletion_lets_a_test_s_cache_go_whole(made, monkeypatch):
    monkeypatch.setenv("MLXK2_STRICT_TEST_DELETE", "1")
    for name in ("models--a--b", "models--x--y"):
        (made.hub / name / "blobs").mkdir(parents=True)
        (made.hub / name / "blobs" / "b").write_bytes(b"x")
    isolation.delete(made)

    assert not made.root.exists()


def test_the_real_cache_of_this_user_is_protected_without_anybody_asking():
    real = Path.home() / ".cache" / "huggingface" / "hub"
    with pytest.raises(UserCacheIsReadOnly):
        (real / "models--org--m").mkdir(parents=True)


def test_a_copied_file_is_equal_and_independent(tmp_path):
    (tmp_path / "source").write_bytes(bytes(range(256)) * 1000)
    how = copy_file(tmp_path / "source", tmp_path / "target")
    with (tmp_path / "target").open("r+b") as target:
        target.write(b"changed")

    assert how in ("cloned", "copied")
    assert (tmp_path / "source").read_bytes() == bytes(range(256)) * 1000
    assert (tmp_path / "target").read_bytes() == (b"changed" + (bytes(range(256)) * 1000)[7:])


CLONE = ["cp", "-c"] if sys.platform == "darwin" else ["cp", "--reflink=always"]


def test_a_file_is_cloned_exactly_where_the_system_s_own_command_can_clone(tmp_path):
    """``--basetemp`` on btrfs or XFS shows the one, on ext4 the other."""
    (tmp_path / "source").write_bytes(bytes(1 << 20))
    can = subprocess.run([*CLONE, tmp_path / "source", tmp_path / "theirs"], capture_output=True, timeout=60, check=False)

    assert copy_file(tmp_path / "source", tmp_path / "ours") == ("copied" if can.returncode else "cloned")


def test_a_copied_model_keeps_its_links_and_says_how_it_was_copied(made, tmp_path):
    original = tmp_path / "models--org--m"
    (original / "blobs").mkdir(parents=True)
    (original / "snapshots" / "c").mkdir(parents=True)
    (original / "blobs" / "b").write_bytes(b"weights")
    (original / "snapshots" / "c" / "w").symlink_to("../../blobs/b")
    target, how = made.copy_model(original, "org/copy")

    assert (target.name, how == copy_tree(original, tmp_path / "again")) == ("models--org--copy", True)
    assert (target / "snapshots/c/w").readlink() == Path("../../blobs/b")
    assert (target / "snapshots/c/w").read_bytes() == b"weights"


def test_a_model_that_would_fill_the_disk_is_not_copied(made, tmp_path):
    original = tmp_path / "models--org--huge"
    original.mkdir()
    os.truncate(os.open(original / "w", os.O_CREAT | os.O_RDWR), shutil.disk_usage(tmp_path).free)  # sparse: it takes no room
    with pytest.raises(IsolationError, match="are free"):
        made.copy_model(original)


@pytest.mark.parametrize(("kept_free_mb", "said"), [(str(1 << 40), "are free"), ("half", "must be a whole number")])
def test_how_much_stays_free_is_the_users_choice(made, sharded, monkeypatch, kept_free_mb, said):
    monkeypatch.setenv("MLXK2_MIN_FREE_MB", kept_free_mb)
    with pytest.raises(IsolationError, match=said):
        made.copy_model(sharded)


@pytest.fixture
def sharded(tmp_path) -> Path:
    """A model with two snapshots; main names the one with an index, a config and three shards of 3, 1 and 2 bytes."""
    folder = tmp_path / "models--org--sharded"
    for place in ("blobs", "refs", "snapshots/main-one", "snapshots/zz-other"):
        (folder / place).mkdir(parents=True)
    (folder / "refs" / "main").write_text("main-one", encoding="utf-8")
    for name in ("config.json", "model.safetensors.index.json"):
        (folder / "snapshots" / "main-one" / name).write_text("{}", encoding="utf-8")
    for number, size in ((1, 3), (2, 1), (3, 2)):
        (folder / "blobs" / f"b{number}").write_bytes(bytes(size))
        (folder / "snapshots" / "main-one" / f"model-{number}.safetensors").symlink_to(f"../../blobs/b{number}")
    (folder / "snapshots" / "zz-other" / "config.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.mark.parametrize(("count", "shards"), [(None, [2]), ("0", []), ("2", [2, 3]), ("999", [1, 2, 3])])
def test_a_subset_has_all_small_files_and_the_smallest_shards_of_the_current_snapshot(made, sharded, monkeypatch, count, shards):
    if count:
        monkeypatch.setenv("MLXK2_SUBSET_COUNT", count)
    target, _ = made.copy_subset(sharded, "org/part")
    copied = {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}
    snapshot = "snapshots/main-one"

    assert copied == {
        *("refs/main", f"{snapshot}/config.json", f"{snapshot}/model.safetensors.index.json"),
        *(f"{snapshot}/model-{number}.safetensors" for number in shards),
        *(f"blobs/b{number}" for number in shards),
    }
    assert all(path.exists() for path in target.rglob("*"))


def test_the_request_for_a_reflink_is_what_linux_defines():
    write, kind, number, size_of_int = 1, 0x94, 9, 4  # linux/fs.h: #define FICLONE _IOW(0x94, 9, int)

    assert write << 30 | size_of_int << 16 | kind << 8 | number == FICLONE


def run_beside_a_users_cache(pytester, monkeypatch, command: str, *options: str):
    """A run of one test that starts a child in the user's cache."""
    hub = pytester.path / "users-own" / "hub"
    (hub / "models--org--m" / "refs").mkdir(parents=True, exist_ok=True)
    (hub / "models--org--m" / "refs" / "main").write_text("precious", encoding="utf-8")
    monkeypatch.setenv("HF_HOME", str(hub.parent))
    call = f"subprocess.run({command!r}, shell=True, check=True, cwd={str(hub)!r})"
    pytester.makepyfile(f"import subprocess\n\ndef test_it():\n    {call}")
    return pytester.runpytest_subprocess("-p", "qualification.plugin", *options)


def test_a_run_after_which_the_users_cache_is_another_fails_and_says_what_changed(pytester, monkeypatch):
    outcome = run_beside_a_users_cache(pytester, monkeypatch, "touch -d 2001-01-01 models--org--m/refs/main")

    outcome.assert_outcomes(passed=1)
    assert outcome.ret == pytest.ExitCode.TESTS_FAILED
    outcome.stdout.fnmatch_lines(["*the user's cache was changed*", "*/users-own/hub/models--org--m/refs/main"])


@pytest.mark.parametrize(("command", "said"), [("cat models--org--m/refs/main", 0), ("rm -r models--org--m", 1)])
def test_a_run_in_several_processes_says_it_once_and_a_cache_that_is_the_same_is_no_news(pytester, monkeypatch, command, said):
    outcome = run_beside_a_users_cache(pytester, monkeypatch, command, "-n", "2", "-p", "xdist")

    assert (outcome.ret, outcome.stdout.str().count("the user's cache was changed")) == (said, said)
