"""What a chat request may say, and which field is named when it says something else."""

from __future__ import annotations

import base64
import json
import random

import pytest

from mlxk.chat import Message
from mlxk.engines import Generation, Sampling
from mlxk.errors import MediaRefused, RequestError
from mlxk.server.requests import parse_chat, parse_completion

HELLO = [{"role": "user", "content": "Hello!"}]


def parse(**fields):
    return parse_chat(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


def test_a_bare_request_has_the_defaults_of_the_command_line():
    asked = parse()

    assert asked.generations[0] == Generation((Message("user", "Hello!"),), None, (), Sampling())
    assert (asked.model, asked.stream, asked.include_usage) == ("m", False, False)


def test_every_field_that_is_honoured_arrives():
    asked = parse(
        max_completion_tokens=7,
        temperature=0,
        top_p=0.5,
        top_k=3,
        min_p=0.1,
        repetition_penalty=1.2,
        presence_penalty=-1,
        frequency_penalty=2,
        logprobs=True,
        top_logprobs=20,
        seed=-1,
        stop=["a", "b"],
        stream=True,
        stream_options={"include_usage": True},
    )

    assert asked.generations[0].max_tokens == 7
    assert asked.generations[0].stop == ("a", "b")
    assert asked.generations[0].top_logprobs == 20
    assert asked.generations[0].sampling == Sampling(0.0, 0.5, 3, 0.1, 1.2, -1, -1.0, 2.0)
    assert (asked.stream, asked.include_usage) == (True, True)


def test_null_is_absent_for_every_field_that_may_be_absent():
    names = "max_tokens max_completion_tokens temperature top_p top_k min_p seed stop stream stream_options tools n logprobs"

    assert parse(**dict.fromkeys(names.split())) == parse()


def test_the_newer_name_of_the_bound_wins():
    assert parse(max_tokens=5, max_completion_tokens=6).generations[0].max_tokens == 6


def test_the_operators_bound_holds_where_the_request_has_none():
    body = json.dumps({"model": "m", "messages": HELLO}).encode()

    assert parse_chat(body, default_max_tokens=9).generations[0].max_tokens == 9


@pytest.mark.parametrize("name", ["user", "metadata", "store", "service_tier", "never_heard_of"])
def test_inert_fields_are_ignored(name):
    assert parse(**{name: {"any": ["thing"]}}) == parse()


@pytest.mark.parametrize("fields", [{"n": 1}, {"n": 1.0}, {"presence_penalty": 0.0}, {"logprobs": False}, {"tools": []}])
def test_a_field_that_asks_for_nothing_is_as_good_as_absent(fields):
    assert parse(**fields) == parse()


def test_one_stop_string_may_stand_alone():
    assert parse(stop="END").generations[0].stop == ("END",)


def test_the_developer_speaks_as_the_system_and_text_parts_are_lines():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = parse(messages=[{"role": "developer", "content": parts}, *HELLO])

    assert asked.generations[0].prompt == (Message("system", "a\nb"), Message("user", "Hello!"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello!"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [*HELLO, {"role": "function", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": list("abcde")}, "stop"),
        ({"stop": "\ud800"}, "stop"),
        ({"stop": ["a", "\udfff"]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"logprobs": 0}, "logprobs"),
        ({"presence_penalty": False}, "presence_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
    ],
)
def test_the_field_to_blame_is_named(fields, param):
    with pytest.raises(RequestError) as caught:
        parse(**fields)

    assert caught.value.details["param"] == param
    assert caught.value.message.endswith(".")


def test_prompts_are_continued_as_they_are_all_in_the_same_way():
    body = {"model": "m", "prompt": ["a\n", " b"], "max_tokens": 3, "stop": "x", "temperature": 0, "stream": True}
    asked = parse_completion(json.dumps(body).encode())

    assert asked.generations == tuple(Generation(text, 3, ("x",), Sampling(temperature=0)) for text in ("a\n", " b"))
    assert (asked.model, asked.stream) == ("m", True)


@pytest.mark.parametrize("prompt", [None, "", [], ["a", ""], [1, 2], [[1, 2]], 5, {}, ["a"] * 33, "\ud800"])
def test_a_prompt_that_cannot_be_continued_is_named(prompt):
    with pytest.raises(RequestError) as caught:
        parse_completion(json.dumps({"model": "m", "prompt": prompt}).encode())

    assert caught.value.details["param"] == "prompt"


@pytest.mark.parametrize(
    "fields", [{"echo": True}, {"suffix": "end"}, {"best_of": 2}, {"logprobs": 6}, {"logprobs": True}, {"n": 2}]
)
def test_what_would_change_a_completion_and_is_not_supported_is_named(fields):
    with pytest.raises(RequestError) as caught:
        parse_completion(json.dumps({"model": "m", "prompt": "a", **fields}).encode())

    assert caught.value.details["param"] == next(iter(fields))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"model": NaN}', b"[" * 100_000, b'{"a":' * 100_000])
def test_a_body_that_is_no_json_object_is_refused(body):
    with pytest.raises(RequestError):
        parse_chat(body)


@pytest.mark.parametrize("values", [b"[]", b"{}", b"0"], ids=["lists", "objects", "numbers"])
def test_a_body_of_more_values_than_any_request_has_is_refused_before_they_are_made(values, monkeypatch):
    body = (
        b'{"model": "m", "messages": [{"role": "user", "content": "Hello!"}], "user": [' + b",".join([values] * 1_000_000) + b"]}"
    )
    monkeypatch.setattr(json, "loads", lambda *arguments, **options: pytest.fail("it was read"))
    for parse_body in (parse_chat, parse_completion):
        with pytest.raises(RequestError, match="more than 1,000,000 brackets and commas"):
            parse_body(body)


def test_a_large_body_of_base64_has_few_values():
    assert parse(user=base64.b64encode(random.Random(5).randbytes(4 << 20)).decode()) == parse()


def test_all_images_of_a_conversation_are_bounded_together():
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    turns = [{"role": "user", "content": [shown] * 30}] * 17

    with pytest.raises(MediaRefused, match="510 images and recordings, and 500 are the most") as refused:
        parse(messages=turns)
    assert (refused.value.media, refused.value.too_large) == ("messages", True)
