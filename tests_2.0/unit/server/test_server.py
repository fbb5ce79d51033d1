"""The server's protocol, over real HTTP, with an engine that follows a script."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import select
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlxk import cache
from mlxk.cache import Snapshot
from mlxk.compatibility import MlxLm
from mlxk.engines import Chosen, Finished, Likelihood, Reasoning, Started, Text, Timings, Usage
from mlxk.engines.turns import Turns
from mlxk.errors import ContextLengthExceeded, GenerationFailed, PromptRefused
from mlxk.library import Library
from mlxk.server import lifecycle
from mlxk.server.app import Policy, make_app
from mlxk.server.bodies import MAX_BYTES
from mlxk.server.lifecycle import Server, bind
from mlxk.server.logs import JsonFormatter, LineFormatter, NotAgain
from mlxk.server.worker import Limits, Worker

TIMEOUT_S = 10
CAPACITY = 2
JSON = {"Content-Type": "application/json"}


class Script:
    """An engine that does what the last message says, word by word; it notes what it began, cancelled and closed."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def stream(self, request, cancelled):
        words = (request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content).split()
        if words[0] == "too-long":
            raise ContextLengthExceeded("Too long.", prompt_tokens=9, context_length=8)
        if words[0] == "no-form":
            raise PromptRefused("The template does not take it.")
        self.notes.append(f"begin {words[0]}")
        yield Started()
        for word in words:
            if word == "fail":
                raise GenerationFailed("It failed.")
            if word == "crash":
                raise ZeroDivisionError("oops")
            if word == "die":
                raise SystemExit
            while word == "linger" and "stopping" not in self.notes:
                time.sleep(0.005)
            while word == "forever":
                if cancelled():
                    self.notes.append(f"cancel {words[0]}")
                    return
                time.sleep(0.005)
                if words[-1] != "silently":
                    yield Text("x")
            told = (Chosen(Likelihood(f"{word} ", -0.5), (Likelihood("b ", -0.25),)),) if request.top_logprobs is not None else ()
            yield Reasoning(f"{word} ") if word == "hm" else Text(f"{word} ", told)
        yield Finished("stop", Usage(3, len(words), 1), Timings(0.0, 0.1, 30.0, 9.0, 0.5))

    def batch(self, prompt_cache_bytes):
        return Turns(self.stream)

    def close(self):
        self.notes.append(f"close {self.name}")


class Client:
    def __init__(self, port: int, notes: list[str], worker: Worker) -> None:
        self.port = port
        self.notes = notes
        self.worker = worker

    def open(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request(method, path, body, headers or {})
        return connection

    def ask(self, method, path, body=None, headers=None):
        connection = self.open(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def chat(self, content, model="org/one", **fields):
        return self.ask("POST", "/v1/chat/completions", *chat_body(content, model, **fields))

    def complete(self, prompt, path="/v1/completions", **fields):
        return self.ask("POST", path, json.dumps({"model": "org/one", "prompt": prompt, **fields}).encode(), JSON)

    def begin_chat(self, content, model="org/one", **fields):
        """Send the request, and leave the answer to come."""
        return self.open("POST", "/v1/chat/completions", *chat_body(content, model, **fields))

    def fill(self):
        """One request that is being answered, and as many behind it as may wait."""
        connections = [self.begin_chat("forever")]
        self.wait_for(lambda: "begin forever" in self.notes)
        connections += [self.begin_chat("queued") for _ in range(CAPACITY)]
        self.wait_for(lambda: self.worker.waiting == CAPACITY)
        return connections

    def wait_for(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, self.notes
            time.sleep(0.005)


def chat_body(content, model, **fields):
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def events_of(text):
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line and not line.startswith(":")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def usage(prompt, completion, cached):
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


@contextlib.contextmanager
def serving(hub, policy=None, most_connections=512, workspace=None, load=None, preload=None, **limits):
    notes: list[str] = []
    for name in ("org/one", "org/two"):
        hub.add(name)
    hub.add("org/broken", {"model.safetensors": None})
    load = load or (lambda model, _modality: Script(model.name, notes))
    worker = Worker(load, lambda: None, Limits(**{"waiting": CAPACITY, "together": 1, **limits}))
    app = make_app(Library(hub.root, MlxLm.installed()), worker, policy or Policy(), workspace)
    server = Server(app, bind("127.0.0.1", 0), CAPACITY + 1, most_connections)
    server.start()
    worker.start(preload and Library(hub.root, MlxLm.installed()).find(preload), on_death=lambda: notes.append("dead"))
    loop = threading.Thread(target=server.run)
    loop.start()
    try:
        yield Client(server.bound.getsockname()[1], notes, worker)
    finally:
        server.end()
        loop.join(TIMEOUT_S)
        worker.close()
        notes.append("stopping")
        server.drain(worker.cancel_all)
        worker.join(TIMEOUT_S)


@pytest.fixture
def client(hub):
    with serving(hub) as client:
        yield client


def test_a_batch_answer_has_openais_shape_with_real_counts(client):
    answer, text = client.chat("one two")
    body = json.loads(text)

    assert answer.status == 200
    assert (body["object"], body["model"], body["id"][:9]) == ("chat.completion", "org/one", "chatcmpl-")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two ", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"] == usage(3, 2, cached=1)
    assert body["timings"]["time_to_first_token_s"] == 0.1


def test_a_stream_gives_the_role_once_then_text_then_one_finish_then_done(client):
    answer, text = client.chat("one two", stream=True)
    *chunks, last = events_of(text)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]

    assert answer.getheader("Content-Type").startswith("text/event-stream")
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "one "}, {"content": "two "}, {}]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in chunks)
    assert last == "[DONE]"


