"""``mlxk serve`` with a vision model: images in chats, in batch and as a stream, and a conversation that goes on without them."""

from __future__ import annotations

import base64

import pytest

from qualification.mint.catalog import known_answers, known_looks
from qualification.mint.pictures import Picture, encoded

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

DESCRIBE = "Describe the image."
RED, YELLOW = Picture("red", "circle"), Picture("yellow")


def turn(prompt, *pictures, kind="PNG"):
    """A message of the user in OpenAI's form."""
    parts = [{"type": "text", "text": prompt}]
    for picture in pictures:
        data = base64.b64encode(encoded(picture, kind)).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/{kind.lower()};base64,{data}"}})
    return {"role": "user", "content": parts}


@pytest.fixture
def known(vision_model_info):
    """What a minted model tells of pictures, by prompt and pictures; empty for a model of the user's."""
    return {(look.prompt, look.pictures): look.answer for look in known_looks(vision_model_info.model_id)}


@pytest.fixture
def ask(server, vision_model_info):
    """``ask(messages)`` is what the model says to them."""

    def said(*messages, **options):
        answer = server.chat(vision_model_info.model_id, messages, max_tokens=60, **options)

        assert answer.status == 200, answer.body
        return answer.json["choices"][0]["message"]["content"]

    return said


class TestVisionServerE2E:
    def test_single_image_chat_completion(self, server, vision_model_info, known):
        for prompt, pictures in [look for look in known if len(look[1]) == 1] or [(DESCRIBE, (RED,))]:
            answer = server.chat(vision_model_info.model_id, [turn(prompt, *pictures, kind="JPEG")], max_tokens=60)

            (choice,) = answer.json["choices"]
            assert (answer.status, choice["message"]["role"]) == (200, "assistant")
            assert choice["message"]["content"]
            assert not known or choice["message"]["content"] == known[prompt, pictures]
            assert answer.json["usage"]["prompt_tokens"] > len(prompt.split())

    def test_streaming_graceful_degradation(self, server, vision_model_info, ask):
        stream = server.stream_chat(vision_model_info.model_id, [turn(DESCRIBE, RED, YELLOW)], max_tokens=60)

        assert stream.done
        assert stream.text == ask(turn(DESCRIBE, RED, YELLOW))
        assert len(stream.finish_reasons) == 1
        assert len(stream.pieces) > 1

    def test_text_request_still_works_on_vision_model(self, vision_model_info, ask):
        answers = {known.name: known.answer for known in known_answers(vision_model_info.model_id)}
        said = ask({"role": "user", "content": "Hello!"})

        assert said
        assert not answers or said == answers["hello"]

    def test_vision_to_text_model_switch_filters_images(self, server, vision_model_info, ask):
        served = server.get("/v1/models").json["data"]
        text = [model["id"] for model in served if {"chat", "vision"} & {*model["capabilities"]} == {"chat"}]
        other = [*text, vision_model_info.model_id][0]
        seen = ask(turn(DESCRIBE, RED))
        told = [{"role": "assistant", "content": seen}, {"role": "user", "content": "Hello!"}]
        mentioned = {"role": "user", "content": f"{DESCRIBE}\n[1 image(s) were attached]"}

        after = server.chat(other, [turn(DESCRIBE, RED), *told], max_tokens=20)
        plain = server.chat(other, [mentioned, *told], max_tokens=20)

        assert after.status == 200, after.body
        assert after.json["choices"] == plain.json["choices"]
        assert ask(turn(DESCRIBE, RED)) == seen


def test_other_pictures_or_their_order_are_other_answers(ask, known):
    pair, swapped = ask(turn(DESCRIBE, RED, YELLOW)), ask(turn(DESCRIBE, YELLOW, RED))

    assert len({ask(turn(DESCRIBE, RED)), ask(turn(DESCRIBE, YELLOW)), ask(turn(DESCRIBE))}) == 3
    assert pair != swapped
    assert not known or (pair, swapped) == (known[DESCRIBE, (RED, YELLOW)], known[DESCRIBE, (YELLOW, RED)])


def test_the_pictures_of_the_last_message_count_and_keep_their_numbers_in_chunks(ask, known):
    history = [turn(DESCRIBE, RED), {"role": "assistant", "content": "Red."}, turn(DESCRIBE, YELLOW, RED)]
    told = ask(*history, chunk=1)

    assert told.startswith("Chunk 1/2: image 2\n\n")
    assert "\n\nChunk 2/2: image 1\n\n" in told
    assert not known or told.count(known[DESCRIBE, (RED,)]) == told.count(known[DESCRIBE, (YELLOW,)]) == 1


@pytest.mark.unmeasured("no answer is asked for")
def test_models_tell_that_they_see(server, vision_model_info):
    told = server.get(f"/v1/models/{vision_model_info.model_id}").json

    assert {"text-generation", "chat", "vision"} <= {*told["capabilities"]}


def test_images_that_nobody_should_trust_are_one_error_and_harm_nobody(server, vision_model_info, ask):
    before = ask(turn(DESCRIBE, RED))
    urls = {
        "cut short": base64.b64encode(encoded(RED)[:60]).decode().join(["data:image/png;base64,", ""]),
        "not base64": "data:image/png;base64,!!!",
        "text": "data:image/png;base64,aGVsbG8gd29ybGQ=",
        "a path": "/etc/passwd",
        "a file": "file:///etc/passwd",
        "the web": "http://127.0.0.1:9/red.png",
    }
    for name, url in urls.items():
        parts = [{"type": "image_url", "image_url": {"url": url}}]
        answer = server.chat(vision_model_info.model_id, [{"role": "user", "content": parts}])

        assert (answer.status, answer.json["error"]["param"]) == (400, "messages[0].content[0].image_url"), name
    assert ask(turn(DESCRIBE, RED)) == before
