"""``python -m qualification mint`` as a person meets it."""

import argparse
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from qualification.errors import MintError, UsageError
from qualification.mint import catalog, command, store


def _mint(*arguments):
    """The sub-command in this process: its exit code."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def empty_store(tmp_path, monkeypatch):
    monkeypatch.setenv("QUALIFICATION_MINT_ROOT", str(tmp_path))
    return tmp_path


def test_the_list_shows_every_model_in_aligned_columns_without_minting_it(empty_store, capsys):
    code = _mint("--list")

    head, *rows = capsys.readouterr().out.splitlines()
    assert code == 0
    assert head.split() == ["MODEL", "SET", "FAMILY", "PARAMETERS", "SIZE", "SHARDS", "KNOWN", "ANSWERS", "MINTED"]
    assert [row.split()[:2] for row in rows] == [
        *([recipe.model_id, "default"] for recipe in catalog.recipes()),
        *([recipe.model_id, "pathology"] for recipe in catalog.pathologies()),
    ]
    assert [row.index("no") for row in rows] == [head.index("MINTED")] * len(rows)
    assert list(empty_store.iterdir()) == []


def test_the_list_as_json_is_one_object(empty_store, capsys):
    code = _mint("--list", "--json", "--model", "mint/phi3-tiny")

    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert code == 0
    assert (model["model"], model["set"], model["shards"], model["path"]) == ("mint/phi3-tiny", "default", 3, None)


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        (("--set", "default", "--family", "mistral"), ["mint/mistral-tiny", "mint/mistral-tiny-4bit", "mint/mistral-tiny-mxfp4"]),
        (("--set", "pathology", "--family", "phi3"), ["mint-pathology/two-ends", "mint-pathology/two-ends-undeclared"]),
        (("--set", "pathology"), [recipe.model_id for recipe in catalog.pathologies()]),
        (("--model", "mint-pathology/two-ends", "--model", "mint/qwen3-tiny"), ["mint-pathology/two-ends", "mint/qwen3-tiny"]),
    ],
)
def test_a_set_a_family_or_ids_choose_models_of_both_sets(arguments, models, empty_store, capsys):
    code = _mint("--list", "--json", *arguments)

    listed = json.loads(capsys.readouterr().out)["models"]
    assert (code, [model["model"] for model in listed]) == (0, models)


def test_models_are_put_where_the_hugging_face_client_looks(minted, tmp_path, capsys):
    code = _mint("--model", "mint/qwen2-tiny", "--root", tmp_path)

    name, path = capsys.readouterr().out.split()
    revision = minted["mint/qwen2-tiny"].revision
    assert (code, name) == (0, "mint/qwen2-tiny")
    assert Path(path) == tmp_path / "hub" / "models--mint--qwen2-tiny" / "snapshots" / revision
    assert (Path(path) / "config.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--family", "lama"), f"No family is called 'lama'; the families are {', '.join(catalog.families())}."),
        (
            ("--set", "pathology", "--model", "mint/qwen3-tiny"),
            "No minted model is all that at once; `mint --list` shows the set and the family of each.",
        ),
        (("--model", "mint/phi-tiny"), "No minted model is called 'mint/phi-tiny'; did you mean 'mint/phi3-tiny'?"),
    ],
)
def test_an_unknown_name_is_one_sentence_with_the_valid_ones(arguments, sentence, empty_store, capsys):
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"):
        _mint(*arguments)

    code = _mint(*arguments, "--json")

    assert (code, json.loads(capsys.readouterr().out)) == (2, {"error": sentence})
    assert list(empty_store.iterdir()) == []


def test_a_usage_error_reaches_the_shell_as_exit_code_2_without_a_traceback():
    argv = [sys.executable, "-m", "qualification", "mint", "--family", "lama"]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"qualification mint: No family is called 'lama'; the families are {', '.join(catalog.families())}.\n"


def test_an_interrupt_ends_with_130_and_no_traceback(tmp_path):
    environment = {**os.environ, "QUALIFICATION_MINT_ROOT": str(tmp_path)}
    lock = store.lock(catalog.recipe("mint/llama-tiny"), tmp_path)
    lock.mkdir(parents=True)
    argv = [sys.executable, "-m", "qualification", "mint", "--model", "mint/llama-tiny"]
    with (lock / "mint.lock").open("a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as minter:
            waits = minter.stderr.readline()
            minter.send_signal(signal.SIGINT)
            out, error = minter.communicate(timeout=60)

    assert waits == f"Waiting for another process that mints {lock.name}.\n"
    assert (minter.returncode, out, error) == (130, "", "qualification mint: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]


PAIR = ("mint-pathology/two-ends-undeclared", "mint-pathology/text-stop")
CHOSEN = [word for model in PAIR for word in ("--model", model)]


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)


def test_several_models_are_made_in_processes_of_their_own_and_the_second_time_none_is(empty_store, two_cores, capsys):
    assert _mint(*CHOSEN) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*PAIR]
    made = {path.parent.name: path.stat().st_mtime_ns for path in empty_store.glob("*/minted.json")}

    assert _mint(*CHOSEN) == 0
    assert len(made) == 2
    assert {path.parent.name: path.stat().st_mtime_ns for path in empty_store.glob("*/minted.json")} == made


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo \'{"error": "It is not what it promises."}\'', "It is not what it promises."),
        ("echo oops >&2", "could not be minted: oops"),
    ],
)
def test_a_model_that_cannot_be_made_is_one_sentence(empty_store, two_cores, tmp_path, monkeypatch, script, said):
    maker = tmp_path / "python"
    maker.write_text(f"#!/bin/sh\n{script}\nexit 1\n", encoding="utf-8")
    maker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(maker))

    with pytest.raises(MintError, match=re.escape(said)):
        _mint(*CHOSEN)


def test_an_interrupt_ends_those_who_make_several_too(tmp_path):
    environment = {**os.environ, "QUALIFICATION_MINT_ROOT": str(tmp_path)}
    locks = [store.lock(catalog.recipe(model), tmp_path) for model in PAIR]
    with contextlib.ExitStack() as stack:
        for lock in locks:
            lock.mkdir(parents=True)
            fcntl.flock(stack.enter_context((lock / "mint.lock").open("a", encoding="utf-8")), fcntl.LOCK_EX)
        argv = [sys.executable, "-m", "qualification", "mint", *CHOSEN]
        minter = stack.enter_context(
            subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        watched = psutil.Process(minter.pid)
        deadline = time.monotonic() + 60
        while not (makers := watched.children()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        minter.send_signal(signal.SIGINT)
        out, error = minter.communicate(timeout=60)
        _, alive = psutil.wait_procs(makers, timeout=10)

    assert (minter.returncode, out, error, alive) == (130, "", "qualification mint: interrupted\n", [])