def test_a_stream_that_is_asked_for_usage_ends_with_it(client):
    *chunks, last, done = events_of(client.chat("one", stream=True, stream_options={"include_usage": True})[1])

    assert all(chunk["usage"] is None for chunk in chunks)
    assert (last["choices"], last["object"]) == ([], "chat.completion.chunk")
    assert last["usage"] == usage(3, 1, cached=1)
    assert last["timings"]["generation_tps"] == 9.0
    assert done == "[DONE]"


def test_the_stream_joined_is_the_batch_answer(client):
    batch = json.loads(client.chat("ä 🦊 日本 </s>")[1])["choices"][0]["message"]["content"]
    chunks = events_of(client.chat("ä 🦊 日本 </s>", stream=True)[1])[:-1]

    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == batch == "ä 🦊 日本 </s> "


def test_reasoning_has_a_field_of_its_own_in_message_and_delta(client):
    message = json.loads(client.chat("hm hm so")[1])["choices"][0]["message"]
    chunks = events_of(client.chat("hm hm so", stream=True)[1])[:-1]

    assert (message["reasoning_content"], message["content"]) == ("hm hm ", "so ")
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:-1]] == [
        {"reasoning_content": "hm "},
        {"reasoning_content": "hm "},
        {"content": "so "},
    ]


def test_a_texts_continuation_has_openais_shape(client):
    answer, text = client.complete("one two")
    body = json.loads(text)

    assert (answer.status, body["object"], body["id"][:5]) == (200, "text_completion", "cmpl-")
    assert body["choices"] == [{"index": 0, "text": "one two ", "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"] == usage(3, 2, cached=1)


def test_several_texts_are_continued_each_for_itself_and_counted_together(client):
    body = json.loads(client.complete(["one", "two words"])[1])
    *chunks, told, done = events_of(client.complete(["one", "two words"], stream=True, stream_options={"include_usage": True})[1])
    streamed = [(choice["index"], choice["text"], choice["finish_reason"]) for chunk in chunks for choice in chunk["choices"]]

    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [(0, "one "), (1, "two words ")]
    assert streamed == [(0, "one ", None), (0, "", "stop"), (1, "two ", None), (1, "words ", None), (1, "", "stop")]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert body["usage"] == told["usage"] == usage(6, 3, cached=2)
    assert done == "[DONE]"


def test_logprobs_stand_in_openais_places_in_batch_and_in_stream(client):
    content = [
        {
            "token": f"{word} ",
            "logprob": -0.5,
            "bytes": [*f"{word} ".encode()],
            "top_logprobs": [{"token": "b ", "logprob": -0.25, "bytes": [98, 32]}],
        }
        for word in ("one", "ä")
    ]
    batch = json.loads(client.chat("one ä", logprobs=True, top_logprobs=1)[1])["choices"][0]
    chunks = events_of(client.chat("one ä", logprobs=True, top_logprobs=1, stream=True)[1])[:-1]
    streamed = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    text = json.loads(client.complete("one ä", logprobs=1)[1])["choices"][0]["logprobs"]
    texts = [chunk["choices"][0]["logprobs"] for chunk in events_of(client.complete("one ä", logprobs=1, stream=True)[1])[:-1]]

    assert batch["logprobs"] == {"content": content, "refusal": None}
    assert [token for told in streamed if told for token in told["content"]] == content
    assert text == {
        "tokens": ["one ", "ä "],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"b ": -0.25}, {"b ": -0.25}],
        "text_offset": [0, 4],
    }
    assert [told["text_offset"] for told in texts if told] == [[0], [4]]


