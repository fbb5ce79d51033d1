"""The server's own description, OpenAI's published models, and the official client agree with what it answers."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from jsonschema import Draft202012Validator
from openai.types import Completion, ErrorObject, Model
from openai.types.audio import Transcription, TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent, TranscriptionVerbose
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from mlxk import arguments, engines, schemas
from mlxk.compatibility import MlxLm
from mlxk.library import Library
from mlxk.server.app import Policy, make_app
from mlxk.server.lifecycle import Server, bind
from mlxk.server.worker import Limits, Worker
from qualification.mint import store
from qualification.mint.calling import CLOCK, WEATHER
from qualification.mint.pictures import Picture, encoded
from qualification.mint.tones import speak, wav

API = json.loads(schemas.openapi())
MODEL, EYES, EARS = "mint/qwen3-tiny", "mint/qwen2-vl-tiny", "mint/whisper-tiny"
CALLER = "mint-pathology/tool-calls"
HELLO = [{"role": "user", "content": "Hello!"}]
IMAGE = base64.b64encode(encoded(Picture("red", "circle"))).decode()
RECORDING = wav(speak("Nine red apples."))
PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}", "detail": "auto"}}
SHOWN = [{"role": "user", "content": [{"type": "text", "text": "Describe the image."}, PART]}]
SHOWN_TWICE = [{"role": "user", "content": [{"type": "text", "text": "Describe the image."}, PART, PART]}]
HEARD = {"type": "input_audio", "input_audio": {"data": base64.b64encode(RECORDING).decode(), "format": "wav"}}
SPOKEN = [{"role": "user", "content": [HEARD]}]
ASKED_WEATHER = [{"role": "user", "content": "Weather in Zürich?"}]
ASKED_BOTH = [{"role": "user", "content": "Weather and time in Rome?"}]
CALL = {"id": "a1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Zürich"}'}}
RESULT = [
    *ASKED_WEATHER,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "a1", "content": '{"degrees": 21}'},
]
OUR_OWN = {"timings", "end_tokens", "reasoning_content", "context_length", "capabilities", "loaded"}
"""What we say beside what OpenAI's API has; clients ignore it."""

ASKED = {
    "a chat": ("/v1/chat/completions", {"messages": HELLO}),
    "logprobs": ("/v1/chat/completions", {"messages": HELLO, "logprobs": True, "top_logprobs": 3}),
    "every option": (
        "/v1/chat/completions",
        {
            "messages": [{"role": "developer", "content": [{"type": "text", "text": "Be short."}]}, *HELLO],
            "max_completion_tokens": 5,
            "temperature": 1.5,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.05,
            "seed": -3,
            "stop": ["x", "yz"],
            "repetition_penalty": 1.1,
            "presence_penalty": -1,
            "frequency_penalty": 1,
            "n": 1,
            "user": "me",
            "store": False,
            "max_tokens": None,
        },
    ),
    "an image": ("/v1/chat/completions", {"model": EYES, "messages": SHOWN}),
    "images in chunks": ("/v1/chat/completions", {"model": EYES, "messages": SHOWN_TWICE, "chunk": 1, "temperature": 0}),
    "a call": ("/v1/chat/completions", {"model": CALLER, "messages": ASKED_WEATHER, "tools": [WEATHER, CLOCK], "temperature": 0}),
    "calls": (
        "/v1/chat/completions",
        {"model": CALLER, "messages": ASKED_BOTH, "tools": [WEATHER, CLOCK], "tool_choice": "auto", "temperature": 0},
    ),
    "a result": ("/v1/chat/completions", {"model": CALLER, "messages": RESULT, "tools": [WEATHER, CLOCK], "temperature": 0}),
    "a recording": ("/v1/chat/completions", {"model": EARS, "messages": SPOKEN}),
    "a text": ("/v1/completions", {"prompt": "The capital", "max_tokens": 3}),
    "texts": ("/v1/completions", {"prompt": ["The capital", "A"], "max_tokens": 3, "logprobs": 2}),
}


