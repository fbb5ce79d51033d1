"""The text engine in this process beside bare ``stream_generate`` on the same weights: first text, and the tokens after it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from figures import Row, at_most
from measuring import paired
from session import Session

from mlxk import engines
from mlxk.chat import Message
from mlxk.compatibility import Packages
from mlxk.engines import Finished, Generation, Sampling, Text
from mlxk.library import Library

MODEL = "mint/llama-tiny"
STORY = "Tell me a story."


def measure(session: Session) -> Iterator[Row]:
    from mlx_lm import load, stream_generate  # noqa: PLC0415 - takes a second
    from mlx_lm.sample_utils import make_sampler  # noqa: PLC0415

    home = session.minted(MODEL)["HF_HOME"]
    model = Library(session.scratch / "minted" / "hub", Packages.installed()).find(MODEL)
    assert str(model.snapshot.path).startswith(home)
    engine = engines.load(model)
    bare, tokenizer = load(str(model.snapshot.path))[:2]
    request = Generation((Message("user", STORY),), max_tokens=64, sampling=Sampling(temperature=0))

    def ours() -> tuple[float, float]:
        return _first_and_rest(event for event in engine.stream(request, lambda: False) if isinstance(event, Text | Finished))

    def theirs() -> tuple[float, float]:
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": STORY}], add_generation_prompt=True)
        return _first_and_rest(stream_generate(bare, tokenizer, prompt, max_tokens=64, sampler=make_sampler(0)))

    (our_first, our_rest), (their_first, their_rest) = (
        zip(*each, strict=True) for each in paired(10 * session.rounds, ours, theirs)
    )
    yield Row("first text of an answer", "s", our_first, "stream_generate", their_first)
    yield Row("63 tokens after it", "s", our_rest, "stream_generate", their_rest, at_most(1 / 0.97))


def _first_and_rest(events: Iterable[object]) -> tuple[float, float]:
    """Seconds until the first event, and from there to the end."""
    began = time.perf_counter()
    remaining = iter(events)
    next(remaining)
    first = time.perf_counter()
    for _ in remaining:
        pass
    return first - began, time.perf_counter() - first