def test_several_texts_wait_together_or_not_at_all(client):
    answer, _ = client.complete(["one"] * (CAPACITY + 1))

    assert (answer.status, client.notes) == (503, [])


def test_a_text_that_fails_ends_its_request_and_harms_none_after_it(client):
    assert client.complete(["fail", "beside"])[0].status == 500
    assert client.complete(["too-long", "beside"], stream=True)[0].status == 400
    assert client.complete("after")[0].status == 200
    assert [note for note in client.notes if note != "begin beside"] == ["begin fail", "begin after"]


def test_a_stream_that_is_silent_gets_comments_that_clients_skip(hub):
    with serving(hub, Policy(keepalive_s=0.05)) as client:
        connection = client.begin_chat("one forever silently", stream=True)
        raw = connection.getresponse()
        lines = [raw.readline() for _ in range(8)]
        raw.close()
        connection.close()

    assert [line[:1] for line in lines if line.strip()] == [b"d", b"d", b":", b":"]


def test_an_answer_that_takes_too_long_is_ended_and_the_engine_is_free_again(hub):
    with serving(hub, request_s=0.2) as client:
        answer, text = client.chat("forever silently")
        begun, events = client.chat("one forever", stream=True)

        assert (answer.status, json.loads(text)["error"]["code"]) == (504, "deadline_exceeded")
        assert (begun.status, events_of(events)[-1]["error"]["code"]) == (200, "deadline_exceeded")
        client.wait_for(lambda: {"cancel forever", "cancel one"} <= {*client.notes})
        assert client.chat("one")[0].status == 200


def test_a_model_that_nobody_asks_for_is_unloaded_and_comes_back_when_somebody_does(hub):
    with serving(hub, idle_s=0.1) as client:
        assert client.chat("one")[0].status == 200
        client.wait_for(lambda: "close org/one" in client.notes)
        assert json.loads(client.ask("GET", "/health")[1])["model"] is None
        assert client.chat("two")[0].status == 200


def test_answers_of_one_model_are_made_at_the_same_time_and_another_model_waits_for_its_turn(hub):
    with serving(hub, together=2, waiting=8) as client:
        first, second = (client.begin_chat(f"{word} forever", stream=True) for word in ("a", "b"))
        client.wait_for(lambda: {"begin a", "begin b"} <= {*client.notes})
        other = client.begin_chat("other", model="org/two")
        client.wait_for(lambda: client.worker.waiting == 1)
        late = client.begin_chat("late")
        client.wait_for(lambda: client.worker.waiting == 2)
        first.close()
        second.close()

        assert json.loads(other.getresponse().read())["model"] == "org/two"
        assert json.loads(late.getresponse().read())["model"] == "org/one"
        assert [note for note in client.notes if note.startswith("begin")][2:] == ["begin other", "begin late"]


