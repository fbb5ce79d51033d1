"""mlxk with a real model: tiny, minted here, and trained until its answers are exact."""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request

import psutil
import pytest

from mlxk import chat, engines
from mlxk.compatibility import MlxLm
from mlxk.engines import Finished, Generation, Sampling, Text, complete
from mlxk.errors import ContextLengthExceeded, LoadFailed
from mlxk.library import Library
from qualification.mint import store
from qualification.mint.catalog import known_answers

MODEL = "mint/llama-tiny"
GREEDY = Sampling(temperature=0)
STORY = "Tell me a story."


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    store.install(MODEL, home)
    return home


@pytest.fixture(scope="module")
def library(home):
    return Library(home / "hub", MlxLm.installed())


@pytest.fixture(scope="module")
def engine(library):
    return engines.load(library.find(MODEL))


def never():
    return False


def ask(engine, content, **options):
    sampling = options.pop("sampling", GREEDY)
    request = Generation((chat.Message("user", content),), sampling=sampling, **options)
    return list(engine.stream(request, never))


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, Text))


@pytest.mark.parametrize("known", known_answers(MODEL), ids=lambda known: known.name)
def test_known_answer_arrives_whole_and_ends_by_itself(engine, known):
    messages = tuple(chat.Message(message.role, message.content) for message in known.messages)
    events = list(engine.stream(Generation(messages, sampling=GREEDY), never))

    assert text_of(events) == known.answer
    assert isinstance(events[-1], Finished)
    assert events[-1].finish_reason == "stop"
    assert not any("\ufffd" in event.text for event in events if isinstance(event, Text))


def test_the_batch_answer_is_the_stream_joined(engine):
    joined = text_of(ask(engine, STORY))

    assert complete(iter(ask(engine, STORY))).text == joined


@pytest.mark.parametrize("stop", ["lighthouse", "ll lig", "ght out", "e", "nowhere in the story"])
def test_a_stop_string_ends_the_answer_wherever_tokens_begin_and_end(engine, stop):
    whole = text_of(ask(engine, STORY))
    shown = text_of(ask(engine, STORY, stop=(stop,)))

    assert shown == whole.partition(stop)[0]


def test_usage_counts_the_tokens_of_prompt_and_answer(engine):
    finished = ask(engine, STORY, max_tokens=5)[-1]

    assert (finished.usage.completion_tokens, finished.finish_reason) == (5, "length")
    assert finished.usage.prompt_tokens > 5
    assert finished.usage.total_tokens == finished.usage.prompt_tokens + 5


def test_the_same_seed_gives_the_same_text_whatever_was_asked_before(engine):
    wild = Sampling(temperature=2, top_p=1, seed=7)
    first = text_of(ask(engine, STORY, sampling=wild, max_tokens=40))
    ask(engine, "Hello!", sampling=Sampling(temperature=2))
    other = text_of(ask(engine, STORY, sampling=Sampling(temperature=2, top_p=1, seed=8), max_tokens=40))

    assert text_of(ask(engine, STORY, sampling=wild, max_tokens=40)) == first != other


@pytest.mark.parametrize("only", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}], ids=["top-k", "min-p", "top-p"])
def test_whatever_leaves_the_likeliest_token_only_is_greedy(engine, only):
    unknown = "Name a river."  # so that the model is in doubt
    hot = {"temperature": 2, "top_p": 1, "seed": 3}
    free, bound = (text_of(ask(engine, unknown, sampling=Sampling(**(hot | extra)), max_tokens=20)) for extra in ({}, only))

    assert bound == text_of(ask(engine, unknown, max_tokens=20)) != free


def test_a_repetition_penalty_changes_what_a_model_repeats(engine):
    heavy = Sampling(temperature=0, repetition_penalty=10)

    assert text_of(ask(engine, STORY, sampling=heavy, max_tokens=60)) != text_of(ask(engine, STORY, max_tokens=60))


def test_a_cancelled_request_ends_without_a_finish(engine):
    calls = iter([False] * 6)
    request = Generation((chat.Message("user", STORY),), sampling=GREEDY)
    events = list(engine.stream(request, lambda: next(calls, True)))

    assert not isinstance(events[-1], Finished)
    assert complete(iter(events)) is None


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(engine):
    with pytest.raises(ContextLengthExceeded) as caught:
        ask(engine, "word " * 20_000)

    assert caught.value.details["prompt_tokens"] > caught.value.details["context_length"] > 0


def test_a_template_that_refuses_a_conversation_is_a_sentence(home, tmp_path):
    snapshot = store.install(MODEL, tmp_path)
    edit(snapshot / "tokenizer_config.json", chat_template="{{ raise_exception('no such roles') }}")
    (snapshot / "chat_template.jinja").unlink(missing_ok=True)
    done = mlxk(tmp_path, "run", MODEL, "Hello!")

    assert done.returncode == 1
    assert done.stderr == "mlxk run: The model's chat template does not take this conversation: no such roles\n"