@pytest.fixture(scope="module")
def port(tmp_path_factory, running):
    home = tmp_path_factory.mktemp("home")
    for model in (MODEL, EYES, EARS, CALLER):
        store.install(model, home)
    limits = Limits(together=4)
    worker = Worker(engines.load, engines.leave_thread, limits)
    app = make_app(Library(home / "hub", MlxLm.installed()), worker, Policy())
    server = Server(app, bind("127.0.0.1", 0), limits.waiting + limits.together)
    with running(server, worker) as port:
        yield port


@pytest.fixture
def ask(port):
    def ask(path, body=None, method=None, content_type="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        encoded = json.dumps({"model": MODEL, **body}) if isinstance(body, dict) else body
        connection.request(method or ("GET" if body is None else "POST"), path, encoded, {"Content-Type": content_type})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    return ask


def declared(path, method, status, content_type="application/json"):
    """The problems of a body, by what the description says of the answer."""
    answers = API["paths"][path][method.lower()]["responses"]
    schema = {"$ref": "#/schema", "schema": answers[str(status)]["content"][content_type]["schema"], **_components()}
    return lambda body: [problem.message for problem in Draft202012Validator(schema).iter_errors(body)]


def _components():
    return {"components": API["components"]}


def events(text):
    *data, last = [line.removeprefix("data: ") for line in text.split("\n\n") if line and not line.startswith(":")]

    assert last == "[DONE]"
    return [json.loads(each) for each in data]


def test_the_description_is_sound_and_served_as_it_is(ask):
    for schema in API["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    named = {word for word in json.dumps(API).split('"') if word.startswith("#/components/schemas/")}

    assert {name.rpartition("/")[2] for name in named} == set(API["components"]["schemas"])
    assert json.loads(ask("/openapi.json")[1]) == API


def test_every_path_of_the_description_is_there(ask):
    for path, methods in API["paths"].items():
        for method in methods:
            body, kind = ("{}", "application/json") if method == "post" else (None, "")
            if "audio" in path:
                body, kind = "--x--", "multipart/form-data; boundary=x"
            status, text = ask(path.replace("{id}", MODEL), body, method.upper(), kind)

            assert str(status) in methods[method]["responses"], (path, text)
            assert status in (200, 400)


@pytest.mark.parametrize("path", ["/health", "/v1/models", f"/v1/models/{MODEL}"])
def test_what_is_told_is_what_the_description_says(ask, path):
    status, text = ask(path)

    assert status == 200
    assert declared(path.replace(MODEL, "{id}"), "get", 200)(json.loads(text)) == []


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_is_valid_by_our_description_and_by_openais_models(ask, name):
    path, body = ASKED[name]
    status, text = ask(path, body)
    model = ChatCompletion if "chat" in path else Completion

    assert status == 200, text
    assert declared(path, "post", 200)(json.loads(text)) == []
    assert unknown(model.model_validate_json(text, strict=True)) <= OUR_OWN


@pytest.mark.parametrize("usage", [False, True], ids=["", "usage"])
@pytest.mark.parametrize("name", ASKED)
def test_every_chunk_is_valid_by_our_description_and_by_openais_models(ask, name, usage):
    path, body = ASKED[name]
    status, text = ask(path, {**body, "stream": True, "stream_options": {"include_usage": usage}})
    problems = declared(path, "post", 200, "text/event-stream")

    assert status == 200
    for event in events(text):
        assert problems(event) == []
        if "chat" in path:
            parsed = ChatCompletionChunk.model_validate_json(json.dumps(event), strict=True)
            assert unknown(parsed) <= OUR_OWN
        elif event["choices"] and event["choices"][0]["finish_reason"]:
            assert unknown(Completion.model_validate_json(json.dumps(event), strict=True)) <= OUR_OWN
    assert bool(events(text)[-1].get("usage")) is usage


def unknown(value):
    """The names of all fields, at any depth, that OpenAI's models do not have."""
    if isinstance(value, list):
        return set().union(*map(unknown, value))
    if not hasattr(value, "model_fields_set"):
        return set()
    named = type(value).model_fields
    return {*(value.model_extra or {})}.union(*(unknown(getattr(value, name)) for name in named))


@pytest.mark.parametrize(
    ("path", "method", "body", "content_type", "status"),
    [
        ("/v1/chat/completions", "POST", "{", "application/json", 400),
        ("/v1/chat/completions", "POST", {"messages": HELLO, "tools": [{}]}, "application/json", 400),
        ("/v1/completions", "POST", {"prompt": 5}, "application/json", 400),
        ("/v1/chat/completions", "POST", {"model": "no/such", "messages": HELLO}, "application/json", 404),
        ("/v1/completions", "POST", "{}", "text/plain", 415),
    ],
)
def test_a_refusal_is_valid_by_our_description_and_by_openais_model(ask, path, method, body, content_type, status):
    got, text = ask(path, body, method, content_type)

    assert got == status
    assert declared(path, method, status)(json.loads(text)) == []
    assert ErrorObject.model_validate(json.loads(text)["error"], strict=True).message


@pytest.mark.parametrize("status", [401, 403, 500, 503, 504, 507])
def test_every_status_of_an_error_has_the_form_of_an_error(status):
    described = API["paths"]["/v1/chat/completions"]["post"]["responses"][str(status)]

    assert described["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}


@pytest.fixture
def client(port):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_the_official_client_chats_and_streams(client):
    asked = {"model": MODEL, "messages": HELLO, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    chunks = [*client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})]

    assert whole.choices[0].message.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 0


def test_the_official_client_reads_the_events_of_its_stream_helper(client):
    with client.chat.completions.stream(model=MODEL, messages=HELLO, temperature=0) as stream:
        kinds = {event.type for event in stream}

    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert stream.get_final_completion().choices[0].finish_reason == "stop"


def test_the_official_client_continues_texts_and_reads_logprobs(client):
    text = client.completions.create(model=MODEL, prompt=["A", "B"], max_tokens=4, logprobs=1, temperature=0)
    chat = client.chat.completions.create(model=MODEL, messages=HELLO, logprobs=True, top_logprobs=2, max_tokens=400)

    assert [choice.index for choice in text.choices] == [0, 1]
    assert len(text.choices[0].logprobs.tokens) == len(text.choices[0].logprobs.token_logprobs) > 0
    assert all(len(token.top_logprobs) == 2 for token in chat.choices[0].logprobs.content)


def test_the_official_client_lists_models(client):
    assert {model.id: model.capabilities for model in client.models.list()} == {
        EYES: ["text-generation", "chat", "vision"],
        MODEL: ["text-generation", "chat"],
        CALLER: ["text-generation", "chat"],
        EARS: ["audio"],
    }
    assert Model.model_validate(client.models.retrieve(MODEL).model_dump(), strict=True).owned_by == "mlxk"


def test_the_official_client_shows_images(client):
    asked = {"model": EYES, "messages": SHOWN, "temperature": 0}
    chunks = [*client.chat.completions.create(**asked, stream=True)]

    assert client.chat.completions.create(**asked).choices[0].message.content == "A red circle on white."
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "A red circle on white."
    assert len(chunks) > 5


@pytest.mark.parametrize("form", ["json", "verbose_json", "text", "srt", "vtt"])
def test_the_official_client_transcribes(client, form):
    heard = client.audio.transcriptions.create(
        model=EARS, file=("talk.wav", RECORDING), response_format=form, language="en", prompt="", temperature=0
    )

    if form == "json":
        assert unknown(Transcription.model_validate_json(heard.to_json(), strict=True)) == set()
    if form == "verbose_json":
        assert unknown(TranscriptionVerbose.model_validate_json(heard.to_json(), strict=True)) == {"task"}
        assert [(each.start, each.text) for each in heard.segments] == [(0, "Nine red apples.")]
        assert heard.duration == pytest.approx(len(speak("Nine red apples.")) / 16_000, abs=0.001)
    text = heard.text if "json" in form else heard
    assert "Nine red apples." in text
    assert (text == "Nine red apples.") == (form not in ("srt", "vtt"))


def test_the_official_client_streams_a_transcript(client):
    with client.audio.transcriptions.create(model=EARS, file=("talk.wav", RECORDING), stream=True) as stream:
        events = [*stream]
    *deltas, done = events

    assert [type(each) for each in deltas] == [TranscriptionTextDeltaEvent]
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(each.delta for each in deltas) == done.text == "Nine red apples."
    schema = Draft202012Validator({"$ref": "#/components/schemas/TranscriptEvent", **_components()})
    assert [error for each in events for error in schema.iter_errors(json.loads(each.to_json()))] == []


def test_the_official_client_asks_for_words_and_sends_what_it_reads(client, tmp_path):
    (tmp_path / "talk").write_bytes(RECORDING)
    with (tmp_path / "talk").open("rb") as file:
        granularities = ["word", "segment"]
        heard = client.audio.transcriptions.create(
            model=EARS, file=file, response_format="verbose_json", timestamp_granularities=granularities
        )

    assert [word.word for word in heard.words] == ["Nine", "red", "apples."]
    assert unknown(TranscriptionVerbose.model_validate_json(heard.to_json(), strict=True)) == {"task"}


def test_a_transcript_is_valid_by_our_description(port):
    for form, name in (("json", "Transcription"), ("verbose_json", "TranscriptionVerbose")):
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}", api_key="any", max_retries=0) as client:  # without /v1 too
            raw = client.audio.transcriptions.with_raw_response.create(model=EARS, file=("a", RECORDING), response_format=form)

        schema = {"$ref": f"#/components/schemas/{name}", **_components()}
        assert [*Draft202012Validator(schema).iter_errors(json.loads(raw.text))] == []
        assert declared("/v1/audio/transcriptions", "post", 200)(json.loads(raw.text)) == []


def test_the_official_client_is_told_what_cannot_be_transcribed(client):
    with pytest.raises(openai.UnprocessableEntityError) as deaf:
        client.audio.transcriptions.create(model=MODEL, file=("a.wav", RECORDING))
    with pytest.raises(openai.BadRequestError) as wrong:
        client.audio.transcriptions.create(model=EARS, file=("a.wav", b"no sound"))
    with pytest.raises(openai.BadRequestError) as streamed:
        client.audio.transcriptions.create(model=EARS, file=("a.wav", RECORDING), response_format="srt", stream=True)

    assert (deaf.value.code, wrong.value.param, streamed.value.param) == ("capability_not_supported", "file", "stream")


def test_the_official_client_raises_its_own_errors(client):
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=MODEL, messages=HELLO, temperature=5)
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no/such", messages=HELLO)

    assert (wrong.value.param, missing.value.code) == ("temperature", "model_not_found")