def test_what_is_counted_can_be_read_by_prometheus(client):
    client.chat("one two")
    client.chat("one")
    client.ask("GET", "/never/heard/of")
    answer, text = client.ask("GET", "/metrics")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    assert answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")
    assert samples["mlxk_requests_total", "/v1/chat/completions", "200"] == 2
    assert samples["mlxk_requests_total", "other", "404"] == 1
    assert [samples["mlxk_tokens_total", kind] for kind in ("prompt", "cached", "completion")] == [6, 2, 3]
    buckets = [samples["mlxk_time_to_first_token_seconds_bucket", bound] for bound in ("0.05", "0.1", "60", "+Inf")]
    assert buckets == [0, 2, 2, 2]
    assert samples["mlxk_model_loaded", "org/one"] == 1
    assert samples["mlxk_requests_active",] == samples["mlxk_requests_waiting",] == 0


def test_only_pages_of_an_origin_that_was_allowed_may_read_answers(hub):
    with serving(hub, Policy(allowed_origins=("https://mine.example",))) as client:
        asked = {"Origin": "https://mine.example"}
        answer, _ = client.ask("GET", "/v1/models", headers=asked)
        preflight, _ = client.ask("OPTIONS", "/v1/chat/completions", headers=asked)
        foreign = client.ask("OPTIONS", "/v1/chat/completions", headers={"Origin": "https://evil.example"})[0]

    assert (answer.status, answer.getheader("Access-Control-Allow-Origin")) == (200, "https://mine.example")
    assert (preflight.status, preflight.getheader("Access-Control-Allow-Headers")) == (204, "Authorization, Content-Type")
    assert (foreign.status, foreign.getheader("Access-Control-Allow-Origin")) == (403, None)


def test_paths_without_a_version_are_the_same_paths(client):
    assert client.ask("GET", "/models")[1] == client.ask("GET", "/v1/models")[1]
    assert json.loads(client.ask("GET", "/models/org/one")[1])["id"] == "org/one"
    assert client.complete("one", path="/completions")[0].status == 200
    assert client.ask("POST", "/chat/completions", *chat_body("one", "org/one"))[0].status == 200


