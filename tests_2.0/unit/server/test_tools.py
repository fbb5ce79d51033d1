"""Functions that a model may call: what a request may say of them, and what the official client is told of real calls."""

from __future__ import annotations

import json
import threading

import openai
import pytest

from mlxk import engines
from mlxk.chat import Message, ToolCall
from mlxk.compatibility import Packages
from mlxk.errors import RequestError
from mlxk.library import Library
from mlxk.server.app import Policy, make_app
from mlxk.server.lifecycle import Server, bind
from mlxk.server.requests import parse_chat, parse_completion
from mlxk.server.worker import Limits, Worker
from qualification.mint import store
from qualification.mint.calling import CLOCK, WEATHER, KnownCall
from qualification.mint.catalog import known_answers

MODEL, WITHOUT = "mint-pathology/tool-calls", "mint/llama-tiny"
HELLO = {"role": "user", "content": "Hello!"}
CALL = {"id": "a1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "a1", "content": "noon"}
KNOWN = {known.name: known for known in known_answers(MODEL)}


def parse(**fields):
    return parse_chat(json.dumps({"model": "m", "messages": [HELLO], **fields}).encode())


def function(**changes):
    return {"type": "function", "function": {"name": "clock", **changes}}


def test_functions_arrive_as_templates_take_them_and_calls_with_their_results():
    asked = parse(tools=[CLOCK, WEATHER], messages=[HELLO, CALLED, TOLD]).generations[0]
    call = ToolCall("a1", "clock", '{"zone": "UTC"}')

    assert [(tool.name, tool.definition) for tool in asked.tools] == [("clock", CLOCK), ("weather", WEATHER)]
    assert not asked.one_call
    assert asked.prompt[1:] == (Message("assistant", "", calls=(call,)), Message("tool", "noon", answers=call))


DESCRIBED = function(strict=False, description="Tells.", parameters={})


@pytest.mark.parametrize(
    ("fields", "tools", "one_call"),
    [
        ({}, [], False),
        ({"tools": None, "tool_choice": None, "parallel_tool_calls": None}, [], False),
        ({"tools": [], "tool_choice": "auto"}, [], False),
        ({"tools": [CLOCK], "tool_choice": "auto"}, [CLOCK], False),
        ({"tools": [CLOCK], "tool_choice": "none"}, [], False),
        ({"tools": [CLOCK], "parallel_tool_calls": False}, [CLOCK], True),
        ({"tools": [DESCRIBED]}, [DESCRIBED], False),
    ],
)
def test_who_may_not_call_is_not_told_of_functions(fields, tools, one_call):
    asked = parse(**fields).generations[0]

    assert ([tool.definition for tool in asked.tools], asked.one_call) == (tools, one_call)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": 5}, "tools"),
        ({"tools": [CLOCK, CLOCK]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": f"f{each}"}} for each in range(129)]}, "tools"),
        ({"tools": ["clock"]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "clock"}}]}, "tools[0]"),
        ({"tools": [{"function": {"name": "clock"}}]}, "tools[0]"),
        ({"tools": [CLOCK, function(name="two words")]}, "tools[1].function.name"),
        ({"tools": [function(name=5)]}, "tools[0].function.name"),
        ({"tools": [function(description=5)]}, "tools[0].function.description"),
        ({"tools": [function(parameters="none")]}, "tools[0].function.parameters"),
        ({"tools": [function(strict=True)]}, "tools[0].function.strict"),
        ({"tools": [function(description="\ud800")]}, "tools[0]"),
        ({"tools": [CLOCK], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": CLOCK}, "tool_choice"),
        ({"tools": [CLOCK], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"messages": [HELLO, TOLD]}, "messages[1].tool_call_id"),
        ({"messages": [HELLO, TOLD, CALLED]}, "messages[1].tool_call_id"),
        ({"messages": [HELLO, CALLED, {**TOLD, "tool_call_id": None}]}, "messages[2].tool_call_id"),
        ({"messages": [HELLO, CALLED, {**TOLD, "content": None}]}, "messages[2].content"),
        ({"messages": [{**HELLO, "tool_calls": [CALL]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "messages[0].content"),
        ({"messages": [{**CALLED, "tool_calls": CALL}]}, "messages[0].tool_calls"),
        ({"messages": [{**CALLED, "tool_calls": [{}]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [{**CALLED, "tool_calls": [{**CALL, "id": 5}]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [{**CALLED, "tool_calls": [{**CALL, "type": "custom"}]}]}, "messages[0].tool_calls[0]"),
        (
            {"messages": [{**CALLED, "tool_calls": [{**CALL, "function": {"name": "clock", "arguments": "[1]"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"messages": [{**CALLED, "tool_calls": [{**CALL, "function": {"name": "clock", "arguments": "[" * 9999}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_the_field_to_blame_is_named(fields, param):
    with pytest.raises(RequestError) as caught:
        parse(**fields)

    assert caught.value.details["param"] == param
    assert caught.value.message.endswith(".")


def test_texts_that_are_continued_call_no_functions():
    with pytest.raises(RequestError) as caught:
        parse_completion(json.dumps({"model": "m", "prompt": "x", "tools": [CLOCK]}).encode())

    assert caught.value.details["param"] == "tools"


@pytest.fixture(scope="module")
def client(tmp_path_factory, running):
    home = tmp_path_factory.mktemp("home")
    for model in (MODEL, WITHOUT):
        store.install(model, home)
    worker = Worker(engines.load, engines.leave_thread, Limits())
    app = make_app(Library(home / "hub", Packages.installed()), worker, Policy())
    server = Server(app, bind("127.0.0.1", 0), 16)
    with running(server, worker) as port:
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)


def messages(known):
    """As a client of OpenAI's API sends them, with ids of calls."""
    sent = [message.as_dict() for message in known.messages]
    for message in sent:
        if message["role"] == "tool":
            message["tool_call_id"] = "a1"
        for call in message.get("tool_calls", ()):
            call |= {"id": "a1", "type": "function"}
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return sent


def ask(client, known, **options):
    if known.tools:
        options.setdefault("tools", known.tools)
    return client.chat.completions.create(model=MODEL, messages=messages(known), temperature=0, **options)


def called(calls):
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls or ()]


def expected(known):
    calls = known.calls if isinstance(known, KnownCall) else ()
    return [(call.name, json.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN)
def test_a_model_s_calls_are_told_whole_and_what_is_none_is_its_answer(client, known):
    choice = ask(client, known).choices[0]

    assert called(choice.message.tool_calls) == expected(known)
    assert choice.message.content == (known.answer or None)
    assert getattr(choice.message, "reasoning_content", None) == known.reasoning
    assert choice.finish_reason == ("tool_calls" if expected(known) else "stop")


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN)
def test_a_stream_tells_the_same_and_no_call_in_halves(client, known):
    chunks = [chunk.choices[0] for chunk in ask(client, known, stream=True)]
    calls = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]

    assert called(calls) == expected(known)
    assert [call.index for call in calls] == [*range(len(calls))]
    assert len({call.id for call in calls}) == len(calls)
    assert {call.type for call in calls} <= {"function"}
    assert "".join(chunk.delta.content or "" for chunk in chunks) == known.answer
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls" if expected(known) else "stop"]


def test_a_call_and_its_result_lead_to_an_answer(client):
    """As a client goes on with what it was told."""
    first = ask(client, KNOWN["weather"]).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": KNOWN["told"].messages[-1].content}
    turns = [*messages(KNOWN["weather"]), first.model_dump(exclude_none=True), result]
    second = client.chat.completions.create(model=MODEL, messages=turns, tools=KNOWN["told"].tools, temperature=0)

    assert second.choices[0].message.content == KNOWN["told"].answer


def test_one_call_is_the_end_where_calls_may_not_be_parallel(client):
    both = KNOWN["both"]
    choice = ask(client, both, parallel_tool_calls=False).choices[0]

    assert called(choice.message.tool_calls) == expected(both)[:1]
    assert choice.finish_reason == "tool_calls"
    assert ask(client, both).usage.completion_tokens > ask(client, both, parallel_tool_calls=False).usage.completion_tokens


def test_who_may_not_call_answers_as_if_there_were_no_functions(client):
    choice = ask(client, KNOWN["weather"], tool_choice="none").choices[0]

    assert (choice.message.content, choice.message.tool_calls) == (KNOWN["untold"].answer, None)


def test_a_stop_string_within_a_call_does_not_cut_it(client):
    assert called(ask(client, KNOWN["weather"], stop=["city"]).choices[0].message.tool_calls) == expected(KNOWN["weather"])


def test_a_call_that_the_budget_cut_is_shown_as_it_stands(client):
    choice = ask(client, KNOWN["weather"], max_tokens=8).choices[0]

    assert choice.message.content.startswith("<tool_call>")
    assert (choice.message.tool_calls, choice.finish_reason) == (None, "length")


def test_logprobs_are_those_of_the_text_that_is_shown(client):
    choice = ask(client, KNOWN["both"], logprobs=True).choices[0]

    assert "".join(each.token for each in choice.logprobs.content).startswith(choice.message.content)


def test_a_model_that_calls_no_functions_is_named_by_the_field(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=WITHOUT, messages=[HELLO], tools=[CLOCK])

    assert caught.value.param == "tools"
    assert client.chat.completions.create(model=WITHOUT, messages=[HELLO], temperature=0).choices[0].message.content


def test_calls_made_together_are_those_made_alone(client):
    """In one batch, each with functions of its own or none."""
    chosen = [KNOWN[name] for name in ("weather", "both", "talk", "untold")]
    answers = [None] * len(chosen)

    def one(place, known):
        answers[place] = ask(client, known).choices[0].message

    threads = [threading.Thread(target=one, args=each) for each in enumerate(chosen)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [called(answer.tool_calls) for answer in answers] == [expected(known) for known in chosen]
    assert [answer.content or "" for answer in answers] == [known.answer for known in chosen]
