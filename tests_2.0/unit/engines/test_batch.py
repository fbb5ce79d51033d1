"""Requests decoded together by a real model: each as if it were alone, whatever becomes of the others."""

from __future__ import annotations

import math
import threading

import mlx.core as mx
import pytest

from mlxk import engines
from mlxk.chat import Message
from mlxk.compatibility import MlxLm
from mlxk.engines import Finished, Generation, Reasoning, Sampling, Text, complete
from mlxk.engines.batch import TextBatch
from mlxk.engines.sampling import processors
from mlxk.errors import ContextLengthExceeded, GenerationFailed, MlxkError
from mlxk.library import Library
from qualification.mint import store
from qualification.mint.catalog import known_answers

LLAMA, SLIDING = "mint/llama-tiny", "mint/gemma3-tiny"
STORY = "Tell me a story."
GREEDY = Sampling(temperature=0)
HOT = {"temperature": 1.5, "top_p": 1.0}
MOST_BYTES = 1 << 26
LOGPROB_TOLERANCE = 0.05
"""How far batching may move the logarithm of the probability of a token that is chosen: sums in another order differ."""


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    loaded = {}

    def load(name):
        if name not in loaded:
            store.install(name, home)
            loaded[name] = engines.load(Library(home / "hub", MlxLm.installed()).find(name))
        return loaded[name]

    return load


@pytest.fixture
def llama(load):
    return load(LLAMA)


class Job:
    def __init__(self, content, cancel_after=math.inf, **options):
        prompt = tuple(content) if isinstance(content, list) else (Message("user", content),)
        self.request = Generation(prompt, **{"sampling": GREEDY, "max_tokens": 120, **options})
        self.events = []
        self.cancel_after = cancel_after

    def cancelled(self):
        return len(self.events) >= self.cancel_after

    def put(self, event):
        self.events.append(event)

    @property
    def answer(self):
        """Whole, or the error that it ended with."""
        return next((event for event in self.events if isinstance(event, MlxkError)), None) or complete(self.events)

    @property
    def text(self):
        return self.answer.reasoning + self.answer.text


def together(engine, jobs, batch=None):
    batch = engine.batch(MOST_BYTES) if batch is None else batch
    for job in jobs:
        batch.add(job)
    finish(batch)
    return jobs


def finish(batch):
    steps = 0
    while len(batch):
        batch.step()
        steps += 1
        assert steps < 1000


def alone(engine, job):
    return complete(engine.stream(job.request, lambda: False))


def known(name):
    """Every third of the known answers, which are of all kinds."""
    return known_answers(name)[::3]


def questions(name):
    return [[Message(message.role, message.content) for message in each.messages] for each in known(name)]


@pytest.mark.parametrize("name", [LLAMA, SLIDING])
def test_answers_made_together_are_those_made_alone(load, name):
    engine = load(name)
    jobs = together(engine, [Job(question) for question in questions(name)])

    assert len(jobs) >= 5
    assert [job.text for job in jobs] == [each.answer for each in known(name)]
    assert [job.answer.finish_reason for job in jobs] == ["stop"] * len(jobs)
    assert [job.answer.usage for job in jobs] == [alone(engine, job).usage for job in jobs]


def test_each_keeps_its_own_sampling_seed_stops_and_budget(llama):
    doubtful = "Name a river."
    jobs = [
        Job(doubtful, sampling=Sampling(**HOT, seed=1)),
        Job(doubtful, sampling=Sampling(**HOT, seed=2)),
        Job(doubtful, sampling=Sampling(temperature=2, top_k=3, min_p=0.1, seed=5), max_tokens=30),
        Job(STORY, stop=("lighthouse",)),
        Job(STORY, sampling=Sampling(temperature=0, repetition_penalty=5)),
        Job(doubtful, sampling=Sampling(temperature=0, presence_penalty=2, frequency_penalty=2)),
        Job(STORY, max_tokens=3),
        Job(STORY),
    ]
    together(llama, jobs)

    assert [job.text for job in jobs] == [alone(llama, job).text for job in jobs]
    assert len({job.text for job in jobs}) == len(jobs)
    assert jobs[6].answer.usage.completion_tokens == 3


def test_a_penalty_stays_with_its_request_when_others_come_and_go(llama):
    batch = llama.batch(MOST_BYTES)
    early = [Job(STORY, max_tokens=4), Job(STORY)]
    for job in early:
        batch.add(job)
    for _ in range(10):
        batch.step()
    late = Job(STORY, sampling=Sampling(temperature=0, repetition_penalty=5))
    together(llama, [late], batch)

    assert late.text == alone(llama, late).text != early[1].text == alone(llama, early[1]).text