@pytest.mark.parametrize("word", ["fail", "crash"])
def test_a_failure_in_mid_stream_is_an_error_event_and_no_done(client, word):
    *_, last = events_of(client.chat(f"one {word}", stream=True)[1])

    assert last["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("word", "code"), [("too-long", "context_length_exceeded"), ("no-form", "prompt_refused")])
def test_a_prompt_that_is_refused_has_a_status_of_its_own_even_for_a_stream(client, stream, word, code):
    answer, text = client.chat(word, stream=stream)

    assert (answer.status, json.loads(text)["error"]["code"]) == (400, code)


@pytest.mark.parametrize("word", ["fail", "crash"])
def test_a_request_that_fails_harms_no_other(client, word):
    answer, text = client.chat(f"one {word}")

    assert (answer.status, json.loads(text)["error"]["type"]) == (500, "server_error")
    assert client.chat("fine")[0].status == 200
    assert client.ask("GET", "/health")[0].status == 200


def test_a_dead_engine_shows_in_health_and_hangs_nobody(client):
    waiting = client.begin_chat("die")

    assert waiting.getresponse().status == 503
    client.wait_for(lambda: "dead" in client.notes)
    answer, text = client.ask("GET", "/health")
    assert (answer.status, json.loads(text)["status"]) == (503, "dead")
    assert client.chat("hello")[0].status == 503


def test_health_is_503_while_the_first_model_is_loaded_and_requests_wait_for_it(hub):
    loaded = threading.Event()

    def load(model, _modality):
        loaded.wait(TIMEOUT_S)
        return Script(model.name, [])

    with serving(hub, load=load, preload="org/one") as client:
        answer, text = client.ask("GET", "/health")
        waiting = client.begin_chat("one")
        loaded.set()

        assert (answer.status, json.loads(text)["status"], json.loads(text)["model"]) == (503, "loading", None)
        assert waiting.getresponse().status == 200
        assert client.ask("GET", "/health")[0].status == 200


def test_an_answer_that_is_under_way_when_the_server_is_told_to_end_is_finished(hub):
    with serving(hub) as client:
        connection = client.begin_chat("one linger two", stream=True)
        answer = connection.getresponse()
        answer.read(1)
    told = answer.read().decode()

    assert told.endswith("data: [DONE]\n\n")
    assert "two" in told


def test_an_answer_that_does_not_end_within_the_grace_period_is_ended_with_an_error(hub, monkeypatch):
    monkeypatch.setattr(lifecycle, "GRACE_S", 0.1)
    with serving(hub) as client:
        connection = client.begin_chat("forever", stream=True)
        answer = connection.getresponse()
        answer.read(1)
    last = answer.read().decode().rstrip().rpartition("\n\n")[2]

    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "unavailable"
    assert "cancel forever" in client.notes


_watched: list[tuple[str, str]] | None = None


def _watch(event, arguments):
    if _watched is not None and event in ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo"):
        _watched.append((event, str(arguments)))


sys.addaudithook(_watch)  # which cannot be taken away again


NAMES = (
    "org/none",
    "http://127.0.0.1:9/x",
    "file:///etc/passwd",
    "/etc/passwd",
    "~/.netrc",
    "..",
    "../../../../etc",
    "org/../etc",
)


@pytest.mark.parametrize("name", [*NAMES, "org/one@../../../../etc", "./org", "org/one/../../../x", "\0", "org/\0"])
def test_no_name_makes_the_server_open_a_connection_or_a_file_outside_the_cache(hub, client, name):
    """As Python itself tells of every file and connection that it opens."""
    global _watched  # noqa: PLW0603 - a hook has no other way to hear
    _watched = []
    answer, _ = client.chat("one", model=name)
    seen, _watched = _watched, None
    own = [
        each for each in seen if each[0] == "socket.getaddrinfo" or (each[0] == "socket.connect" and str(client.port) in each[1])
    ]
    beyond = [each for each in seen if each not in own and (each[0] == "socket.connect" or str(hub.root) not in each[1])]

    assert answer.status in (400, 404)
    assert len(own) == 2  # those of this client
    assert beyond == []


@pytest.mark.parametrize(("model", "status"), [("org/none", 404), ("org/broken", 422), ("../../etc", 404), ("org/", 404)])
def test_a_model_that_cannot_be_loaded_harms_nothing_about_the_loaded_one(client, model, status):
    client.chat("one")
    answer, text = client.chat("one", model=model)

    assert answer.status == status
    assert json.loads(text)["error"]["message"]
    assert json.loads(client.ask("GET", "/health")[1])["model"] == "org/one"
    assert "close org/one" not in client.notes


def test_the_model_in_memory_is_found_without_a_look_at_all_others(client, monkeypatch):
    client.chat("one")
    monkeypatch.setattr("mlxk.cache.names", lambda hub: pytest.fail("nobody asked for these"))

    assert client.chat("two")[0].status == 200


def test_where_main_leads_is_read_again_only_once_its_file_may_be_another(client, hub, monkeypatch):
    later_ns = time.time_ns() + 10**10
    monkeypatch.setattr("mlxk.cache.time.time_ns", lambda: later_ns)
    client.chat("one")
    client.chat("two")
    read, at_ref = [], cache.at_ref
    monkeypatch.setattr("mlxk.cache.at_ref", lambda *ref: read.append(ref) or at_ref(*ref))
    client.chat("three")
    unchanged = len(read)
    main = hub.root / "models--org--one" / "refs" / "main"
    changed_ns = main.stat().st_ctime_ns
    while main.stat().st_ctime_ns == changed_ns:
        main.write_text(main.read_text())
    client.chat("four")

    assert (unchanged, len(read)) == (0, 1)


def test_once_main_leads_elsewhere_that_is_loaded_and_once_it_leads_nowhere_nothing_is_answered(client, hub):
    client.chat("one")
    hub.add("org/one", commit="f" * 40)
    moved = client.chat("two")[0].status
    loaded = client.worker.loaded.snapshot.commit
    shutil.rmtree(hub.root / "models--org--one")

    assert (moved, loaded) == (200, "f" * 40)
    assert client.chat("three")[0].status == 404


def test_another_model_takes_the_place_of_the_loaded_one(client):
    client.chat("one")
    body = json.loads(client.chat("two", model="TWO")[1])

    assert body["model"] == "org/two"
    assert client.notes == ["begin one", "close org/one", "begin two"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["", " silently"])
def test_a_client_that_leaves_stops_costing_tokens(client, stream, how):
    connection = client.begin_chat(f"forever{how}", stream=stream)
    client.wait_for(lambda: "begin forever" in client.notes)
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()

    client.wait_for(lambda: "cancel forever" in client.notes)
    client.wait_for(lambda: client.worker.active == 0)
    assert client.chat("next")[0].status == 200


def test_a_client_that_leaves_the_queue_is_never_begun(client):
    active = client.begin_chat("forever")
    client.wait_for(lambda: "begin forever" in client.notes)
    queued = client.begin_chat("queued")
    client.wait_for(lambda: client.worker.waiting == 1)
    queued.close()
    time.sleep(0.2)  # longer than the server's poll: the client must be seen to have left before its turn comes
    active.close()
    client.wait_for(lambda: client.worker.active == client.worker.waiting == 0)

    assert client.chat("next")[0].status == 200
    assert "begin queued" not in client.notes


def test_beyond_the_queues_bound_requests_are_told_to_come_back(client):
    connections = client.fill()
    answer, text = client.chat("one too many")
    for connection in connections:
        connection.close()

    assert (answer.status, json.loads(text)["error"]["type"]) == (503, "server_error")
    assert int(answer.getheader("Retry-After")) > 0


def test_health_answers_while_every_request_that_may_wait_does(client):
    connections = client.fill()
    began = time.monotonic()
    health = json.loads(client.ask("GET", "/health")[1])
    for connection in connections:
        connection.close()

    assert (health["status"], health["active"], health["waiting"]) == ("ok", 1, CAPACITY)
    assert time.monotonic() - began < 2


def test_a_workspace_is_served_by_its_own_name_and_no_client_can_name_a_folder(hub):
    folder = str(hub.add("org/elsewhere").rename(hub.root.parent / "mine"))
    with serving(hub, workspace=Snapshot("mine", folder, None, cached=False)) as client:
        answer, text = client.chat("one two", model="mine")
        listed = [model["id"] for model in json.loads(client.ask("GET", "/v1/models")[1])["data"]]
        shown = json.loads(client.ask("GET", "/v1/models/mine")[1])
        by_path = [client.chat("one", model=folder)[0].status, client.ask("GET", f"/v1/models/{folder}")[0].status]

    assert (answer.status, json.loads(text)["model"]) == (200, "mine")
    assert listed == ["mine", "org/one", "org/two"]
    assert (shown["id"], shown["loaded"]) == ("mine", True)
    assert by_path == [404, 404]


def test_models_lists_only_what_can_be_served(client):
    body = json.loads(client.ask("GET", "/v1/models")[1])

    assert [model["id"] for model in body["data"]] == ["org/one", "org/two"]
    assert json.loads(client.ask("GET", "/v1/models/org/one")[1]) == body["data"][0]


def test_a_model_tells_what_it_can_do_how_much_it_holds_and_whether_it_is_loaded(client):
    client.chat("one")
    one, two = (json.loads(client.ask("GET", f"/v1/models/org/{name}")[1]) for name in ("one", "two"))

    assert (one["capabilities"], one["context_length"], one["loaded"]) == (["text-generation", "chat"], 512, True)
    assert two["loaded"] is False


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/nothing", None, {}, 404, "not_found"),
        ("GET", "/v1/models/org/none", None, {}, 404, "model_not_found"),
        ("GET", "/v1/models/org/broken", None, {}, 404, "model_not_found"),
        ("DELETE", "/v1/models", None, {}, 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", None, {}, 405, "method_not_allowed"),
        ("POST", "/v1/chat/completions", b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/v1/chat/completions", b"{", JSON, 400, "validation_error"),
        ("POST", "/v1/chat/completions", b"[" * 100_000, JSON, 400, "validation_error"),
        ("POST", "/v1/chat/completions", b"{}", JSON, 400, "validation_error"),
        ("GET", "/health", None, {"Host": "evil.example"}, 403, "access_denied"),
        ("GET", "/nothing", None, {"Host": "evil.example"}, 403, "access_denied"),
        ("GET", "/health", None, {"Host": "["}, 403, "access_denied"),
        ("GET", "/v1/models", None, {"Origin": "https://evil.example"}, 403, "access_denied"),
        ("GET", "/v1/models", None, {"Origin": "null"}, 403, "access_denied"),
        ("GET", "/v1/models", None, {"Origin": "http://["}, 403, "access_denied"),
    ],
)
def test_every_refusal_has_openais_shape_and_a_request_id(client, method, path, body, headers, status, code):
    answer, text = client.ask(method, path, body, headers)
    error = json.loads(text)["error"]

    assert (answer.status, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.getheader("Content-Type") == "application/json"
    assert answer.getheader("X-Request-Id")


def test_an_oversize_body_is_refused_by_its_declared_length_before_it_is_sent(client):
    with socket.create_connection(("127.0.0.1", client.port), timeout=TIMEOUT_S) as raw:
        request = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BYTES + 1}\r\n\r\n"
        raw.sendall(request.encode())
        answer = http.client.HTTPResponse(raw)
        answer.begin()

        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "payload_too_large")
        assert answer.getheader("X-Request-Id")


FLOOD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-Flood: " + b"x" * 300_000 + b"\r\n\r\n"
ENDLESS = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "more", "status", "code"),
    [
        (FLOOD, b"", 431, "headers_too_large"),
        (ENDLESS, b"10000\r\n" + b" " * 0x10000 + b"\r\n", 413, "payload_too_large"),
        (b"nonsense\r\n\r\n", b"", 400, "bad_request"),
    ],
    ids=["headers", "endless body", "no HTTP"],
)
def test_what_waitress_refuses_has_openais_shape_too(client, begun, more, status, code):
    with socket.create_connection(("127.0.0.1", client.port), timeout=TIMEOUT_S) as raw:
        with contextlib.suppress(ConnectionError):
            raw.sendall(begun)
            for _ in range(2 * MAX_BYTES // max(1, len(more)) if more else 0):
                raw.sendall(more)
                if select.select([raw], [], [], 0)[0]:
                    break
        answer = http.client.HTTPResponse(raw)
        answer.begin()

        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (status, code)
    assert client.chat("after")[0].status == 200


@pytest.mark.parametrize("name", ["localhost", "localhost:1234", "127.0.0.1:80", "[::1]:8000"])
def test_names_of_loopback_are_served_from_pages_of_loopback(client, name):
    headers = {"Host": name, "Origin": f"http://{name}"}

    assert client.ask("GET", "/health", headers=headers)[0].status == 200


def test_a_clients_request_id_comes_back_unless_it_is_unfit_for_a_log(client):
    assert client.ask("GET", "/health", headers={"X-Request-Id": "mine-1"})[0].getheader("X-Request-Id") == "mine-1"
    assert client.ask("GET", "/health", headers={"X-Request-Id": "a b"})[0].getheader("X-Request-Id") != "a b"


def test_with_a_key_everything_but_health_asks_for_it(hub):
    with serving(hub, Policy(loopback_only=False, api_key="sécret")) as client:
        right = {"Authorization": "Bearer sécret".encode().decode("latin-1")}

        assert client.ask("GET", "/health", headers={"Host": "any.name"})[0].status == 200
        assert client.ask("GET", "/v1/models", headers=right)[0].status == 200
        assert (
            client.ask("GET", "/v1/models", headers={"Authorization": right["Authorization"].replace("B", "b")})[0].status == 200
        )
        key = right["Authorization"].partition(" ")[2]
        for wrong in (None, "Bearer secret", "Bearer ", "Bearer", key, f" {key}", f"Basic {key}", f"Bearer{key}"):
            answer, text = client.ask("GET", "/v1/models", headers={"Authorization": wrong} if wrong else {})
            assert (answer.status, json.loads(text)["error"]["code"]) == (401, "invalid_api_key"), wrong
            assert answer.getheader("WWW-Authenticate") == "Bearer"


HALF_A_HEADER = b"GET /health HTTP/1.1\r\nHost: local"
HALF_A_BODY = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"


@contextlib.contextmanager
def half_sent(client, count, begun):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", client.port), TIMEOUT_S)) for _ in range(count)]
        for raw in slow:
            raw.sendall(begun)
        yield slow


@pytest.mark.parametrize("begun", [b"", HALF_A_HEADER, HALF_A_BODY], ids=["nothing", "header", "body"])
def test_clients_that_send_slowly_keep_nobody_waiting(client, begun):
    busy = client.fill()
    with half_sent(client, 220, begun):
        assert client.ask("GET", "/health")[0].status == 200
        assert client.chat("one too many")[0].status == 503
    for connection in busy:
        connection.close()


def test_beyond_the_most_connections_the_one_that_was_silent_longest_makes_room_and_no_answer_is_cut(hub):
    with serving(hub, most_connections=16) as client:
        connection = client.begin_chat("forever", stream=True)
        answer = connection.getresponse()
        with half_sent(client, 40, HALF_A_HEADER) as slow:
            assert client.ask("GET", "/health")[0].status == 200
            assert _is_dropped(slow[0])
            assert b"x" in answer.read(1000)
        answer.close()
        connection.close()


def test_who_has_only_just_come_is_read_before_anyone_is_dropped():
    def answer_nothing(environ, start_response):
        start_response("204 No Content", [])
        return []

    server = Server(answer_nothing, bind("127.0.0.1", 0), most_requests=1, most_connections=16)
    server.start()
    address = server.bound.getsockname()
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(socket.create_connection(address, TIMEOUT_S)) for _ in range(13)]
        for _ in others:
            server.turn(0.1)
        newcomer = stack.enter_context(socket.create_connection(address, TIMEOUT_S))
        newcomer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for raw in others:
            raw.sendall(HALF_A_HEADER)
        newcomer.setblocking(False)

        answer = _in_turns(server, newcomer)

        assert answer.startswith(b"HTTP/1.1 204")
    server.drain(lambda: None)


