"""Whatever a client sends: no failure that is not declared, and the next request is answered.

The default suite sends some hundred requests; ``MLXK_FUZZ=5000`` sends as many as that, and prints what came back.
"""

from __future__ import annotations

import base64
import collections
import http.client
import json
import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mlxk import engines, schemas
from mlxk.compatibility import MlxLm
from mlxk.library import Library
from mlxk.server.app import Policy, make_app
from mlxk.server.lifecycle import Server, bind
from mlxk.server.worker import Limits, Worker
from qualification.mint import store
from qualification.mint.calling import CLOCK, WEATHER
from qualification.mint.pictures import Picture, encoded
from qualification.mint.tones import silence, speak, wav

API = json.loads(schemas.openapi())
MODEL, EYES, EARS = "mint-pathology/tool-calls", "mint/qwen2-vl-tiny", "mint/whisper-tiny"
COUNT = int(os.environ.get("MLXK_FUZZ", "100"))
PING = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 1}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
words = st.text(max_size=60) | st.sampled_from(
    ["Hello!", "Tell me a story.", "\ud800", "\x00", "🦊" * 40, "</s><|eot_id|>", "{{x}}"]
)
near = st.sampled_from([-(2**64), -2, -1, -0.5, 0, 0.0, 1e-9, 0.5, 1, 1.0, 2, 2.0000001, 5, 20, 21, 2**31, 2**63, 2**64, 1e308])
right_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.sampled_from(["Hello!", "Tell me a story."])
right_part = st.fixed_dictionaries({"type": st.just("text"), "text": right_text})
right_message = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant"]),
        "content": right_text | st.lists(right_part, max_size=3),
    }
)
right_tool = st.sampled_from([WEATHER, CLOCK])
right_tools = {
    "tools": st.lists(right_tool, max_size=2, unique_by=str),
    "tool_choice": st.sampled_from(["auto", "none", None]),
    "parallel_tool_calls": st.booleans(),
}
call = {"id": "a", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
called = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "noon"}]
right_options = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(0, 2**40),
    "min_p": st.floats(0, 1),
    "repetition_penalty": st.floats(0.01, 10),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "seed": st.integers(-(2**63), 2**64 - 1),
    "stop": right_text | st.lists(right_text, max_size=4) | st.none(),
    "stream": st.booleans() | st.none(),
    "user": anything,
    "unheard_of": anything,
    "n": st.just(1),
}
wrong_call = st.fixed_dictionaries(
    {"id": words | anything, "function": st.fixed_dictionaries({"name": words, "arguments": words})}
)
wrong_message = st.fixed_dictionaries(
    {"role": words | st.sampled_from(["tool", "assistant"]) | anything, "content": words | anything},
    optional={"tool_calls": st.lists(wrong_call | anything, max_size=2) | anything, "tool_call_id": words, "name": anything},
)
wrong_function = st.fixed_dictionaries({"name": words | anything}, optional={"parameters": anything, "strict": anything})
wrong_tool = st.fixed_dictionaries({"type": st.just("function") | anything, "function": wrong_function | anything})
wrong = {
    **dict.fromkeys(right_options, near | anything),
    "max_tokens": near | anything,
    "max_completion_tokens": near | anything,
    "logprobs": near | st.booleans() | anything,
    "top_logprobs": near | anything,
    "stop": words | st.lists(words, max_size=6) | anything,
    "stream_options": st.fixed_dictionaries({}, optional={"include_usage": st.booleans() | anything}) | anything,
    "tools": st.lists(right_tool | wrong_tool | anything, max_size=3) | anything,
    "tool_choice": words | st.just("required") | right_tool | anything,
    "parallel_tool_calls": anything,
    "response_format": anything,
    "messages": st.lists(wrong_message, max_size=3) | anything,
    "prompt": words | st.lists(words, max_size=4) | anything,
    "model": st.sampled_from(["llama", f"{MODEL}@main", "no/such", "../../etc/passwd", f"{MODEL}/..", "\x00", ""]) | anything,
}
a_wrong_field = st.sampled_from(sorted(wrong)).flatmap(lambda name: st.fixed_dictionaries({name: wrong[name]}))


def request(required, **options):
    """A right one, and in one case of three with one field that may be anything."""
    right = st.fixed_dictionaries(
        {"model": st.just(MODEL), "max_tokens": st.integers(1, 6), **required}, optional={**right_options, **options}
    )
    broken = st.just({}) | st.just({}) | a_wrong_field
    return st.builds(lambda asked, other: json.dumps(asked | other), right, broken)


chat = request(
    {"messages": st.builds(list.__add__, st.lists(right_message, min_size=1, max_size=4), st.sampled_from([[], [], called]))},
    logprobs=st.booleans(),
    **right_tools,
)
text = request({"prompt": right_text | st.lists(right_text, min_size=1, max_size=4)}, logprobs=st.integers(0, 5))
garbage = anything.map(json.dumps) | st.binary(max_size=60)

pictures = st.sampled_from([encoded(Picture("red"), kind) for kind in ("PNG", "JPEG", "GIF")])
recordings = st.sampled_from([wav(silence(0.1)), wav(speak("a"))])
short = wav(silence(0.1))


def damaged(files):
    """Whole in half of all cases; else cut, with other bytes in it, or of other bytes only."""
    cut = st.builds(lambda data, part: data[: int(len(data) * part)], files, st.floats(0, 1))
    mixed = st.builds(lambda data, at, other: data[:at] + other + data[at:], files, st.integers(0, 200), st.binary(max_size=20))
    return files | files | files | cut | mixed | st.binary(max_size=60)


def in_base64(files):
    return damaged(files).map(lambda data: base64.b64encode(data).decode())