def test_an_end_token_that_no_config_names_still_ends_the_answer(tmp_path):
    snapshot = store.install(MODEL, tmp_path)
    edit(snapshot / "config.json", eos_token_id=None)
    (snapshot / "generation_config.json").unlink(missing_ok=True)
    edit(snapshot / "tokenizer_config.json", eos_token="<|begin_of_text|>")

    assert mlxk(tmp_path, "run", MODEL, STORY, "--temperature", "0").stdout.endswith("every ship was safe.\n")


def test_an_end_token_spelled_out_in_ordinary_tokens_is_not_shown_either(tmp_path):
    snapshot = store.install(MODEL, tmp_path)
    renamed = (snapshot / "tokenizer.json").read_text(encoding="utf-8").replace("<|eom_id|>", "lighthouse")
    edit(snapshot / "tokenizer.json", **json.loads(renamed))
    engine = engines.load(Library(tmp_path / "hub", MlxLm.installed()).find(MODEL))

    assert text_of(ask(engine, STORY)) == "Once there was a small "


def test_an_answer_ends_where_the_context_does(tmp_path):
    edit(store.install(MODEL, tmp_path) / "config.json", max_position_embeddings=30)
    engine = engines.load(Library(tmp_path / "hub", MlxLm.installed()).find(MODEL))
    finished = ask(engine, STORY, max_tokens=1000)[-1]

    assert (finished.usage.total_tokens, finished.finish_reason) == (30, "length")


@pytest.mark.parametrize("wrong", [{"hidden_size": 32}, {"num_attention_heads": 0}], ids=json.dumps)
def test_weights_that_do_not_fit_the_config_fail_to_load_with_a_sentence(tmp_path, wrong):
    snapshot = store.install(MODEL, tmp_path)
    edit(snapshot / "config.json", **wrong)

    with pytest.raises(LoadFailed, match=f"{MODEL} cannot be loaded: "):
        engines.load(Library(tmp_path / "hub", MlxLm.installed()).find(MODEL))


def test_a_model_that_was_unloaded_leaves_nothing_that_waits_to_be_computed(library):
    """Read off MLX's own drawing of what the next random number still depends on."""
    import mlx.core as mx

    def depends_on():
        drawing = io.StringIO()
        mx.export_to_dot(drawing, mx.random.state[0])
        return drawing.getvalue().count("label")

    loaded = engines.load(library.find(MODEL))
    while_loaded = depends_on()
    loaded.close()

    assert while_loaded > 0
    assert depends_on() == 0


def test_a_model_that_was_unloaded_takes_with_it_what_is_free_between_what_is_used(library):
    """Where the C library keeps it until it is asked, as glibc does."""
    loaded = engines.load(library.find(MODEL))
    used = [bytes(20_000) for _ in range(5_000)]
    del used[::2]
    before = psutil.Process().memory_info().rss
    loaded.close()

    assert before - psutil.Process().memory_info().rss > 30e6 or not hasattr(ctypes.CDLL(None), "malloc_trim")


LOOKED_THROUGH = """\
import gc

from mlxk import engines
from mlxk.library import Library

library = Library.of_user()
engines.load(library.admit(library.locate("mint/llama-tiny")))
print(len(gc.get_objects()))
"""


