"""What is compared: wheels that are there, environments that are alike, servers that answer."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from qualification.errors import EnvironmentUnfitError, UsageError
from qualification.mint import store
from qualification.performance import environments, releases
from qualification.performance.environments import Side
from qualification.performance.workload import METRICS, Workload, measure

NEVER_STOPS = "mint-pathology/never-stops"


@pytest.fixture
def repository(tmp_path):
    """A git repository with one commit, tagged v1."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "file").write_text("one\n", encoding="utf-8")
    git = ["git", "-C", str(root), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "file"], ["commit", "--quiet", "-m", "One."], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True, timeout=30)
    return root


@pytest.fixture
def side(tmp_path):
    """``side("a", foo="1.0")``: an environment with mlxk and these distributions, made without an installer."""

    def make(name, **distributions):
        root = tmp_path / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True, timeout=60)
        site = next(root.glob("lib/python3.*/site-packages"))
        for each, version in {"mlxk": name, **distributions}.items():
            folder = site / f"{each}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {each}\nVersion: {version}\n", encoding="utf-8")
        return Side(Path("mlxk-0.1.0-py3-none-any.whl"), "0" * 64, root)

    return make


def test_a_tag_that_is_not_there_is_said_with_those_that_are(repository, tmp_path):
    with pytest.raises(UsageError, match=r"v9 is neither a wheel nor a tag of this repository \(tags: v1\)"):
        releases.wheel_of("v9", repository, tmp_path / "kept")


def test_an_option_is_no_tag(repository, tmp_path):
    with pytest.raises(UsageError, match="neither a wheel nor a tag"):
        releases.wheel_of("--all", repository, tmp_path / "kept")


@pytest.mark.parametrize(
    ("history", "asked", "found"),
    [
        (["tag v1.0", "commit"], None, "v1.0"),
        (["tag v1.0", "commit", "tag v1.1", "commit"], None, "v1.1"),
        (["tag v1.0", "commit", "tag v1.1"], None, "v1.0"),  # v1.1 is the one that is examined
        (["tag v1.0", "commit", "tag v1.1", "commit"], "v1.0", "v1.0"),
        (["tag old", "commit"], None, "no tag such as v1.2.3"),
        (["tag v1.0"], None, "no tag such as v1.2.3"),
        (["tag v1.0", "commit"], "first", "said to be the first"),
    ],
)
def test_the_release_before_is_the_newest_version_below_the_commit_or_what_is_asked_for(tmp_path, history, asked, found):
    kept = tmp_path / "kept"
    root = tmp_path / "new"
    git = ["git", "-C", str(root), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    root.mkdir()
    for step in ("init --quiet", "commit", *history):
        command = [*step.split(), *(["--quiet", "--allow-empty", "-m", "."] if step == "commit" else [])]
        subprocess.run([*git, *command], check=True, timeout=30)
        if step.startswith("tag"):
            commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, timeout=30, capture_output=True, text=True)
            built = kept / commit.stdout.strip() / f"{step.removeprefix('tag ')}.whl"
            built.parent.mkdir(parents=True)
            built.touch()

    wheel, first = releases.before(asked, root, kept)

    assert found in (wheel.stem if wheel else first)


def test_where_the_history_is_not_whole_nobody_knows_what_came_before(repository, tmp_path):
    (tmp_path / "unpacked").mkdir()

    assert releases.before(None, tmp_path / "unpacked", tmp_path) == (None, "")
    subprocess.run(
        [
            "git",
            "-C",
            str(repository),
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.org",
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            ".",
        ],
        check=True,
        timeout=30,
    )
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", f"file://{repository}", tmp_path / "shallow"], check=True, timeout=30
    )
    assert releases.before(None, tmp_path / "shallow", tmp_path) == (None, "")


def test_a_clone_without_its_tags_does_not_know_what_came_before(repository, tmp_path):
    subprocess.run(["git", "clone", "--quiet", "--no-tags", str(repository), tmp_path / "bare"], check=True, timeout=30)

    assert releases.before(None, tmp_path / "bare", tmp_path) == (None, "")


def test_the_wheel_of_a_tag_is_built_once(repository, tmp_path):
    head = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=30
    )
    built = tmp_path / "kept" / head.stdout.strip() / "mlxk-1-py3-none-any.whl"
    built.parent.mkdir(parents=True)
    built.touch()

    assert releases.wheel_of("v1", repository, tmp_path / "kept") == built


@pytest.mark.parametrize("name", ["absent.whl", "text.txt"])
def test_what_is_no_wheel_is_refused_before_anything_is_made(tmp_path, name):
    (tmp_path / "text.txt").write_text("text", encoding="utf-8")

    with pytest.raises(UsageError, match=f"{name} is not a wheel"):
        environments.make(tmp_path / name, tmp_path / "environments", None, Path(sys.executable))
    assert not (tmp_path / "environments").exists()


def test_a_wheel_that_cannot_be_installed_leaves_no_environment_that_counts(tmp_path):
    broken = tmp_path / "mlxk-1-py3-none-any.whl"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("mlxk.py", "")

    with pytest.raises(EnvironmentUnfitError, match="cannot be installed"):
        environments.make(broken, tmp_path / "environments", None, Path(sys.executable))

    assert [*(tmp_path / "environments").glob("*/pyvenv.cfg")] != []
    assert [*(tmp_path / "environments").rglob("ready")] == []


def test_environments_that_differ_in_a_common_distribution_are_refused(side):
    with pytest.raises(UsageError, match=r"hold different versions \(foo 1.0 and 2.0\)"):
        environments.refuse_unlike(side("a", foo="1.0", bar="1"), side("b", foo="2.0", bar="1"))


def test_what_only_one_wheel_requires_is_part_of_what_is_compared(side):
    environments.refuse_unlike(side("a", foo="1.0"), side("b", foo="1.0", new="1.0"))


def test_two_servers_are_measured_in_every_figure(tmp_path):
    store.install(NEVER_STOPS, tmp_path)
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    tool = Path(sys.executable).with_name("mlxk")
    samples = measure((tool, tool), Workload(NEVER_STOPS, "Tell me a story.", variables, tokens=24))

    for sample in samples:
        assert sample.keys() == METRICS.keys()
        assert all(figure > 0 for figure in sample.values())
        assert sample["load_cpu_s"] > sample["start_cpu_s"] > 0.01
        assert sample["token_s"] < sample["load_cpu_s"]
        assert 10e6 < sample["memory_bytes"] < 4e9


def test_a_tool_that_does_not_serve_is_said(tmp_path):
    with pytest.raises(EnvironmentUnfitError, match="ended with code 0 before it announced its address"):
        measure((Path("/usr/bin/true"),) * 2, Workload(NEVER_STOPS, "Tell me a story.", {"PATH": "/usr/bin:/bin"}))