labels = st.sampled_from(["png", "jpeg", "gif", "webp"])
urls = st.builds("data:image/{};base64,{}".format, labels, in_base64(pictures))
addresses = st.sampled_from(["http://127.0.0.1:9/a", "file:///etc/passwd", "/etc/passwd", "data:,", "data:image/png;base64,"])
sounds = st.fixed_dictionaries({"data": in_base64(recordings) | words, "format": st.sampled_from(["wav", "wav", "mp3", "a"])})
right_urls = st.builds(lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}", pictures)
addressed = st.one_of(*[right_urls] * 6, *[urls] * 2, addresses, words)
image = st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, addressed)
sound = st.builds(lambda given: {"type": "input_audio", "input_audio": given}, sounds)
odd = st.fixed_dictionaries({"type": st.sampled_from(["image_url", "input_audio", "file"]), "image_url": anything}) | anything
pieces = st.lists(st.one_of(*[image] * 7, *[right_part] * 5, sound, odd), min_size=1, max_size=2)
shown = st.fixed_dictionaries({"role": st.sampled_from([*["user"] * 12, "system", "assistant"]), "content": pieces})
seeing = request(
    {"model": st.sampled_from([EYES, EYES, EYES, EARS, MODEL]), "messages": st.lists(shown, min_size=1, max_size=2)},
    chunk=st.integers(1, 6),
)
field = st.sampled_from(
    ["model", "file", "language", "prompt", "response_format", "temperature", "stream", "include[]", "timestamp_granularities[]"]
)
value = st.sampled_from(
    [EARS, MODEL, "en", "elvish", "0", "0.5", "true", "word", "segment", "verbose_json", "srt", "vtt", "text"]
)
piece = st.tuples(field, value.map(str.encode) | damaged(recordings), st.booleans())
form = st.builds(
    lambda found, skipped: as_form([("model", EARS.encode(), False), ("file", short, True), *found][skipped:]),
    st.just([]) | st.lists(piece, max_size=2),
    st.sampled_from([0] * 8 + [1, 2]),
)


def as_form(found):
    body = b""
    for name, content, file in found:
        filename = '; filename="a"' if file else ""
        head = f'Content-Disposition: form-data; name="{name}"{filename}'
        body += b"--x\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"
    return body + b"--x--\r\n"


media = st.one_of(
    *[st.tuples(st.just("/v1/chat/completions"), seeing)] * 3,
    *[st.tuples(st.just("/v1/audio/transcriptions"), damaged(form))] * 2,
)
bodies = st.one_of(
    *[st.tuples(st.just("/v1/chat/completions"), chat)] * 4,
    *[st.tuples(st.just("/v1/completions"), text)] * 3,
    st.tuples(st.sampled_from(["/v1/chat/completions", "/v1/completions"]), garbage),
)


class Target:
    """The server's port, and what it answered: how often each status, by path."""

    def __init__(self, port):
        self.port = port
        self.seen = collections.Counter()
        self.sent = 0

    def ask(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        encoded = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        kind = "multipart/form-data; boundary=x" if "audio" in path else "application/json"
        connection.request("POST", path, encoded, {"Content-Type": kind})
        answer = connection.getresponse()
        received = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("Content-Type"), received

    def ping(self):
        status, _, received = self.ask("/v1/chat/completions", json.dumps(PING))

        assert status == 200, received
        assert json.loads(received)["usage"]["completion_tokens"] == 1


@pytest.fixture(scope="module")
def target(tmp_path_factory, running):
    home = tmp_path_factory.mktemp("home")
    for model in (MODEL, EYES, EARS):
        store.install(model, home)
    limits = Limits()
    worker = Worker(engines.load, engines.leave_thread, limits)
    app = make_app(Library(home / "hub", MlxLm.installed()), worker, Policy(default_max_tokens=20))
    server = Server(app, bind("127.0.0.1", 0), limits.waiting + limits.together)
    with running(server, worker) as port:
        target = Target(port)
        yield target
        target.ping()
        sys.stdout.write(f"\n{target.sent} requests: {dict(sorted(target.seen.items()))}\n")


def problems(path, status, kind, received):
    """What is wrong with an answer by the description of the API."""
    answers = API["paths"][path]["post"]["responses"]
    if str(status) not in answers:
        return [f"{status} is not declared"]
    kind = kind.partition(";")[0]
    schema = answers[str(status)]["content"][kind]["schema"]
    validator = Draft202012Validator({**schema, "components": API["components"]})
    if kind == "application/json":
        return [problem.message for problem in validator.iter_errors(json.loads(received))]
    if kind != "text/event-stream":
        return []
    data = [line.removeprefix("data: ") for line in received.split("\n\n") if line and not line.startswith(":")]
    found = [problem.message for each in data[:-1] for problem in validator.iter_errors(json.loads(each))]
    return found if data[-1] == "[DONE]" else [*found, f"the stream ends with {data[-1]}"]


def fuzzing(count):
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[*HealthCheck],
    )


@pytest.mark.timeout(3600)
@seed(1)
@fuzzing(COUNT)
@given(asked=bodies)
def test_every_answer_is_a_declared_one_and_the_next_request_is_answered(target, asked):
    check(target, *asked)


@pytest.mark.timeout(3600)
@seed(1)
@fuzzing(COUNT // 4)  # each of them may change the model
@given(asked=media)
def test_so_is_every_answer_about_images_and_recordings(target, asked):
    check(target, *asked)


def check(target, path, body):
    status, kind, received = target.ask(path, body)
    target.seen[status] += 1
    target.sent += 1
    if target.sent % 100 == 0:
        target.ping()

    assert status < 500, (body, received)
    assert problems(path, status, kind, received) == [], body
