"""What is in the files of transformers' models is read again when one of them changes, and only then."""

import functools
import os
from pathlib import Path

import pytest

from mlxk.engines import exports


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder of models, and a reader of it as a process has one that has just begun, with how often it has read."""
    models = tmp_path / "models"
    (models / "a").mkdir(parents=True)
    (models / "a/modeling_a.py").write_text("class A: ...")
    monkeypatch.setattr(exports, "_file", lambda prefix: tmp_path / "kept" / f"of-transformers{prefix}")
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    times = []

    def read(prefix=""):
        @exports.remembering(functools.lru_cache)
        def define_import_structure(folder, prefix=None):
            times.append(folder)
            names = [f"{prefix or ''}{path.name}" for path in Path(folder, "a").iterdir()]
            return {"a": {frozenset({"torch"}): {name: {"A"} for name in names}}}

        return define_import_structure(models, prefix=prefix) if prefix else define_import_structure(str(models))

    return models, read, times


def test_the_next_process_is_told_the_same_without_reading(reader):
    _, read, times = reader

    assert read() == read() == {"a": {frozenset({"torch"}): {"modeling_a.py": {"A"}}}}
    assert len(times) == 1


def test_names_that_begin_otherwise_are_others(reader):
    _, read, times = reader

    assert read("of.") == read("of.") == {"a": {frozenset({"torch"}): {"of.modeling_a.py": {"A"}}}}
    assert read() == read() == {"a": {frozenset({"torch"}): {"modeling_a.py": {"A"}}}}
    assert len(times) == 2


@pytest.mark.parametrize("change", ["touched", "grown", "new", "gone"])
def test_a_changed_file_is_read_again(reader, change):
    models, read, times = reader
    read()
    file = models / "a/modeling_a.py"
    match change:
        case "touched":
            os.utime(file, ns=(1, 1))
        case "grown":
            kept = file.stat().st_mtime_ns
            file.write_text("class A: ...  # and more")
            os.utime(file, ns=(kept, kept))
        case "new":
            (models / "a/modeling_b.py").write_text("class B: ...")
        case "gone":
            file.rename(models / "modeling_a.py")

    assert next(iter(read()["a"].values())).keys() == {path.name for path in (models / "a").iterdir()}
    assert len(times) == 2


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00", b"N"])
def test_what_is_not_ours_is_written_anew(reader, tmp_path, content):
    _, read, times = reader
    told = read()
    (tmp_path / "kept/of-transformers").write_bytes(content)

    assert read() == read() == told
    assert len(times) == 2


def test_where_nothing_can_be_written_it_is_read_each_time(reader, tmp_path):
    _, read, times = reader
    (tmp_path / "kept").write_text("in the way")

    assert read() == read()
    assert len(times) == 2


def test_a_user_who_wants_no_bytecode_gets_none_of_this_either(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    _, read, times = reader

    assert read() == read()
    assert (len(times), (tmp_path / "kept").exists()) == (2, False)


def test_other_functions_have_the_cache_that_they_asked_for():
    lru_cache = exports.remembering(functools.lru_cache)

    assert lru_cache(len).cache_info().maxsize == 128
    assert lru_cache(maxsize=3)(len).cache_info().maxsize == 3
