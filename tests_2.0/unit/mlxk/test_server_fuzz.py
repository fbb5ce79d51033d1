"""Whatever a client sends: no failure that is not declared, and the next request is answered.

The default suite sends a few hundred requests; ``MLXK_FUZZ=5000`` sends as many as that, and prints what came back.
"""

from __future__ import annotations

import collections
import http.client
import json
import os
import sys
import threading

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

API = json.loads(schemas.openapi())
MODEL = "mint/llama-tiny"
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
wrong_message = st.fixed_dictionaries(
    {"role": words | st.just("tool") | anything, "content": words | anything}, optional={"tool_calls": anything, "name": anything}
)
wrong = {
    **dict.fromkeys(right_options, near | anything),
    "max_tokens": near | anything,
    "max_completion_tokens": near | anything,
    "logprobs": near | st.booleans() | anything,
    "top_logprobs": near | anything,
    "stop": words | st.lists(words, max_size=6) | anything,
    "stream_options": st.fixed_dictionaries({}, optional={"include_usage": st.booleans() | anything}) | anything,
    "tools": anything,
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


chat = request({"messages": st.lists(right_message, min_size=1, max_size=4)}, logprobs=st.booleans())
text = request({"prompt": right_text | st.lists(right_text, min_size=1, max_size=4)}, logprobs=st.integers(0, 5))
garbage = anything.map(json.dumps) | st.binary(max_size=60)
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
        connection.request("POST", path, encoded, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        received = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("Content-Type"), received

    def ping(self):
        status, _, received = self.ask("/v1/chat/completions", json.dumps(PING))

        assert status == 200, received
        assert json.loads(received)["usage"]["completion_tokens"] == 1


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    store.install(MODEL, home)
    limits = Limits()
    worker = Worker(engines.load, engines.leave_thread, limits)
    app = make_app(Library(home / "hub", MlxLm.installed()), worker, Policy(default_max_tokens=20))
    server = Server(app, bind("127.0.0.1", 0), limits.waiting + limits.together)
    server.start()
    worker.start()
    loop = threading.Thread(target=server.run)
    loop.start()
    target = Target(server.bound.getsockname()[1])
    yield target
    target.ping()
    sys.stdout.write(f"\n{target.sent} requests: {dict(sorted(target.seen.items()))}\n")
    server.end()
    loop.join()
    worker.close()
    server.drain(worker.cancel_all)
    assert worker.join(10)


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
    data = [line.removeprefix("data: ") for line in received.split("\n\n") if line and not line.startswith(":")]
    found = [problem.message for each in data[:-1] for problem in validator.iter_errors(json.loads(each))]
    return found if data[-1] == "[DONE]" else [*found, f"the stream ends with {data[-1]}"]


@pytest.mark.timeout(3600)
@seed(1)
@settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[*HealthCheck],
)
@given(asked=bodies)
def test_every_answer_is_a_declared_one_and_the_next_request_is_answered(target, asked):
    path, body = asked
    status, kind, received = target.ask(path, body)
    target.seen[status] += 1
    target.sent += 1
    if target.sent % 100 == 0:
        target.ping()

    assert status < 500, (body, received)
    assert problems(path, status, kind, received) == [], body