def test_batching_moves_no_probability_further_than_rounding_does(llama):
    jobs = together(llama, [Job(question, top_logprobs=3) for question in questions(LLAMA)])
    pairs = [(job.answer.tokens, alone(llama, job).tokens) for job in jobs]

    assert [[each.token.token for each in ours] for ours, _ in pairs] == [[each.token.token for each in own] for _, own in pairs]
    moved = [abs(a.token.logprob - b.token.logprob) for ours, own in pairs for a, b in zip(ours, own, strict=True)]
    assert max(moved) <= LOGPROB_TOLERANCE


def test_logprobs_are_those_of_one_pass_of_the_model_over_the_whole_text(llama):
    job = Job(STORY, top_logprobs=4, max_tokens=12)
    (job,) = together(llama, [job])
    prompt = llama.begin(job.request).prompt
    answer = llama.begin(Generation(job.text)).prompt[-12:]
    logits = llama._model(mx.array(prompt + answer)[None])[0].astype(mx.float32)
    expected = (logits - mx.logsumexp(logits, axis=-1, keepdims=True))[len(prompt) - 1 : -1]

    assert [each.token.logprob for each in job.answer.tokens] == pytest.approx(
        [float(row[token]) for row, token in zip(expected, answer, strict=True)], abs=LOGPROB_TOLERANCE
    )
    assert [[other.logprob for other in each.top] for each in job.answer.tokens] == [
        pytest.approx(sorted(row.tolist(), reverse=True)[:4], abs=2 * 2**4 / 2**8)
        for row in expected  # 8 bits, of 16 and more
    ]


@pytest.mark.parametrize("name", [LLAMA, "mint/qwen3-tiny"])
def test_the_tokens_that_are_told_are_the_text_that_is_shown(load, name):
    for job in together(load(name), [Job(question, top_logprobs=0) for question in questions(name)]):
        told = "".join(each.token.token for each in job.answer.tokens)

        assert "\ufffd" in told or told == job.answer.text


def test_tokens_that_a_stop_string_cut_away_are_not_told(llama):
    (job,) = together(llama, [Job(STORY, stop=("lighthouse",), top_logprobs=0)])
    *whole, last = [each.token.token for each in job.answer.tokens]

    assert job.answer.text == "Once there was a small "
    assert "".join(whole) + last[:1] == job.answer.text


def test_penalties_are_subtracted_as_openai_says():
    (process,) = processors(Sampling(presence_penalty=0.5, frequency_penalty=0.25), [0, 1])
    logits = mx.array([[1.0, 1.0, 1.0, 1.0]])

    penalized = process(mx.array([0, 1, 2, 2, 2, 3]), logits)

    assert penalized.tolist() == [[1.0, 1.0, 1.0 - 0.5 - 3 * 0.25, 1.0 - 0.5 - 0.25]]


def test_one_that_is_refused_or_leaves_harms_no_other(llama):
    too_long, early, late = Job("word " * 20_000), Job(STORY, cancel_after=1), Job(STORY, cancel_after=7)
    fine = together(llama, [too_long, Job(STORY), early, late, Job(STORY)])[1::3]

    assert isinstance(too_long.answer, ContextLengthExceeded)
    assert [len(job.events) for job in (early, late)] == [1, 7]
    assert [job.text for job in fine] == [alone(llama, fine[0]).text] * 2


def test_prompts_of_one_token_begin_together_with_longer_ones(llama):
    jobs = [Job("Hello!"), Job(""), Job(STORY), Job("")]
    for job in jobs[1::2]:
        job.request = Generation("<|begin_of_text|>", sampling=GREEDY, max_tokens=10)
    together(llama, jobs)

    assert llama.begin(jobs[1].request).prompt[1:] == []
    assert [job.text for job in jobs] == [alone(llama, job).text for job in jobs]


class Counted:
    """A model that counts how often it was asked what follows one token."""

    def __init__(self, model):
        self.model = model
        self.layers = model.layers
        self.asked = 0

    def __call__(self, tokens, cache=None):
        self.asked += tokens.shape[1] == 1
        return self.model(tokens, cache=cache)


@pytest.mark.parametrize("budgets", [[1], [4], [4, 4], [2, 4]], ids=str)
def test_no_token_is_computed_that_nobody_wants(llama, budgets):
    model = Counted(llama._model)
    questions = [Job(STORY, max_tokens=budget, top_logprobs=0) for budget in budgets]
    jobs = together(llama, questions, TextBatch(model, llama.begin, MOST_BYTES))

    assert model.asked == max(budgets)
    for job, budget in zip(jobs, budgets, strict=True):
        longer = together(llama, [Job(STORY, max_tokens=budget + 1, top_logprobs=0)])[0].answer
        wanted = [each.token.logprob for each in longer.tokens[:budget]]
        assert longer.text.startswith(job.text)
        assert [each.token.logprob for each in job.answer.tokens] == pytest.approx(wanted, abs=LOGPROB_TOLERANCE)
        assert job.answer.usage.completion_tokens == budget


