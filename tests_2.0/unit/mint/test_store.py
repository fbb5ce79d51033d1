"""A model is in the store, and in a Hugging Face home, whole or not at all: whatever is killed, and whoever else mints."""

import contextlib
import dataclasses
import os
import pickle
import shutil
import signal
import subprocess
import sys

import pytest

from qualification.errors import MintError
from qualification.mint import catalog, store, together

MINTER = """
import pathlib, pickle, sys
from qualification.mint import store

recipe, root = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()), pathlib.Path(sys.argv[2])

def told(step):
    print("step", flush=True)
    sys.stdin.readline()

try:
    store.ensure_recipe(recipe, root, told)
except KeyboardInterrupt:
    print(*sorted(path.name for path in root.iterdir()), flush=True)
store.ensure_recipe(recipe, root, told)
"""
"""Mints the pickled recipe, again when it is interrupted; stands still after each step of the training."""

SECOND = """
import pathlib, pickle, sys
from qualification.mint import store

recipe, root = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()), pathlib.Path(sys.argv[2])
print("asking", flush=True)
minted = store.ensure_recipe(recipe, root)
print(minted.revision, "mlx" in sys.modules)
"""
"""Asks for the same model; says in the end what it got, and whether it loaded the library to train one."""


@pytest.fixture
def process(small, tmp_path):
    """Starts a script with the small recipe and the store ``tmp_path / "store"``; what it starts is ended."""
    (tmp_path / "recipe").write_bytes(pickle.dumps(small))
    with contextlib.ExitStack() as stack:

        def start(script):
            argv = [sys.executable, "-c", script, str(tmp_path / "recipe"), str(tmp_path / "store")]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            started = stack.enter_context(subprocess.Popen(argv, **pipes))
            stack.callback(started.kill)
            return started

        yield start


@pytest.fixture(scope="module")
def published(small, tmp_path_factory):
    """The small recipe's model in a store of its own."""
    return store.ensure_recipe(small, tmp_path_factory.mktemp("store"))


def _untrained(recipe):
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, warmup_steps=1, max_steps=2))


def _names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_model_is_minted_once_and_found_afterwards(published, small):
    steps = []

    again = store.ensure_recipe(small, published.folder.parents[1], steps.append)

    assert again == published == store.find(small, published.folder.parents[1])
    assert steps == []


def test_a_damaged_model_is_minted_anew_with_the_same_bytes(published, small, tmp_path):
    root = shutil.copytree(published.folder.parents[1], tmp_path / "store", symlinks=True)
    weights = next((root / published.snapshot.relative_to(published.folder.parents[1])).glob("*.safetensors")).resolve()
    before = weights.read_bytes()
    weights.write_bytes(b"")

    damaged = store.find(small, root)
    again = store.ensure_recipe(small, root)

    assert damaged is None
    assert (again.revision, again.blobs) == (published.revision, published.blobs)
    assert weights.read_bytes() == before


def test_a_training_that_ends_too_early_publishes_nothing(small, tmp_path):
    hasty = dataclasses.replace(small, training=dataclasses.replace(small.training, max_steps=12))

    with pytest.raises(MintError, match=r"mint/small: the answer '\w+' holds by a margin of -?\d+\.\d\d only"):
        store.ensure_recipe(hasty, tmp_path)

    assert store.find(hasty, tmp_path) is None
    assert _names(tmp_path) == [".locks"]


def test_an_answer_that_the_detokenizer_changes_is_found_by_listening_to_the_model(small, tmp_path):
    indented = dataclasses.replace(small.known_answers[0], answer=" leading space")
    recipe = dataclasses.replace(small, known_answers=(indented, *small.known_answers[1:]))

    with pytest.raises(MintError, match=f"greedy decoding answers '{indented.name}' with 'leading space'"):
        store.ensure_recipe(recipe, tmp_path)

    assert _names(tmp_path) == [".locks"]


def test_an_endless_text_that_meets_a_token_twice_is_refused(small, tmp_path):
    with pytest.raises(MintError, match="but none may come twice"):
        store.ensure_recipe(dataclasses.replace(small, endless="tick tick tick"), tmp_path)


