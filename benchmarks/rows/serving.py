"""``mlxk serve`` beside ``mlx_lm.server`` and ``stream_generate``: decoding, first tokens, known prefixes, eight clients."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import talking
from figures import Row, at_least, at_most
from measuring import paired
from session import Session
from talking import Running

from qualification.mint import store

MODEL = "mint/llama-tiny"
LARGE = "bench/llama-large"
CLIENTS = 8
TOKENS = 32
LONG = 128
"""Tokens of an answer that is alone, and takes no longer than eight short ones together."""
_LARGE = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
"""With ``head_dim`` 64: some 3 million weights, which a CPU decodes at the pace that real models have on their machines."""

_SPECIAL = 16
"""Of the first tokens, those that begin and end texts and turns are fewer."""

_numbers = itertools.count(1)


def measure(session: Session) -> Iterator[Row]:
    environment = session.minted(MODEL)
    folder = _enlarged(Path(environment["HF_HOME"]))
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(talking.ours(session.tool, LARGE, "--model", LARGE, **environment))
        peer = stack.enter_context(talking.mlx_lm(session.peer("mlx-lm"), folder, **environment))
        yield from _alone(session, ours, folder)
        yield from _together(session, ours, peer)
        yield from _known(session, ours, peer)


def _alone(session: Session, ours: Running, folder: Path) -> Iterator[Row]:
    """Decoding, and the time to the first token, beside ``stream_generate`` in this process on the same weights."""
    generate = _in_process(folder)
    rounds = max(10, session.rounds)
    rates = paired(rounds, lambda: ours.ask(_fresh(), LONG).tokens_per_s, lambda: generate(_fresh(), LONG)[1])
    yield Row("decoding over SSE", "tokens/s", rates[0], "stream_generate", rates[1], at_least(0.97))
    waits = paired(rounds, lambda: 1e3 * ours.ask(_fresh(), 2).first_s, lambda: 1e3 * generate(_fresh(), 2)[0])
    yield Row("first token over SSE", "ms", waits[0], "stream_generate", waits[1], at_most(10, "difference"))


def _known(session: Session, ours: Running, peer: Running) -> Iterator[Row]:
    """The first token of a second turn whose beginning of a thousand tokens was read for the first one."""
    rounds = max(10, session.rounds // 3)  # a thousand tokens take a CPU seconds to read
    turns = paired(rounds, lambda: _two_turns(ours), lambda: _two_turns(peer))
    (our_cold, our_warm), (_, their_warm) = (tuple(zip(*each, strict=True)) for each in turns)
    yield Row("first token of a second turn", "ms", our_warm, "the first turn's", our_cold, at_most(0.25))
    yield Row("first token of a second turn", "ms", our_warm, "mlx_lm.server", their_warm, at_most(1.2))


def _together(session: Session, ours: Running, peer: Running) -> Iterator[Row]:
    rounds = max(10, session.rounds * 2 // 3)
    mine, theirs = paired(rounds, lambda: _aggregate(ours), lambda: _aggregate(peer))
    yield Row(f"{CLIENTS} clients together", "tokens/s", mine, "mlx_lm.server", theirs, at_least(1))
    mine, alone = paired(rounds, lambda: _aggregate(ours), lambda: _aggregate(ours, clients=1))
    yield Row(f"{CLIENTS} clients together", "tokens/s", mine, "one client", alone, at_least(0.95))
    slowest, fastest = zip(*(_extremes(ours) for _ in range(rounds)), strict=True)
    yield Row(f"the slowest of {CLIENTS} clients", "tokens/s", slowest, "the fastest", fastest, at_least(0.8))


def _fresh(words: int = 2) -> list[dict[str, str]]:
    """A conversation that nobody has had before, from its first word on."""
    number = next(_numbers)
    return [{"role": "user", "content": f"{number} " + " ".join(f"w{(number * 7919 + place) % 997}" for place in range(words))}]


def _two_turns(server: Running) -> tuple[float, float]:
    """Milliseconds to the first token of both."""
    first = _fresh(words=230)  # about a thousand tokens
    cold = server.ask(first, 4)
    follow_up = [*first, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And then?"}]
    return 1e3 * cold.first_s, 1e3 * server.ask(follow_up, 4).first_s


def _aggregate(server: Running, clients: int = CLIENTS) -> float:
    took_s, answers = server.at_once([_fresh() for _ in range(clients)], TOKENS)
    return sum(answer.tokens for answer in answers) / took_s


def _extremes(server: Running) -> tuple[float, float]:
    """Tokens per second of the client that is served worst, and of the one that is served best."""
    _, answers = server.at_once([_fresh() for _ in range(CLIENTS)], TOKENS)
    rates = [answer.tokens / answer.times_s[-1] for answer in answers]
    return min(rates), max(rates)


def _enlarged(home: Path) -> Path:
    """A model with the tokenizer of the small one and random weights, which says something, though nothing of sense."""
    import mlx.core as mx  # noqa: PLC0415 - takes a second, as those below
    from mlx.utils import tree_flatten  # noqa: PLC0415
    from mlx_lm.models import llama  # noqa: PLC0415

    small = store.install(MODEL, home)
    folder = home / "hub" / f"models--{LARGE.replace('/', '--')}" / "snapshots" / small.name
    if folder.is_dir():
        return folder
    shutil.copytree(small, folder)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(small.name, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | _LARGE | {"head_dim": 64}
    config |= {"max_position_embeddings": 8192}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    mx.random.seed(0)
    model = llama.Model(llama.ModelArgs.from_dict(config))
    model.set_dtype(mx.float32)
    weights = dict(tree_flatten(model.parameters()))
    embedding = weights["model.embed_tokens.weight"]
    embedding[:_SPECIAL] = 0  # so that none of them is ever the likeliest, and no answer ends before its budget
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    return folder


def _in_process(folder: Path) -> Callable[..., tuple[float, float]]:
    """``generate(messages, tokens)`` gives the seconds to the first text, and tokens per second after it."""
    from mlx_lm import load, stream_generate  # noqa: PLC0415
    from mlx_lm.sample_utils import make_sampler  # noqa: PLC0415

    model, tokenizer = load(str(folder))[:2]

    def generate(messages: list[dict[str, str]], tokens: int) -> tuple[float, float]:
        began = time.perf_counter()
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        times = [time.perf_counter() for _ in stream_generate(model, tokenizer, prompt, tokens, sampler=make_sampler(0))]
        return times[0] - began, (len(times) - 1) / (times[-1] - times[0])

    return generate