def test_a_step_that_fails_at_the_end_of_all_is_made_again(llama, monkeypatch):
    last, failed = TextBatch._last, []

    def fails_once(batch):
        if not failed:
            failed.append(len(batch))
            raise RuntimeError("no memory")
        return last(batch)

    monkeypatch.setattr(TextBatch, "_last", fails_once)
    jobs = together(llama, [Job(STORY, max_tokens=4), Job("Hello!", max_tokens=4)])

    assert failed == [2]
    assert [job.text for job in jobs] == [alone(llama, job).text for job in jobs]
    assert [job.answer.usage.completion_tokens for job in jobs] == [4, 4]


class Poisoned:
    """A model that fails when it is asked what follows a certain token."""

    def __init__(self, model, poison):
        self.model = model
        self.poison = poison
        self.layers = model.layers

    def __call__(self, tokens, cache=None):
        if any(self.poison in row for row in tokens.tolist()):
            raise RuntimeError("poison")
        return self.model(tokens, cache=cache)


@pytest.mark.parametrize("where", ["in the prompt", "at its end", "in the answer"])
def test_one_that_makes_the_model_fail_fails_alone(llama, where):
    victims = [Job(STORY), Job("Hello!")]
    culprit = Job("Write one sentence about cats." if where == "in the answer" else STORY + " Please!")
    if where == "at its end":
        culprit.request = Generation("Say 7", sampling=GREEDY)  # templates end all prompts in the same way
    if where == "in the answer":
        own = llama.begin(Generation(alone(llama, culprit).text)).prompt
    else:
        own = llama.begin(culprit.request).prompt
    others = {token for job in victims for token in llama.begin(job.request).prompt}
    others |= {token for job in victims for token in llama.begin(Generation(alone(llama, job).text)).prompt}
    poison = next(token for token in own[-1 if where == "at its end" else 2 :] if token not in others)
    batch = TextBatch(Poisoned(llama._model, poison), llama.begin, MOST_BYTES)
    together(llama, [victims[0], culprit, victims[1]], batch)

    assert isinstance(culprit.answer, GenerationFailed)
    assert [job.text for job in victims] == [alone(llama, job).text for job in victims]
    assert together(llama, [Job("Hello!")], batch)[0].text == victims[1].text


@pytest.mark.parametrize("name", [LLAMA, SLIDING])
def test_what_was_read_is_not_read_again_and_changes_no_answer(load, name):
    engine = load(name)
    batch = engine.batch(MOST_BYTES)
    cold = together(engine, [Job(question) for question in questions(name)], batch)
    warm = together(engine, [Job(question) for question in questions(name)], batch)

    assert [job.text for job in warm] == [job.text for job in cold]
    assert all(job.answer.usage.cached_tokens >= job.answer.usage.prompt_tokens - 2 > 0 for job in warm)


def test_a_conversation_that_goes_on_reads_only_what_is_new(llama):
    batch = llama.batch(MOST_BYTES)
    first = Job(STORY)
    together(llama, [first], batch)
    turns = [*first.request.prompt, Message("assistant", first.answer.text), Message("user", "Hello!")]
    second = Job(turns)
    together(llama, [second], batch)

    usage = second.answer.usage
    spent = first.answer.usage
    assert spent.prompt_tokens + spent.completion_tokens - 2 <= usage.cached_tokens < usage.prompt_tokens
    assert second.text == alone(llama, second).text


def test_what_is_kept_stays_within_its_bound(llama):
    bound = 40_000
    batch = llama.batch(bound)
    for number in range(12):
        together(llama, [Job(f"{number} " * 20, max_tokens=5)], batch)

        assert batch._cache.nbytes <= bound
    assert batch._cache.nbytes > bound / 4


def test_a_long_prompt_does_not_stop_those_who_write(llama):
    batch = llama.batch(MOST_BYTES)
    writer = Job(STORY)
    batch.add(writer)
    for _ in range(5):
        batch.step()
    before = len(writer.events)
    reader = Job("word " * 900, max_tokens=2)
    batch.add(reader)
    while not any(isinstance(event, (Text, Reasoning, Finished)) for event in reader.events):
        batch.step()

    assert len(writer.events) >= before + 2
    finish(batch)


def test_a_model_can_be_used_on_a_thread_of_its_own(load):
    name = "mint/mistral-tiny"
    texts = []

    def work():
        engine = load(name)
        texts.extend(job.text for job in together(engine, [Job(question) for question in questions(name)]))
        engine.close()
        engines.leave_thread()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)

    assert texts == [each.answer for each in known(name)]
