"""convert: a new workspace from another, which is only read; nothing is made where something is missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mlxk import convert
from mlxk.errors import ConversionFailed
from mlxk.library import Library
from qualification import caches
from qualification.mint import store
from qualification.mint.pictures import Picture, draw

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def test_the_index_is_written_anew_and_everything_else_is_the_same(person, model, tell, tmp_path):
    wanted = tell(model)
    (model / INDEX).write_text('{"weight_map": {}}', encoding="utf-8")
    broken = tell(model)
    before = person.run("health", str(model), "--json").data["summary"]["healthy_count"]
    data = person.run("convert", str(model), str(tmp_path / "mended"), "--repair-index", "--json").data
    mended = tell(tmp_path / "mended")

    assert (before, data["health_status"], data["mode"]) == (0, "healthy", "repair-index")
    assert json.loads(mended[INDEX])["weight_map"] == json.loads(wanted[INDEX])["weight_map"]
    assert json.loads(mended[INDEX])["metadata"]["total_size"] == 800_000
    assert {name: raw for name, raw in mended.items() if name not in (INDEX, ".mlxk_workspace.json")} == {
        name: raw for name, raw in broken.items() if name != INDEX
    }
    assert tell(model) == broken
    assert list(tmp_path.glob(".mlxk2_temp_*")) == []


def test_what_was_made_is_a_clean_workspace(person, model, tmp_path):
    person.run("convert", str(model), str(tmp_path / "mended"), "--repair-index")
    shown = person.run("show", str(tmp_path / "mended"), "--json").data["model"]
    sentinel = json.loads((tmp_path / "mended" / ".mlxk_workspace.json").read_bytes())

    assert shown["clean"] is True
    assert (sentinel["operation"], sentinel["mode"], sentinel["managed"]) == ("convert", "repair-index", True)


def drop_shard(model):
    (model / SECOND).unlink()


def drop_shard_and_index(model):
    (model / SECOND).unlink()
    (model / INDEX).unlink()


def lose_tensor(model):
    (model / SECOND).write_bytes((model / FIRST).read_bytes().replace(b'"t0"', b'"t9"'))


def double_tensor(model):
    (model / SECOND).write_bytes((model / FIRST).read_bytes())


def cut(model):
    (model / SECOND).write_bytes((model / SECOND).read_bytes()[:-1])


def no_header(model):
    (model / SECOND).write_bytes(b"not at all safetensors")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (drop_shard, "t1"),
        (drop_shard_and_index, SECOND),
        (lose_tensor, "t1"),
        (double_tensor, "t0 is in"),
        (cut, "400,113 bytes"),
        (no_header, "cannot be read"),
    ],
)
def test_no_index_hides_what_is_missing(person, model, tmp_path, damage, says):
    damage(model)
    before = set(tmp_path.iterdir())
    ended = person.run("convert", str(model), str(tmp_path / "mended"), "--repair-index", "--json")

    assert (ended.code, ended.error["type"]) == (1, "conversion_failed")
    assert says in ended.error["message"]
    assert set(tmp_path.iterdir()) == before


def test_what_is_not_whole_is_made_only_when_told_to(person, model, tmp_path):
    (model / "tokenizer.json").unlink()
    refused = person.run("convert", str(model), str(tmp_path / "mended"), "--repair-index", "--json")
    there = (tmp_path / "mended").exists()
    made = person.run("convert", str(model), str(tmp_path / "mended"), "--repair-index", "--skip-health", "--json").data

    assert (refused.code, refused.error["type"], there) == (1, "HealthCheckFailed", False)
    assert made["health_status"] == "unhealthy"


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (("{model}", "{tmp}/new"), 2, "InvalidArgumentError"),
        (("{model}", "{tmp}/new", "--repair-index", "--quantize", "4"), 2, "InvalidArgumentError"),
        (("{model}", "{tmp}/new", "--quantize", "5"), 2, "CommandError"),
        (("{model}", "{model}", "--repair-index"), 2, "InvalidTargetError"),
        (("{model}", "{model}/new", "--repair-index"), 2, "InvalidTargetError"),
        (("{tmp}/nowhere", "{tmp}/new", "--repair-index"), 3, "model_not_found"),
    ],
)
def test_what_cannot_be_done_is_refused(person, model, tell, tmp_path, arguments, code, kind):
    before = tell(tmp_path)
    ended = person.run("convert", *(word.format(model=model, tmp=tmp_path) for word in arguments), "--json")

    assert (ended.code, ended.error["type"]) == (code, kind)
    assert tell(tmp_path) == before


def test_a_model_of_the_cache_is_cloned_first(local_hub, person, model, tmp_path):
    local_hub.store.import_folder("acme/tiny", model)
    person.run("pull", "acme/tiny")
    ended = person.run("convert", "acme/tiny", str(tmp_path / "new"), "--repair-index", "--json")

    assert (ended.code, ended.error["type"]) == (4, "workspace_model")


@pytest.fixture(scope="module")
def minted():
    found = store.ensure(["mint/llama-tiny"])[0]
    return found.folder / "snapshots" / found.revision


def test_a_quantized_model_is_smaller_and_runs(person, minted, tmp_path):
    target = tmp_path / "small"
    first = person.start("convert", str(minted), str(target), "--quantize", "8", "--q-group-size", "32", "--json")
    out, err = first.communicate(timeout=100)
    data = json.loads(out)["data"]
    config = json.loads((target / "config.json").read_bytes())
    command = [sys.executable, "-m", "mlxk", "run", str(target), "What color is the sky?", "--temperature", "0"]
    run = subprocess.run(command, env=person.environment(), capture_output=True, text=True, timeout=100, check=False)
    again = person.run("convert", str(target), str(tmp_path / "smaller"), "--quantize", "4", "--json")

    assert (first.returncode, err, data["bits"], data["health_status"]) == (0, "", 8, "healthy")
    assert (config["quantization"]["bits"], config["quantization"]["group_size"]) == (8, 32)
    assert sum(path.stat().st_size for path in target.glob("*.safetensors")) < 0.8 * (minted / "model.safetensors").stat().st_size
    assert (run.returncode, run.stdout) == (0, "The sky is blue.\n")
    assert (again.code, again.error["type"]) == (4, "not_convertible")


def test_an_interrupt_that_a_library_takes_for_a_mistake_is_an_interrupt(person, minted, tmp_path, interrupted_amid):
    first = interrupted_amid("huggingface_hub._commit_api")
    converting = person.start("convert", str(minted), str(tmp_path / "new"), "--quantize", "4", "--json", first=first)
    out, err = converting.communicate(timeout=60)

    assert (converting.returncode, json.loads(out)["error"]["type"], err) == (130, "interrupted", "")
    assert list(tmp_path.glob("*new*")) == []


def test_a_quantized_model_with_eyes_sees_what_it_saw(person, tmp_path):
    found = store.ensure(["mint/qwen2-vl-tiny"])[0]
    draw(Picture("red", "circle")).save(tmp_path / "red.png")
    before = caches.fingerprint(found.folder)
    target = tmp_path / "small"
    converting = person.start("convert", str(found.snapshot), str(target), "--quantize", "4", "--json")
    out, err = converting.communicate(timeout=100)
    looking = person.start("run", str(target), "Describe the image.", "--image", str(tmp_path / "red.png"), "--temperature", "0")
    said, _ = looking.communicate(timeout=100)

    assert (converting.returncode, err) == (0, "")
    assert caches.changes(before, caches.fingerprint(found.folder)) == ()
    sizes = [sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1000 for folder in (target, found.snapshot)]
    assert "{:.1f}KB of weights instead of {:.1f}KB".format(*sizes) in json.loads(out)["data"]["message"]
    assert json.loads((target / "config.json").read_bytes())["quantization"]["bits"] == 4
    assert said.strip() == "A red circle on white."


def test_weights_that_did_not_become_smaller_were_not_quantized(person, model):
    source = Library.of_user().find(str(model))

    with pytest.raises(ConversionFailed, match="groups of 64"):
        convert.check_smaller(source, model, 64)