def test_many_requests_of_the_asynchronous_client_at_once(port):
    async def many():
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0) as client:
            asked = {"model": MODEL, "messages": HELLO, "temperature": 0}
            return await asyncio.gather(*(client.chat.completions.create(**asked) for _ in range(12)))

    assert len({answer.choices[0].message.content for answer in asyncio.run(many())}) == 1


DOCUMENT = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")


def test_every_option_and_variable_of_the_documentation_is_one_of_the_command():
    parser, _ = arguments.parser_of("serve")
    options = {option for action in parser._actions for option in action.option_strings}
    variables = dict.fromkeys(re.findall(r"MLXK2_\w+", DOCUMENT), "7")
    all_of_them = "settings.server_defaults() | {'chunk': settings.images_per_chunk()}"
    code = f"import json; from mlxk import settings; print(json.dumps({all_of_them}))"
    environment = {**os.environ, **variables}
    honoured = json.loads(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)

    assert set(re.findall(r"--[a-z][a-z-]+", DOCUMENT)) <= options
    assert len(honoured) == len(variables) >= 6
    assert {f"--{name.replace('_', '-')}" for name in honoured} <= options


def test_every_path_and_field_of_the_documentation_is_in_the_description():
    paths = set(re.findall(r"`(?:GET|POST) (/[\w/.]+)`", DOCUMENT)) | {"/v1/models/{id}"}
    asked = API["components"]["schemas"]["ChatRequest"]["properties"].keys()
    told = re.search(r"## What a request may ask\n\n(.*?)\n", DOCUMENT)[1]

    assert paths == set(API["paths"])
    assert asked - {"messages"} <= {*re.findall(r"`(\w+)", told), "stream_options"}