def _in_turns(server, connection):
    """What comes over it while the server takes its turns."""
    for _ in range(100):
        server.turn(0.1)
        with contextlib.suppress(BlockingIOError):
            return connection.recv(1000)
    return b"nothing"


def _is_dropped(connection):
    """A server that drops what it has not read yet resets the connection; one that has read it all ends it in good order."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_path_is_logged_on_one_line_without_its_control_characters(client, caplog):
    caplog.set_level("INFO", "mlxk")
    client.ask("GET", "/%0a[ERROR]%20forged%1b[31m%e6%97%a5")

    assert [record.getMessage().split()[:3] for record in caplog.records] == [
        ["GET", "/%0A%5BERROR%5D%20forged%1B%5B31m%E6%97%A5", "404"]
    ]


HOSTILE = "It failed: a\r\n[ERROR] b\x1b[31m\x9b1m é 日"


def record(message, **extra):
    made = logging.LogRecord("mlxk", logging.WARNING, "", 0, "%s", (message,), None)
    made.__dict__.update(extra)
    return made


def test_a_message_with_the_words_of_others_in_it_is_one_line_of_the_log():
    assert LineFormatter().format(record(HOSTILE)) == r"[WARNING] It failed: a\x0d\x0a[ERROR] b\x1b[31m\x9b1m é 日"
    assert len(JsonFormatter().format(record(HOSTILE)).splitlines()) == 1


def test_a_line_of_json_says_when_what_and_for_which_request():
    line = json.loads(JsonFormatter().format(record("done", request_id="r1", status=200)))

    assert (line["level"], line["msg"], line["request_id"], line["status"]) == ("WARNING", "done", "r1", 200)
    assert abs(line["ts"] - time.time()) < 60


def test_keys_tokens_and_the_home_directory_are_masked_in_both_forms():
    said = f"hf_abcdefghijk Bearer abcdef.ghi-1 sk-1234567890 {Path.home()}/models own-key"

    for formatter in (LineFormatter("own-key"), JsonFormatter("own-key")):
        written = formatter.format(record(said))
        assert "hf_*** Bearer *** sk-*** ~/models ***" in written


def test_the_same_warning_again_and_again_is_said_once():
    said = NotAgain()

    assert [said.filter(record(message)) for message in ("a", "a", "b", "a")] == [True, False, True, True]