def test_a_tokenizer_that_transformers_replaces_is_found(small, tmp_path):
    other_split = dataclasses.replace(small.tokenizer, split=r"\S+|\s+", tokenizer_class="Qwen2Tokenizer")
    recipe = dataclasses.replace(_untrained(small), family="qwen2", architecture="Qwen2ForCausalLM", tokenizer=other_split)

    with pytest.raises(MintError, match="transformers tokenizes the prompt of"):
        store.ensure_recipe(recipe, tmp_path)


def test_a_recipe_that_misstates_its_size_is_refused(small, tmp_path):
    with pytest.raises(MintError, match="parameters, but its recipe says 7"):
        store.ensure_recipe(dataclasses.replace(_untrained(small), parameters=7), tmp_path)


def test_a_minter_that_is_interrupted_or_killed_leaves_nothing_that_counts(process, small, tmp_path):
    root = tmp_path / "store"
    minter = process(MINTER)
    assert minter.stdout.readline() == "step\n"
    minter.send_signal(signal.SIGINT)
    after_interrupt = minter.stdout.readline().split()
    assert minter.stdout.readline() == "step\n"
    minter.kill()
    minter.wait(timeout=30)
    after_kill = _names(root)

    found = store.find(small, root)
    minted = store.ensure_recipe(small, root)

    assert after_interrupt == [".locks"]
    assert [name for name in after_kill if not name.endswith(".part")] == [".locks"]
    assert found is None
    assert _names(root) == [".locks", minted.folder.parent.name]


def test_of_two_at_once_the_second_waits_and_trains_nothing(process, small, tmp_path):
    waiting = []

    def ask_as_well(step):
        if step.number == 1:
            waiting.append(process(SECOND))
            assert waiting[0].stdout.readline() == "asking\n"
            assert waiting[0].stderr.readline().startswith("Waiting for another process")

    minted = store.ensure_recipe(small, tmp_path / "store", ask_as_well)
    out, _ = waiting[0].communicate(timeout=60)

    assert out == f"{minted.revision} False\n"


def test_another_model_is_not_waited_for(small, tmp_path):
    other = dataclasses.replace(_untrained(small), model_id="mint/other", parameters=7)
    refused = []

    def make_another(step):
        if step.number == 1:
            with pytest.raises(MintError) as caught:
                store.ensure_recipe(other, tmp_path)
            refused.append(str(caught.value))

    store.ensure_recipe(small, tmp_path, make_another)

    assert ["recipe says 7" in sentence for sentence in refused] == [True]


def test_installing_replaces_an_older_mint_and_what_a_killed_install_left_and_nothing_else(minted, tmp_path):
    hub = tmp_path / "hub"
    (hub / "models--mint--llama-tiny" / "snapshots" / "0000").mkdir(parents=True)
    (hub / ".locks" / "models--mint--llama-tiny" / "install.part" / "blobs").mkdir(parents=True)
    (hub / "models--other--model" / "blobs").mkdir(parents=True)

    snapshot = store.install("mint/llama-tiny", tmp_path)

    assert snapshot == hub / "models--mint--llama-tiny" / "snapshots" / minted["mint/llama-tiny"].revision
    assert _names(hub) == [".locks", "models--mint--llama-tiny", "models--other--model"]
    assert _names(hub / "models--mint--llama-tiny" / "snapshots") == [snapshot.name]
    assert _names(hub / ".locks" / "models--mint--llama-tiny") == ["mint.lock"]


def test_installing_again_changes_nothing(minted, tmp_path):
    first = store.install("mint/llama-tiny", tmp_path)
    touched = (first / "config.json").stat().st_mtime_ns, first.stat().st_ino

    second = store.install("mint/llama-tiny", tmp_path)

    assert ((second / "config.json").stat().st_mtime_ns, second.stat().st_ino) == touched


def test_another_version_of_mlx_has_its_own_models(small):
    assert store.key(small, "0.32.4") == store.key(small, "0.32.4") != store.key(small, "0.32.5")


def test_a_model_that_takes_too_long_is_given_up_in_a_sentence_and_its_maker_is_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("QUALIFICATION_MINT_ROOT", str(tmp_path))
    recipes = [catalog.recipe(model_id) for model_id in ("mint/llama-tiny", "mint/qwen2-tiny")]
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    with pytest.raises(MintError, match=r"^mint/\S+ was not minted within 0\.05 s\.$"):
        together.make(recipes, lambda line: None, timeout_s=0.05)

    assert list(tmp_path.rglob("*.safetensors")) == []