def test_what_importing_made_is_not_looked_through_for_garbage_with_every_model(home):
    argv = [sys.executable, "-c", LOOKED_THROUGH]
    done = subprocess.run(argv, env={**os.environ, "HF_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=True)

    assert int(done.stdout) < 20_000  # importing makes four times as many


class Told(ctypes.Structure):
    """What the C library says of its memory."""

    _fields_ = (("sizes", ctypes.c_size_t * (5 if sys.platform == "darwin" else 10)),)


def in_use():
    """Bytes that were taken from the C library and not given back: macOS's mstats.bytes_used, glibc's mallinfo2."""
    library = ctypes.CDLL(None)
    tell = library.mstats if sys.platform == "darwin" else library.mallinfo2
    tell.restype = Told
    sizes = tell().sizes
    return sizes[2] if sys.platform == "darwin" else sizes[7] + sizes[4]  # uordblks and hblkhd


def test_the_words_that_a_model_was_asked_with_are_forgotten_with_it(library):
    words = Generation(" ".join(f"word{number}" for number in range(4_000)))

    def take_its_turn():
        loaded = engines.load(library.find(MODEL))
        with pytest.raises(ContextLengthExceeded):
            list(loaded.stream(words, never))
        loaded.close()

    take_its_turn()
    before = in_use()
    take_its_turn()

    assert in_use() - before < 200_000  # these words take a million


def test_a_repositorys_own_code_is_not_run_whatever_stdin_says(tmp_path, monkeypatch):
    snapshot = store.install(MODEL, tmp_path)
    ran, stdin = tmp_path / "ran", io.StringIO("y\n" * 9)
    edit(snapshot / "tokenizer_config.json", tokenizer_class="Theirs", auto_map={"AutoTokenizer": ["theirs.Theirs", None]})
    (snapshot / "theirs.py").write_text(f"open({str(ran)!r}, 'w')\nclass Theirs: pass\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(LoadFailed):
        engines.load(Library(tmp_path / "hub", MlxLm.installed()).find(MODEL))

    assert (ran.exists(), stdin.tell()) == (False, 0)


def test_on_a_cpu_no_compiler_is_called_to_answer(home, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("MLX_DISABLE_COMPILE", raising=False)
    done = mlxk(home, "run", "llama", STORY, "--max-tokens", "2")

    assert done.returncode == 0
    assert list(tmp_path.rglob("*.cpp")) == []


COUNT_WHAT_IS_READ = """\
import collections, sys

from pathlib import Path
from mlxk.engines import exports

exports._file = lambda prefix: Path(sys.argv[1] + prefix)
sys.dont_write_bytecode = False
opened = collections.Counter()
sys.addaudithook(lambda event, about: event == "open" and opened.update([str(about[0])]))

import mlxk.engines.text

read = {path: times for path, times in opened.items() if "/transformers/models/" in path and path.endswith(".py")}
print(len(read), sum(read.values()))
"""


def test_the_code_of_all_models_of_transformers_is_read_once_and_by_the_next_process_not_at_all(tmp_path):
    argv = [sys.executable, "-c", COUNT_WHAT_IS_READ, str(tmp_path / "kept")]
    first, second = (
        [int(count) for count in subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.split()]
        for _ in range(2)
    )
    files, reads = first

    assert files > 1000
    assert reads < 1.1 * files  # some are read again by who imports them
    assert second[1] < 0.1 * files


@pytest.mark.parametrize(("said", "left"), [("1", "1"), ("0", None), ("", None)])
def test_the_users_word_on_compilation_holds_and_0_means_no(said, left):
    code = "import os; from mlxk import settings; settings.prepare_ml_libraries(); print(os.environ.get('MLX_DISABLE_COMPILE'))"
    environment = {**os.environ, "MLX_DISABLE_COMPILE": said}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == str(left)


def test_no_thread_of_a_library_is_busy_while_it_has_no_work():
    code = "import time; import mlxk.engines.text; print(time.process_time() - time.thread_time())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert float(done.stdout) < 0.003


def test_run_reads_a_pipe_and_its_answer_can_be_piped_on(home):
    first = mlxk(home, "run", "llama", "Write one sentence about cats.", "--temperature", "0")
    second = mlxk(home, "run", "llama", "-", "Say it shorter.", "--temperature", "0", "--json", input=first.stdout)
    data = json.loads(second.stdout)["data"]

    assert first.stdout == "Cats sleep most of the day and hunt at dusk.\n"
    assert data["response"] == "Cats nap, then hunt."
    assert data["usage"]["total_tokens"] > data["usage"]["completion_tokens"] > 1
    assert data["timings"]["generation_tps"] > 0


def test_serve_answers_health_at_once_then_with_the_real_model_and_ends_with_0_on_term(home):
    server = subprocess.Popen(
        [sys.executable, "-m", "mlxk", "serve", "--port", "0", "--model", MODEL, "--json", "--log-level", "warning"],
        env={**os.environ, "HF_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = json.loads(server.stdout.readline())["data"]["url"]
        body = {"model": MODEL, "messages": [{"role": "user", "content": STORY}], "temperature": 0, "stop": ["lit the"]}
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        answer = json.load(urllib.request.urlopen(request, timeout=60))
        health = json.load(urllib.request.urlopen(f"{url}/health", timeout=10))
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=20)
    finally:
        server.kill()

    assert answer["choices"][0]["message"]["content"].endswith("Every night its keeper ")
    assert (health["status"], health["model"]) == ("ok", MODEL)
    assert (server.returncode, out, err) == (0, "", "")


def edit(path, **changes):
    """Change a JSON file of an installed model, without touching the blob that other links share."""
    document = json.loads(path.read_text(encoding="utf-8")) | changes
    path.unlink()
    path.write_text(json.dumps(document), encoding="utf-8")


def mlxk(home, *arguments, **options):
    environment = {**os.environ, "HF_HOME": str(home)}
    command = [sys.executable, "-m", "mlxk", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize("upper", [None, "decode", "_decode"])
def test_tokens_become_the_text_that_the_tokenizer_s_own_class_makes_of_them(library, upper):
    """The shortest way is taken only where a class has none of its own."""
    from mlx_lm.tokenizer_utils import TokenizerWrapper
    from transformers import PreTrainedTokenizerFast

    from mlxk.engines.decoding import decoder_of

    kind = PreTrainedTokenizerFast
    if upper:
        way = {upper: lambda self, *tokens, **options: getattr(PreTrainedTokenizerFast, upper)(self, *tokens, **options).upper()}
        kind = type("Shouting", (PreTrainedTokenizerFast,), way)
    tokenizer = TokenizerWrapper(kind.from_pretrained(library.find(MODEL).snapshot.path))
    decode = decoder_of(tokenizer)
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    ids = list(range(len(tokenizer.vocab)))

    pairs = [ids[start : start + 2] for start in ids]

    assert decode(ids) == tokenizer.decode(ids, **options)
    assert [decode(pair) for pair in pairs] == [tokenizer.decode(pair, **options) for pair in pairs]
    assert (decode(ids) == decode(ids).upper()) == bool(upper)
