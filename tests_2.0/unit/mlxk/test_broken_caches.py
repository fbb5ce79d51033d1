"""However broken a cache is, it is listed and judged, within seconds and without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mlxk.compatibility import Packages
from mlxk.errors import PermissionDenied
from mlxk.library import Library


def library(hub) -> Library:
    return Library(hub.root, Packages.none())


def codes(hub, name="org/m") -> list[str]:
    (model,) = [model for model in library(hub).models() if model.name == name]
    return [problem.code for problem in model.problems]


def mlxk(hub, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HF_HUB_CACHE": str(hub.root), **variables}
    command = [sys.executable, "-m", "mlxk", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)


def test_links_that_lead_in_a_circle(hub):
    snapshot = hub.add("org/m", {"config.json": None})
    (snapshot / "config.json").symlink_to("config.json")
    (snapshot / "up").symlink_to("..")

    assert codes(hub) == ["config_missing", "link_broken"]


def test_a_snapshot_that_leads_to_itself(hub):
    folder = hub.root / "models--org--m" / "snapshots"
    folder.mkdir(parents=True)
    (folder / hub.commit).symlink_to(hub.commit)

    assert codes(hub) == ["no_snapshot"]


def test_a_pipe_among_the_files_is_not_waited_for(hub):
    snapshot = hub.add("org/m", {"config.json": None, "model.safetensors": hub.weights(form="pt")})
    for name in ("config.json", "README.md", "../../refs/main"):
        (snapshot / name).unlink(missing_ok=True)
        os.mkfifo(snapshot / name)

    assert codes(hub) == ["config_missing", "link_broken", "link_broken"]


def test_a_folder_in_the_place_of_a_file(hub):
    snapshot = hub.add("org/m", {"config.json": None, "model.safetensors": None})
    (snapshot / "config.json").mkdir()
    (snapshot / "model.safetensors").mkdir()

    assert codes(hub) == ["config_missing", "weights_missing"]


def test_a_hundred_megabytes_of_configuration_are_not_read(hub):
    snapshot = hub.add("org/m")
    os.truncate(snapshot / "config.json", 100_000_000)
    (model,) = library(hub).models()

    assert [problem.message for problem in model.problems] == [
        "config.json has 100,000,000 bytes, more than any configuration needs."
    ]


def test_a_header_that_claims_to_be_huge_is_not_believed(hub):
    hub.add("org/m", {"model.safetensors": b"\xff" * 8 + b"{}"})

    assert codes(hub) == ["weights_invalid"]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"\x00" * 50, b'{"model_type": "\xc3"}', b'{"a":' * 50_000, b"NaN", b'"text"', b""]
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors.index.json"])
def test_a_document_of_nonsense_is_a_problem_of_that_document(hub, name, content):
    hub.add("org/m", {name: content})
    (model,) = library(hub).models()

    assert {problem.path for problem in model.problems} == {name}


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": ["llama"], "architectures": 7, "vision_config": "yes", "max_position_embeddings": "many"},
        {"model_type": {"a": 1}, "architectures": [None, {}], "auto_map": [1], "quantization": 4},
        {"model_type": "../../etc/passwd", "text_config": [], "quantization": {"bits": "four"}, "preprocessor_config": 1},
        {"model_type": "a\0b", "architectures": ["x"] * 1000, "context_length": 10**30, "audio_config": 0.5},
    ],
)
def test_a_configuration_of_the_wrong_types_is_described_all_the_same(hub, config):
    hub.add("org/m", {"config.json": config, "preprocessor_config.json": {"feature_extractor_type": [1]}})
    done = [mlxk(hub, *command.split(), "--json") for command in ("show org/m", "show org/m --files", "list", "health")]

    assert [(each.returncode, each.stderr) for each in done] == [(0, b"")] * 4


def test_a_name_that_is_not_utf8_is_printed_as_json_can_say_it(hub):
    folder = hub.add("org/m").parents[1]
    os.rename(folder, os.fsencode(hub.root) + b"/models--org--\xff\xfe")  # noqa: PTH104 - a name in bytes
    listed = json.loads(mlxk(hub, "list", "--json").stdout)["data"]["models"]

    assert [model["name"] for model in listed] == ["org/\udcff\udcfe"]
    assert mlxk(hub, "list").stdout.decode("ascii").splitlines()[2].startswith("org/\\udcff\\udcfe ")


def test_a_terminal_obeys_nothing_that_stands_in_a_name(hub):
    folder = hub.add("org/m").parents[1]
    folder.rename(hub.root / "models--org--\x1b[31mred\x07\n\u202etxt")
    shown = mlxk(hub, "list").stdout.decode("utf-8") + mlxk(hub, "health").stdout.decode("utf-8")

    assert "org/\\x1b[31mred\\x07" in shown
    assert [character for character in shown if ord(character) < 32 and character != "\n"] == []
    assert "\u202e" not in shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(hub, encoding):
    folder = hub.add("org/m").parents[1]
    folder.rename(hub.root / "models--org--größe-模型-🦙")
    printed = mlxk(hub, "list", "--json", PYTHONIOENCODING=encoding).stdout

    assert json.loads(printed.decode(encoding))["data"]["models"][0]["name"] == "org/größe-模型-🦙"


def test_a_name_that_the_terminal_cannot_show_is_escaped(hub):
    folder = hub.add("org/m").parents[1]
    folder.rename(hub.root / "models--org--模型")
    done = mlxk(hub, "list", PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"org/\\u6a21\\u578b" in done.stdout


def test_a_cache_that_is_deleted_while_it_is_listed(hub):
    for number in range(20):
        hub.add(f"org/m{number:02}")
    models = library(hub).models()
    first = next(models)
    for path in sorted(hub.root.rglob("*"), key=lambda path: -len(path.parts)):
        path.rmdir() if path.is_dir() else path.unlink()
    rest = list(models)

    assert first.healthy
    assert [[problem.code for problem in model.problems] for model in rest] == [["no_snapshot"]] * 19


def test_files_beside_the_models_are_not_models(hub):
    (hub.root / "models--").mkdir()
    (hub.root / "version.txt").write_text("1", encoding="utf-8")
    (hub.root / "models--org--file").write_text("no folder", encoding="utf-8")

    assert codes(hub, "org/file") == ["no_snapshot"]
    assert [model.name for model in library(hub).models()] == ["org/file"]


def test_a_cache_that_is_a_file_holds_nothing(hub):
    hub.root.rmdir()
    hub.root.write_text("no folder", encoding="utf-8")

    assert list(library(hub).models()) == []


def test_a_cache_that_cannot_be_read_is_refused_with_the_reason(hub):
    hub.root.rmdir()
    hub.root.symlink_to(hub.root.name)  # a link to itself: the one way in which root, too, may not read
    with pytest.raises(PermissionDenied, match="cannot be read"):
        list(library(hub).models())

    assert mlxk(hub, "list").returncode == 4


TOO_DEEP = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(60):  # each step is allowed; the whole path is longer than PATH_MAX, so no call on it works, for no user
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
"""


def test_a_folder_that_cannot_be_listed_is_a_problem_of_its_own(hub):
    snapshot = hub.add("org/m")
    subprocess.run([sys.executable, "-c", TOO_DEEP, str(snapshot)], timeout=60, check=True)
    found = codes(hub)
    subprocess.run(["rm", "-rf", str(snapshot / ("d" * 100))], timeout=60, check=True)  # pytest cannot

    assert found == ["unreadable"]
