"""``mlxk serve`` on a real model: every known answer exactly, batch equal to stream, OpenAI's forms, errors that harm nobody."""

from __future__ import annotations

import pytest

from qualification.mint.catalog import known_completions
from qualification.plugin import subject

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

CATS = [{"role": "user", "content": "Write one sentence about cats."}]


def test_every_known_answer_is_exact_in_batch_and_in_stream(server, text_model_info, text_known_answers, messages, leaked):
    model = text_model_info.model_id
    asked = [(messages(known), known.answer) for known in text_known_answers] or [(CATS, None)]

    for sent, expected in asked:
        batch = server.chat(model, sent, max_tokens=200).json
        stream = server.stream_chat(model, sent, max_tokens=200)

        answered = batch["choices"][0]["message"]["content"]
        assert stream.text == answered
        assert leaked(answered) == []
        assert expected is None or answered == expected
        assert stream.finish_reasons == [batch["choices"][0]["finish_reason"]]
        assert expected is None or stream.finish_reasons == ["stop"]


def test_every_known_text_is_continued_exactly_alone_and_together(server, text_model_info):
    known = known_completions(text_model_info.model_id)
    request = {"model": text_model_info.model_id, "temperature": 0, "max_tokens": 50}
    expected = [(completion.answer, "stop") for completion in known] or None

    prompts = [completion.prompt for completion in known] or ["Once upon a time"]
    alone = [server.post("/v1/completions", {**request, "prompt": prompt}).json["choices"][0] for prompt in prompts]
    together = server.post("/v1/completions", {**request, "prompt": prompts}).json["choices"]
    stream = subject.parse_stream(server.post("/v1/completions", {**request, "prompt": prompts[0], "stream": True}).body)

    assert [choice["index"] for choice in together] == list(range(len(prompts)))
    told = [(choice["text"], choice["finish_reason"]) for choice in together]
    assert told == [(choice["text"], choice["finish_reason"]) for choice in alone]
    assert expected is None or told == expected
    assert "".join(event["choices"][0]["text"] for event in stream.events) == alone[0]["text"]
    assert stream.done


def test_a_batch_answer_has_openai_s_form(server, text_model_info):
    answer = server.chat(text_model_info.model_id, CATS, max_tokens=50)

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == text_model_info.model_id
    assert isinstance(body["created"], int)
    (choice,) = body["choices"]
    assert (choice["index"], choice["message"]["role"], choice["logprobs"]) == (0, "assistant", None)
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] <= 50


def test_a_stream_has_openai_s_form_and_ends_with_done(server, text_model_info):
    stream = server.stream_chat(text_model_info.model_id, CATS, max_tokens=50, stream_options={"include_usage": True})

    *pieces, usage = stream.events
    assert stream.done
    assert {event["object"] for event in stream.events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in stream.events}) == 1
    assert [("role" in event["choices"][0]["delta"]) for event in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [event["choices"][0]["finish_reason"] is None for event in pieces] == [True] * (len(pieces) - 1) + [False]
    assert all(event["usage"] is None for event in pieces)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] > 0


def test_a_stream_comes_in_pieces(server, text_model_info):
    stream = server.stream_chat(text_model_info.model_id, CATS, max_tokens=50)

    assert len(stream.pieces) > 1


def test_a_stop_string_cuts_before_it_in_batch_and_in_stream(server, text_model_info):
    model = text_model_info.model_id
    whole = server.chat(model, CATS, max_tokens=50).json["choices"][0]["message"]["content"]
    stop = whole[len(whole) // 3 : len(whole) // 2]

    batch = server.chat(model, CATS, max_tokens=50, stop=stop).json["choices"][0]
    stream = server.stream_chat(model, CATS, max_tokens=50, stop=[stop])

    assert batch["message"]["content"] == whole[: whole.index(stop)] == stream.text
    assert [batch["finish_reason"]] == ["stop"] == stream.finish_reasons


def test_the_token_budget_ends_with_length(server, text_model_info):
    body = server.chat(text_model_info.model_id, CATS, max_completion_tokens=3).json

    assert (body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == ("length", 3)


def test_the_same_seed_gives_the_same_text_within_its_budget(server, text_model_info):
    request = {"model": text_model_info.model_id, "prompt": "Once", "temperature": 1.5, "max_tokens": 8, "seed": 7}

    first, second = (server.post("/v1/completions", request).json for _ in range(2))

    assert first["choices"] == second["choices"]
    assert first["usage"]["completion_tokens"] == 8 or first["choices"][0]["finish_reason"] == "stop"


@pytest.mark.unmeasured("no answer is asked for")
def test_health_and_models_tell_what_is_there(server, text_model_info):
    assert server.get("/health").status == 200

    listed = server.get("/v1/models").json

    assert listed["object"] == "list"
    assert text_model_info.model_id in [model["id"] for model in listed["data"]]
    assert server.get(f"/v1/models/{text_model_info.model_id}").json["id"] == text_model_info.model_id


def test_bad_requests_get_openai_s_error_and_harm_nobody(server, text_model_info):
    model = text_model_info.model_id
    before = server.chat(model, CATS, max_tokens=50).json["choices"]
    json_type = {"Content-Type": "application/json"}
    deep = b'{"model": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    answers = {
        "unknown model": (404, server.chat("nobody/nothing", CATS)),
        "path as model": (404, server.chat("../../etc/passwd", CATS)),
        "no messages": (400, server.post("/v1/chat/completions", {"model": model})),
        "messages of the wrong type": (400, server.post("/v1/chat/completions", {"model": model, "messages": "Hi"})),
        "stop of the wrong type": (400, server.chat(model, CATS, stop=5)),
        "temperature too high": (400, server.chat(model, CATS, temperature=3)),
        "no budget": (400, server.chat(model, CATS, max_tokens=0)),
        "tools": (400, server.chat(model, CATS, tools=[{"type": "function", "function": {"name": "f"}}])),
        "two choices": (400, server.chat(model, CATS, n=2)),
        "sampling of the wrong type": (400, server.chat(model, CATS, top_p="much")),
        "not JSON": (400, server.request("POST", "/v1/chat/completions", b"{", json_type)),
        "deep JSON": (400, server.request("POST", "/v1/chat/completions", deep, json_type)),
        "not UTF-8": (400, server.request("POST", "/v1/chat/completions", b'"\xff"', json_type)),
        "wrong content type": (415, server.request("POST", "/v1/chat/completions", b"{}", {"Content-Type": "text/plain"})),
        "unknown path": (404, server.get("/v2/chat")),
        "wrong method": (405, server.get("/v1/chat/completions")),
        "foreign host": (403, server.request("GET", "/v1/models", headers={"Host": "evil.example"})),
    }

    for name, (status, answer) in answers.items():
        assert answer.status == status, (name, answer.body)
        assert set(answer.json["error"]) >= {"message", "type", "param", "code"}, name
        assert answer.headers["x-request-id"], name
    assert answers["sampling of the wrong type"][1].json["error"]["param"] == "top_p"
    assert server.chat(model, CATS, max_tokens=50).json["choices"] == before
