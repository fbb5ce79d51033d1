"""Every problem of a snapshot's files is found, each by its code."""

from __future__ import annotations

import pytest

from mlxk import cache, contents
from mlxk.health import problems

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def codes(hub, *, images=False):
    held = contents.read(cache.current(hub.root, "org/m"))
    return [problem.code for problem in problems(held, reads_text=True, reads_images=images)]


def test_a_whole_model_has_no_problem(hub):
    hub.add("org/m")

    assert codes(hub) == []


def test_a_whole_sharded_model_has_no_problem(hub):
    index = {"weight_map": {"a": FIRST, "b": SECOND}}
    hub.add("org/m", {"model.safetensors": None, FIRST: hub.weights(), SECOND: hub.weights(), INDEX: index})

    assert codes(hub) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": None}, ["config_missing"]),
        ({"config.json": b"{"}, ["config_invalid"]),
        ({"config.json": b"[1]"}, ["config_invalid"]),
        ({"config.json": b"{}"}, ["config_invalid"]),
        ({"config.json": b"[" * 100_000}, ["config_invalid"]),
        ({"model.safetensors": None}, ["weights_missing"]),
        ({"model.safetensors": b""}, ["weights_empty"]),
        ({"model.safetensors": b"not weights at all"}, ["weights_invalid"]),
        ({"model.safetensors": POINTER}, ["lfs_pointer"]),
        ({"tokenizer.json": POINTER}, ["lfs_pointer"]),
        ({"tokenizer.json": None}, ["tokenizer_missing"]),
        ({"tokenizer.json": None, "tokenizer_config.json": None}, ["tokenizer_missing"]),
        ({"tokenizer.json": b'{"model": {"voc'}, ["tokenizer_invalid"]),
        ({"tokenizer.json": b""}, ["tokenizer_invalid"]),
        ({"tokenizer_config.json": b"null"}, ["tokenizer_invalid"]),
        ({"model.safetensors.partial": b"x"}, ["partial_file"]),
        ({"deep/down/x.tmp": b"x"}, ["partial_file"]),
        ({INDEX: {"weight_map": {}}}, ["index_invalid"]),
        ({INDEX: b"{"}, ["index_invalid"]),
        ({INDEX: {"weight_map": {"a": FIRST, "b": "model.safetensors"}}}, ["shard_missing"]),
        ({"config.json": None, "model.safetensors": None}, ["config_missing", "weights_missing"]),
    ],
)
def test_problem(hub, files, expected):
    hub.add("org/m", files)

    assert codes(hub) == expected


def test_a_tokenizer_of_another_kind_will_do_where_nothing_says_it_is_a_fast_one(hub):
    hub.add("org/m", {"tokenizer.json": None, "tokenizer_config.json": None, "tokenizer.model": b"x"})

    assert codes(hub) == []


@pytest.mark.parametrize("lost", [1, 4])
def test_weights_shorter_than_their_header_says_are_truncated(hub, lost):
    hub.add("org/m", {"model.safetensors": hub.weights(tensors=3)[:-lost]})

    assert codes(hub) == ["weights_truncated"]


def test_weights_longer_than_their_header_says_are_invalid(hub):
    hub.add("org/m", {"model.safetensors": hub.weights() + b"x"})

    assert codes(hub) == ["weights_invalid"]


@pytest.mark.parametrize(
    ("content", "expected"), [(b"GGUF rest", []), (b"GGML rest", ["weights_invalid"]), (b"", ["weights_empty"])]
)
def test_a_gguf_file_begins_with_its_name(hub, content, expected):
    hub.add("org/m", {"model.safetensors": None, "m.gguf": content})

    assert codes(hub) == expected


def test_shards_numbered_for_different_sets_are_inconsistent(hub):
    other = "model-00001-of-00003.safetensors"
    hub.add("org/m", {"model.safetensors": None, FIRST: hub.weights(), SECOND: hub.weights(), other: hub.weights()})

    assert codes(hub) == ["shards_inconsistent", "shard_missing", "shard_missing", "index_missing"]


def test_weights_further_down_count_only_where_there_are_none_at_the_top(hub):
    hub.add("org/m", {"onnx/broken.safetensors": b"x"})
    at_the_top = codes(hub)
    (hub.root / "models--org--m" / "snapshots" / hub.commit / "model.safetensors").unlink()

    assert (at_the_top, codes(hub)) == ([], ["weights_invalid"])


def test_weights_cut_inside_their_header_are_invalid(hub):
    hub.add("org/m", {"model.safetensors": hub.weights()[:30]})

    assert codes(hub) == ["weights_invalid"]


def test_numbered_shards_with_one_missing_and_no_index_are_two_problems(hub):
    hub.add("org/m", {"model.safetensors": None, FIRST: hub.weights()})

    assert codes(hub) == ["shard_missing", "index_missing"]


def test_a_link_to_nothing_is_a_problem_of_its_own(hub):
    (hub.add("org/m") / "extra.json").symlink_to("../../blobs/gone")

    assert codes(hub) == ["link_broken"]


def test_a_folder_without_snapshots_says_only_that(hub):
    (hub.root / "models--org--m" / "refs").mkdir(parents=True)

    assert codes(hub) == ["no_snapshot"]


def test_images_need_a_preprocessor(hub):
    hub.add("org/m")

    assert codes(hub, images=True) == ["preprocessor_missing"]


def test_a_blob_that_two_names_share_is_counted_once(hub):
    snapshot = hub.add("org/m")
    (snapshot / "again.safetensors").symlink_to("model.safetensors")
    held = contents.read(cache.current(hub.root, "org/m"))

    assert held.size_bytes == sum(path.stat().st_size for path in snapshot.iterdir() if not path.is_symlink())
