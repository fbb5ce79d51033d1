"""What an engine shows of models that end, or reason, in ways of their own: the answer, all of it, and nothing else."""

from __future__ import annotations

import pytest

from mlxk import chat, engines
from mlxk.compatibility import Packages
from mlxk.engines import Finished, Generation, Reasoning, Sampling, Text, complete
from mlxk.library import Library
from qualification.mint import catalog, store

TWO_ENDS = ["mint-pathology/two-ends", "mint-pathology/two-ends-undeclared"]
MISBEHAVING = [
    *TWO_ENDS,
    *(f"mint-pathology/{name}" for name in ("text-stop", "self-talk", "spelled-end", "broken-utf8", "empty-answer")),
    "mint-pathology/opened-thinking",
]
THINKS = "mint/qwen3-tiny"
ENDLESS = "mint-pathology/never-stops"


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """``ask(model, messages)`` gives the events; each model is loaded once."""
    home = tmp_path_factory.mktemp("home")
    library = Library(home / "hub", Packages.installed())
    loaded = {}

    def events_of(model, messages, **options):
        if model not in loaded:
            store.install(model, home)
            loaded[model] = engines.load(library.find(model))
        conversation = tuple(chat.Message(message.role, message.content) for message in messages)
        options.setdefault("max_tokens", 300)
        return list(loaded[model].stream(Generation(conversation, sampling=Sampling(temperature=0), **options), lambda: False))

    return events_of


@pytest.mark.parametrize("model", [*MISBEHAVING, THINKS])
def test_every_known_answer_is_exact_with_its_reasoning_and_ends_by_itself(ask, model):
    known = catalog.known_answers(model)
    answers = [complete(iter(ask(model, each.messages))) for each in known]

    assert known
    assert [(each.text, each.reasoning or None) for each in answers] == [(each.answer, each.reasoning) for each in known]
    assert {each.finish_reason for each in answers} == {"stop"}


@pytest.mark.parametrize("model", TWO_ENDS)
def test_a_second_end_token_is_told_of_where_the_request_asks_for_it_and_costs_no_usage(ask, model):
    (known, *_) = catalog.known_answers(model)
    plain = complete(iter(ask(model, known.messages)))
    looked = complete(iter(ask(model, known.messages, look_past_end=True)))

    assert (plain.end_tokens, looked.end_tokens) == (("<|end|>",), ("<|end|>", "<|endoftext|>"))
    assert plain.usage == looked.usage


def test_the_same_end_token_again_is_nothing_to_tell_of(ask):
    (known, *_) = catalog.known_answers(THINKS)

    assert complete(iter(ask(THINKS, known.messages, look_past_end=True))).end_tokens == (known.end_token,)


def test_an_end_token_in_ordinary_letters_and_a_stop_string_are_no_end_tokens(ask):
    (known, *_) = catalog.known_answers("mint-pathology/text-stop")

    assert complete(iter(ask("mint-pathology/text-stop", known.messages))).end_tokens == ()


def test_reasoning_comes_first_and_in_pieces(ask):
    known = max(catalog.known_answers(THINKS), key=lambda known: len(known.reasoning or ""))
    kinds = [type(event) for event in ask(THINKS, known.messages) if isinstance(event, Reasoning | Text)]

    assert kinds == sorted(kinds, key=[Reasoning, Text].index)
    assert kinds.count(Reasoning) > 1


@pytest.mark.parametrize("model", [THINKS, "mint-pathology/opened-thinking"])
def test_a_budget_that_ends_within_the_reasoning_leaves_no_answer(ask, model):
    known = max(catalog.known_answers(model), key=lambda known: len(known.reasoning or ""))
    cut = complete(iter(ask(model, known.messages, max_tokens=4)))

    assert (cut.text, cut.finish_reason) == ("", "length")
    assert known.reasoning.startswith(cut.reasoning)


def test_a_stop_string_of_the_request_is_looked_for_in_the_answer_only(ask):
    known = next(known for known in catalog.known_answers(THINKS) if known.reasoning)
    stop = known.reasoning[:3]
    asked = complete(iter(ask(THINKS, known.messages, stop=(stop,))))

    assert (asked.reasoning, asked.text) == (known.reasoning, known.answer.partition(stop)[0])


def test_a_model_that_never_stops_is_ended_by_its_budget_and_says_length(ask):
    finished = ask(ENDLESS, [chat.Message("user", "Hello!")], max_tokens=200)[-1]

    assert isinstance(finished, Finished)
    assert (finished.finish_reason, finished.usage.completion_tokens, finished.end_tokens) == ("length", 200, ())
