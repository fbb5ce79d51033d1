"""Images and recordings over HTTP, with real eyes and ears: what is answered, what is refused, and that none harms the next."""

from __future__ import annotations

import array
import base64
import contextlib
import dataclasses
import http.client
import io
import json
import socket
import struct
import tempfile
import threading
import time
import zlib

import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from mlxk import engines, images, schemas, sounds
from mlxk.compatibility import Packages
from mlxk.library import Library
from mlxk.server import bodies
from mlxk.server.app import Policy, make_app
from mlxk.server.lifecycle import Server, bind
from mlxk.server.worker import Limits, Worker
from qualification.mint import store
from qualification.mint.pictures import Picture, encoded
from qualification.mint.tones import duration_s, silence, speak, wav

pytestmark = pytest.mark.timeout(600)  # the first to ask mints the models, or waits for who does

EYES, EARS, TEXT = "mint/qwen2-vl-tiny", "mint/whisper-tiny", "mint/llama-tiny"
RED, YELLOW = Picture("red", "circle"), Picture("yellow")
DESCRIBE = {"type": "text", "text": "Describe the image."}
APPLES = wav(speak("Nine red apples."))
API = json.loads(schemas.openapi())


class Client:
    """Sends what a client would, and holds every refusal against the description of the API."""

    def __init__(self, port, worker):
        self.port = port
        self.worker = worker

    def send(self, path, body, content_type="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != 200:
            schema = {"$ref": "#/components/schemas/Error", "components": API["components"]}
            assert [*Draft202012Validator(schema).iter_errors(json.loads(text))] == []
            assert str(answer.status) in API["paths"][f"/v1{path.removeprefix('/v1')}"]["post"]["responses"]
        return answer.status, text

    def chat(self, *content, model=EYES, messages=None, **options):
        turns = messages or [{"role": "user", "content": list(content)}]
        body = {"model": model, "messages": turns, "temperature": 0, **options}
        return self.send("/v1/chat/completions", json.dumps(body))

    def said(self, *content, **options):
        status, text = self.chat(*content, **options)

        assert status == 200, text
        return json.loads(text)["choices"][0]["message"]["content"]

    def hear(self, file=APPLES, path="/v1/audio/transcriptions", **fields):
        return self.send(path, *form(file=("a.wav", file), **{"model": EARS, **fields}))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for model in (EYES, EARS, TEXT):
        store.install(model, home)
    return home


@pytest.fixture(scope="module")
def serving(home, running):
    """``serving(limits)`` is a client of a server."""
    ends = contextlib.ExitStack()

    def start(limits, policy=None, large_bodies=None, preload=None, packages=None):
        worker = Worker(engines.load, engines.leave_thread, limits)
        library = Library(home / "hub", packages or Packages.installed())
        policy = policy or Policy()
        app = make_app(library, worker, policy)
        most = limits.waiting + limits.together
        budget = large_bodies or bodies.Budget()
        server = Server(app, bind("127.0.0.1", 0), most, large_bodies=budget, authorized=policy.authorized)
        first = library.admit(library.locate(preload), modality=None) if preload else None
        return Client(ends.enter_context(running(server, worker, first)), worker)

    with ends:
        yield start


@pytest.fixture(scope="module")
def client(serving):
    """One for all tests, so that each also shows that those before it harmed nothing."""
    return serving(Limits())


def shown(picture, kind="PNG", label=None):
    return image_part(encoded(picture, kind), label or kind.lower())


def image_part(data, label="png"):
    return {"type": "image_url", "image_url": {"url": f"data:image/{label};base64,{base64.b64encode(data).decode()}"}}


def url_part(url):
    return {"type": "image_url", "image_url": {"url": url}}


def sound_part(data, form="wav"):
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": form}}


def form(boundary="x-x", **parts):
    """A form as RFC 7578 has it, and its content type; what is a pair is a file and its name."""
    body = b""
    for name, value in parts.items():
        filename = f'; filename="{value[0]}"' if isinstance(value, tuple) else ""
        content = value[1] if isinstance(value, tuple) else value.encode()
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def events(text):
    *data, last = [line.removeprefix("data: ") for line in text.split("\n\n") if line and not line.startswith(":")]

    assert last == "[DONE]"
    return [json.loads(each) for each in data]


def test_pictures_are_told_in_their_order_and_another_order_is_another_answer(client):
    one = client.said(DESCRIBE, shown(RED))
    pair = client.said(DESCRIBE, shown(RED), shown(YELLOW))
    swapped = client.said(DESCRIBE, shown(YELLOW), shown(RED))

    assert one == "A red circle on white."
    assert pair == "A red circle on white. Plain yellow."
    assert swapped == "Plain yellow. A red circle on white."


def test_without_a_picture_a_model_with_eyes_answers_text(client):
    assert client.said(DESCRIBE) == "I see no image."
    assert client.said({"type": "text", "text": "Hello!"}) == "Hello! How can I help?"
    assert json.loads(client.send("/v1/completions", json.dumps({"model": EYES, "prompt": "The", "max_tokens": 3}))[1])["choices"]


def test_texts_of_a_model_with_eyes_are_remembered_as_those_of_any_model_until_it_is_to_see(serving):
    client = serving(Limits())
    hello = {"type": "text", "text": "Hello!"}
    cached = lambda: json.loads(client.chat(hello)[1])["usage"]["prompt_tokens_details"]["cached_tokens"]  # noqa: E731
    first, again = cached(), cached()
    seen = client.said(DESCRIBE, shown(RED))

    assert (first, again > 0, seen) == (0, True, "A red circle on white.")
    assert (cached(), cached()) == (0, 0)
    assert client.said(hello) == "Hello! How can I help?"


def test_text_to_a_model_that_only_mlx_vlm_knows_is_answered_as_by_one_that_mlx_lm_knows_too(serving, client):
    installed = Packages.installed()
    unknown = dataclasses.replace(installed, text=dataclasses.replace(installed.text, models="no_models"))
    only_eyes = serving(Limits(), packages=unknown)
    hello = {"type": "text", "text": "Hello!"}
    continued = [
        each.send("/v1/completions", json.dumps({"model": EYES, "prompt": "The", "max_tokens": 3, "temperature": 0}))
        for each in (only_eyes, client)
    ]
    texts = [json.loads(text)["choices"][0]["text"] for _, text in continued]

    assert only_eyes.said(hello) == client.said(hello) == "Hello! How can I help?"
    assert texts[0] == texts[1] != ""
    assert only_eyes.said(DESCRIBE, shown(RED)) == "A red circle on white."


def test_a_model_with_eyes_calls_no_functions(client):
    tools = [{"type": "function", "function": {"name": "clock"}}]
    asked = (client.chat(DESCRIBE, tools=tools), client.chat(DESCRIBE, shown(RED), tools=tools))

    assert [(status, json.loads(text)["error"]["param"]) for status, text in asked] == [(400, "tools")] * 2


def test_a_picture_without_a_prompt_is_described(client):
    assert client.said(shown(RED)) == "A red circle on white."


def test_a_stream_comes_in_pieces_and_joined_is_the_batch_answer(client):
    asked = DESCRIBE, shown(RED), shown(YELLOW)
    for options in ({}, {"chunk": 1}):
        chunks = events(client.chat(*asked, stream=True, **options)[1])
        pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]

        assert len([piece for piece in pieces if piece]) > 4
        assert "".join(pieces) == client.said(*asked, **options)
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"][0]["finish_reason"]] == ["stop"]


def test_chunks_are_answers_below_headings_and_count_together(client):
    asked = DESCRIBE, shown(RED), shown(YELLOW)
    status, text = client.chat(*asked, chunk=1)
    usage = json.loads(text)["usage"]
    alone = [json.loads(client.chat(DESCRIBE, shown(picture))[1])["usage"] for picture in (RED, YELLOW)]

    assert status == 200
    assert json.loads(text)["choices"][0]["message"]["content"] == (
        "Chunk 1/2: image 1\n\nA red circle on white.\n\nChunk 2/2: image 2\n\nPlain yellow."
    )
    assert usage["total_tokens"] == sum(each["total_tokens"] for each in alone)


def test_only_the_last_message_s_pictures_count_and_the_same_picture_keeps_its_number(client):
    history = [
        {"role": "user", "content": [DESCRIBE, shown(RED)]},
        {"role": "assistant", "content": "A red circle on white."},
        {"role": "user", "content": [DESCRIBE, shown(YELLOW), shown(RED)]},
    ]

    assert client.said(messages=history) == "Plain yellow. A red circle on white."
    assert client.said(messages=history, chunk=1) == (
        "Chunk 1/2: image 2\n\nPlain yellow.\n\nChunk 2/2: image 1\n\nA red circle on white."
    )


def test_a_conversation_goes_on_with_a_model_of_text_which_is_told_that_there_were_pictures(client):
    history = [
        {"role": "user", "content": [DESCRIBE, shown(RED)]},
        {"role": "assistant", "content": "A red circle on white."},
        {"role": "user", "content": "Hello!"},
    ]
    plain = [{**history[0], "content": "Describe the image.\n[1 image(s) were attached]"}, *history[1:]]

    assert client.said(messages=history, model=TEXT) == client.said(messages=plain, model=TEXT)


@pytest.mark.parametrize("label", ["jpeg", "png"])
def test_the_content_says_what_an_image_is_not_its_label(client, label):
    assert client.said(DESCRIBE, shown(RED, "JPEG", label)) == "A red circle on white."


def test_a_photograph_s_place_stands_in_a_table_before_the_answer(client, monkeypatch):
    noted = Image.Exif()
    noted[271], noted[272] = "Acme", "One"
    photograph = encoded(RED, "JPEG", exif=noted, quality=95)
    monkeypatch.setenv("MLXK2_VISION_METADATA_CONTEXT", "0")
    told = client.said(DESCRIBE, image_part(photograph))
    monkeypatch.setenv("MLXK2_EXIF_METADATA", "0")
    bare = client.said(DESCRIBE, image_part(photograph))

    assert bare == "A red circle on white."
    assert told.startswith("<!-- mlxk:filenames -->")
    assert "| Acme One |" in told
    assert told.endswith(f"</details>\n\n{bare}")


def png(width, height):
    """A PNG that says how many pixels it has and has none, by the PNG specification."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def animation(kind):
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


WRONG_IMAGES = {
    "a bomb of pixels": (413, image_part(png(20_000, 20_000))),
    "a bomb beyond what Pillow opens": (413, image_part(png(60_000, 60_000))),
    "one byte too large": (413, image_part(encoded(RED) + bytes(images.MAX_BYTES - len(encoded(RED)) + 1))),
    "cut short": (400, image_part(encoded(RED)[:60])),
    "text": (400, image_part(b"This is no image at all, whatever its label says.")),
    "nothing": (400, image_part(b"")),
    "FITS, which is none of the formats": (400, image_part(b"SIMPLE  =                    T" + bytes(2850))),
    "an animated GIF": (400, image_part(animation("GIF"), "gif")),
    "an animated WebP": (400, image_part(animation("WEBP"), "webp")),
    "not base64": (400, url_part("data:image/png;base64,ä!!!")),
    "base64 with a hole": (400, url_part("data:image/png;base64,iVBO Rw0KGgo=")),
    "base64 without an end": (400, url_part("data:image/png;base64,iVBORw0KG")),
    "SVG": (400, url_part("data:image/svg+xml;base64,PHN2Zy8+")),
    "a page": (400, url_part("data:text/html;base64,PGI+")),
    "not encoded": (400, url_part("data:image/png,hello")),
    "a file": (400, url_part("file:///etc/passwd")),
    "a path": (400, url_part("/etc/passwd")),
    "a path of the server": (400, url_part("./red.png")),
    "no text": (400, url_part(5)),
    "no object": (400, {"type": "image_url", "image_url": "data:image/png;base64,"}),
    "no url": (400, {"type": "image_url", "image_url": {}}),
}


@pytest.mark.parametrize("name", WRONG_IMAGES)
@pytest.mark.parametrize("loaded", [EYES, TEXT], ids=["the model is loaded", "another model is loaded"])
def test_a_wrong_image_is_one_error_that_names_it_and_takes_no_model_s_place(client, name, loaded):
    if client.worker.loaded is None or client.worker.loaded.name != loaded:
        client.chat({"type": "text", "text": "Hello!"}, model=loaded)
    status, part = WRONG_IMAGES[name]
    got, text = client.chat(DESCRIBE, part)
    error = json.loads(text)["error"]

    assert (got, error["param"]) == (status, "messages[0].content[1].image_url"), error
    assert "messages[0].content[1].image_url" in error["message"]
    assert client.worker.loaded.name == loaded


def test_too_many_images_at_once_are_refused(client):
    status, text = client.chat(DESCRIBE, *[shown(RED)] * (images.MAX_AT_ONCE + 1))

    assert (status, json.loads(text)["error"]["param"]) == (413, "messages")
    assert str(images.MAX_AT_ONCE) in json.loads(text)["error"]["message"]


def test_images_with_too_many_pixels_together_are_refused(client):
    status, text = client.chat(DESCRIBE, *[image_part(png(8000, 8000))] * 3)

    assert (status, json.loads(text)["error"]["param"]) == (413, "messages")


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_the_user_shows_images(client, role):
    status, text = client.chat(messages=[{"role": role, "content": [shown(RED)]}, {"role": "user", "content": "Hello!"}])

    assert (status, json.loads(text)["error"]["param"]) == (400, "messages[0].content")


@pytest.mark.parametrize("scheme", ["http", "HTTP", "https", "ftp"])
def test_nothing_is_fetched(client, scheme):
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.2)
        status, text = client.chat(DESCRIBE, url_part(f"{scheme}://127.0.0.1:{canary.getsockname()[1]}/red.png"))

        with pytest.raises(TimeoutError):
            canary.accept()
    assert (status, "data URL" in text) == (400, True)


@pytest.mark.parametrize("chunk", [0, 6, "1", 1.5, True])
def test_a_chunk_of_none_is_named(client, chunk):
    status, text = client.chat(DESCRIBE, shown(RED), chunk=chunk)

    assert (status, json.loads(text)["error"]["param"]) == (400, "chunk")


def test_a_phrase_is_heard_in_every_form(client):
    end = round(1000 * duration_s("Nine red apples."))
    answers = {name: client.hear(response_format=name) for name in ("json", "text", "verbose_json", "srt", "vtt")}
    verbose = json.loads(answers["verbose_json"][1])

    assert {status for status, _ in answers.values()} == {200}
    assert json.loads(answers["json"][1]) == {
        "text": "Nine red apples.",
        "usage": {"type": "duration", "seconds": pytest.approx(end / 1000, abs=0.001)},
    }
    assert answers["text"][1] == "Nine red apples."
    assert (verbose["task"], verbose["language"], verbose["text"]) == ("transcribe", "en", "Nine red apples.")
    assert verbose["duration"] == pytest.approx(end / 1000, abs=0.001)
    assert [(each["start"], each["text"]) for each in verbose["segments"]] == [(0, "Nine red apples.")]
    assert verbose["segments"][0]["end"] == pytest.approx(end / 1000, abs=0.03)
    assert "words" not in verbose
    span = f"00:00:00,000 --> 00:00:01,{round(1000 * verbose['segments'][0]['end']) - 1000:03}"
    assert answers["srt"][1] == f"1\n{span}\nNine red apples.\n\n"
    assert answers["vtt"][1] == f"WEBVTT\n\n{span.replace(',', '.')}\nNine red apples.\n\n"


def test_a_boundary_is_taken_as_it_is_written_as_browsers_write_it_in_large_and_small_letters(client):
    status, text = client.send(
        "/v1/audio/transcriptions", *form("----WebKitFormBoundaryAbC123", file=("a.wav", APPLES), model=EARS)
    )

    assert (status, json.loads(text)["text"]) == (200, "Nine red apples.")


def test_words_are_told_when_they_are_asked_for(client):
    told = json.loads(client.hear(response_format="verbose_json", **{"timestamp_granularities[]": "word"})[1])

    assert [word["word"] for word in told["words"]] == ["Nine", "red", "apples."]
    assert "segments" not in told


def test_silence_is_no_text_and_another_phrase_is_another_text(client):
    assert json.loads(client.hear(wav(silence(1)))[1])["text"] == ""
    assert json.loads(client.hear(wav(speak("Hello world.")), path="/audio/transcriptions")[1])["text"] == "Hello world."


def test_a_recording_of_more_than_one_window_is_heard_to_its_end(client):
    first = speak("Turn left now.")
    long = array.array("d", [*first, *silence(30 - len(first) / 16_000), *speak("Hello world.")])
    told = json.loads(client.hear(wav(long), response_format="verbose_json")[1])

    assert told["text"] == "Turn left now. Hello world."
    assert [segment["start"] for segment in told["segments"]] == [0, 30]
    assert told["duration"] == pytest.approx(30 + duration_s("Hello world."), abs=0.01)


def test_language_prompt_and_temperature_are_taken(client):
    def told(**fields):
        answer = json.loads(client.hear(response_format="verbose_json", **fields)[1])
        (segment,) = answer["segments"]
        return answer["language"], segment["temperature"], segment["avg_logprob"]

    language, temperature, likely = told(chunking_strategy="auto")
    prompted = told(prompt="Hello world.")

    assert (language, temperature) == ("en", 0)
    assert told(language="German") == ("de", 0, likely)
    assert told(temperature="0.7")[:2] == ("en", pytest.approx(0.7))
    assert prompted[2] != likely


def test_a_recording_in_a_chat_is_transcribed_in_batch_and_in_stream(client):
    status, text = client.chat({"type": "text", "text": "Hello world."}, sound_part(APPLES), model=EARS)
    chunks = events(client.chat(sound_part(APPLES, "mp3"), model=EARS, stream=True)[1])

    assert (status, json.loads(text)["choices"][0]["message"]["content"]) == (200, "Nine red apples.")
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Nine red apples."


def float_wav(values):
    """A WAV file of 32-bit floats (format 3), by the RIFF specification."""
    data = struct.pack(f"<{len(values)}f", *values)
    form = struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_samples_that_are_no_numbers_are_heard_as_numbers(client):
    status, text = client.hear(float_wav([float("nan"), float("inf"), 0.1] * 2000), response_format="verbose_json")

    assert (status, json.loads(text)["duration"]) == (200, 6000 / 16_000)


WRONG_SOUNDS = {
    "0 seconds": wav(array.array("d")),
    "text": b"This is no sound at all.",
    "nothing": b"",
    "cut within its header": APPLES[:20],
    "cut before its samples": APPLES[:44],
    "FLAC without frames": b"fLaC" + bytes(200),
    "an image": encoded(RED),
}


@pytest.mark.parametrize("name", WRONG_SOUNDS)
def test_a_wrong_recording_is_one_error_that_names_it_and_takes_no_model_s_place(client, name):
    client.chat({"type": "text", "text": "Hello!"}, model=TEXT)
    status, text = client.hear(WRONG_SOUNDS[name])
    in_chat, in_chat_text = client.chat(sound_part(WRONG_SOUNDS[name]), model=EARS)

    assert (status, json.loads(text)["error"]["param"]) == (400, "file"), text
    assert in_chat == 400
    assert json.loads(in_chat_text)["error"]["param"] == "messages[0].content[0].input_audio"
    assert client.worker.loaded.name == TEXT


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([sound_part(APPLES), sound_part(APPLES)], "messages"),
        ([shown(RED), sound_part(APPLES)], "messages"),
        ([sound_part(APPLES, "flac")], "messages[0].content[0].input_audio.format"),
        ([sound_part(b"fLaC" + bytes(99))], "messages[0].content[0].input_audio"),
        ([{"type": "input_audio", "input_audio": {"data": "ä", "format": "wav"}}], "messages[0].content[0].input_audio"),
        ([{"type": "input_audio", "input_audio": {"data": 5, "format": "wav"}}], "messages[0].content[0].input_audio"),
        ([{"type": "input_audio"}], "messages[0].content[0].input_audio"),
        ([{"type": "file", "file": {}}], "messages[0].content[0]"),
    ],
)
def test_parts_that_cannot_be_heard_are_named(client, parts, param):
    status, text = client.chat(*parts, model=EARS)

    assert (status, json.loads(text)["error"]["param"]) == (400, param), text


@pytest.mark.parametrize("option", [{"max_tokens": 5}, {"stop": "x"}, {"logprobs": True}, {"top_p": 0.5}, {"seed": 1}])
def test_what_is_for_answers_is_refused_for_a_recording(client, option):
    status, text = client.chat(sound_part(APPLES), model=EARS, **option)

    assert (status, json.loads(text)["error"]["param"]) == (400, next(iter(option)))


@pytest.mark.parametrize(
    ("model", "parts", "said"),
    [
        (TEXT, [shown(RED)], "not for vision"),
        (EARS, [shown(RED)], "not for vision"),
        (TEXT, [sound_part(APPLES)], "not for audio"),
        (EYES, [sound_part(APPLES)], "not for audio"),
        (EARS, [DESCRIBE], "not for text"),
    ],
)
def test_a_model_that_cannot_take_it_says_so_and_the_one_in_memory_stays(client, model, parts, said):
    client.chat({"type": "text", "text": "Hello!"}, model=TEXT)
    status, text = client.chat(*parts, model=model)
    error = json.loads(text)["error"]

    assert (status, error["code"]) == (422, "capability_not_supported")
    assert said in error["message"]
    assert client.worker.loaded.name == TEXT


def test_a_server_can_begin_with_a_model_with_ears(serving):
    client = serving(Limits(), preload=EARS)

    while client.worker.state == "loading":
        time.sleep(0.005)

    assert (client.worker.state, client.worker.loaded.name) == ("ok", EARS)
    assert json.loads(client.hear()[1])["text"] == "Nine red apples."


@pytest.mark.parametrize("model", [TEXT, EYES])
def test_only_a_model_with_ears_transcribes(client, model):
    status, text = client.hear(model=model)

    assert (status, json.loads(text)["error"]["code"]) == (422, "capability_not_supported")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"language": "elvish"}, "language"),
        ({"temperature": "2"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stream": "true", "response_format": "vtt"}, "stream"),
        ({"include[]": "logprobs"}, "include"),
        ({"chunking_strategy": '{"type": "server_vad"}'}, "chunking_strategy"),
        ({"known_speaker_names[]": "me"}, "known_speaker_names"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
        ({"timestamp_granularities[]": "day", "response_format": "verbose_json"}, "timestamp_granularities[]"),
        ({"model": ""}, "model"),
    ],
)
def test_a_field_of_the_form_that_is_wrong_or_not_supported_is_named(client, fields, param):
    client.chat({"type": "text", "text": "Hello!"}, model=TEXT)
    status, text = client.hear(**fields)

    assert (status, json.loads(text)["error"]["param"]) == (400, param), text
    assert client.worker.loaded.name == TEXT


def test_a_recording_beyond_the_limit_is_refused_by_its_length_before_it_is_sent(client):
    too_large = sounds.MAX_BYTES + (2 << 20)
    began = time.monotonic()
    for length in (f"Content-Length: {too_large}", f"Content-Length: {too_large}\r\nExpect: 100-continue"):
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as raw:
            raw.sendall(f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(raw)
            answer.begin()

            assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "payload_too_large")
    assert time.monotonic() - began < 5


def test_a_recording_one_byte_beyond_the_limit_is_refused_and_one_at_the_limit_is_not(client):
    at_most = APPLES + bytes(sounds.MAX_BYTES - len(APPLES))

    assert client.hear(at_most)[0] == 200
    assert client.hear(at_most + b"\0")[0] == 413


def test_every_answer_is_counted(client):
    def counted():
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        connection.request("GET", "/metrics")
        families = text_string_to_metric_families(connection.getresponse().read().decode())
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}

    before = counted()
    client.hear()
    client.said(DESCRIBE, shown(RED), shown(YELLOW))
    events(client.chat(DESCRIBE, shown(RED), stream=True)[1])
    grown = {key: value - before.get(key, 0) for key, value in counted().items()}

    assert grown["mlxk_requests_total", "/v1/audio/transcriptions", "200"] == 1
    assert grown["mlxk_requests_total", "/v1/chat/completions", "200"] == 2
    assert grown["mlxk_images_total",] == 3
    assert grown["mlxk_audio_seconds_total",] == pytest.approx(duration_s("Nine red apples."), abs=0.001)


def test_no_file_is_left_by_any_request(client, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client.said(DESCRIBE, image_part(encoded(RED) + bytes(2 << 20)))
    client.hear(APPLES + bytes(2 << 20))
    client.hear(b"no sound" * 500_000)

    assert [*tmp_path.rglob("*")] == []


LONG = wav(silence(100))


class Windows:
    """Those of 30 s that a model with ears hears one after the other: each waits until it may ``go``."""

    def __init__(self):
        self.begun, self.go, self.count = threading.Event(), threading.Event(), 0

    def hold(self, client, monkeypatch):
        client.hear()
        whisper = type(client.worker._engine._model)
        decode = whisper.decode

        def held(*arguments, **options):
            self.count += 1
            self.begun.set()
            assert self.go.wait(60)
            return decode(*arguments, **options)

        monkeypatch.setattr(whisper, "decode", held)


@pytest.fixture
def windows():
    windows = Windows()
    yield windows
    windows.go.set()


def begin(client, file):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    body, kind = form(file=("a.wav", file), model=EARS)
    connection.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": kind})
    return connection


def test_a_client_that_leaves_ends_its_transcription_and_the_next_is_heard(client, windows, monkeypatch):
    windows.hold(client, monkeypatch)
    connection = begin(client, LONG)
    assert windows.begun.wait(60)
    (ticket,) = client.worker._active
    connection.close()
    while not ticket.cancelled():
        time.sleep(0.005)
    windows.go.set()

    assert json.loads(client.hear()[1])["text"] == "Nine red apples."
    assert windows.count == 2  # one of four, and that of the next


def test_a_transcription_that_takes_too_long_is_ended_and_the_next_is_heard(serving, client, windows, monkeypatch):
    client.hear()
    began = time.monotonic()
    client.hear()
    client = serving(Limits(request_s=max(1.0, 5 * (time.monotonic() - began))), preload=EARS)
    while client.worker.state == "loading":
        time.sleep(0.005)
    windows.hold(client, monkeypatch)
    status, text = client.hear(LONG)
    windows.go.set()
    while client.worker.active:
        time.sleep(0.005)

    assert (status, json.loads(text)["error"]["code"]) == (504, "deadline_exceeded")
    assert client.hear()[0] == 200
    assert windows.count == 2


def test_a_full_queue_refuses_recordings_and_pictures_too(serving, windows, monkeypatch):
    client = serving(Limits(waiting=1, together=1))
    windows.hold(client, monkeypatch)
    first = begin(client, LONG)
    assert windows.begun.wait(60)
    second = begin(client, LONG)
    while client.worker.waiting == 0:
        time.sleep(0.005)

    assert client.hear()[0] == 503
    assert client.chat(DESCRIBE, shown(RED))[0] == 503
    first.close()
    second.close()
    windows.go.set()
    while client.worker.active or client.worker.waiting:
        time.sleep(0.005)
    assert client.hear()[0] == 200


def test_the_images_that_are_shown_at_once_are_the_server_s_choice_where_the_request_makes_none(serving):
    client = serving(Limits(), Policy(images_at_once=1))

    assert client.said(DESCRIBE, shown(RED), shown(YELLOW)).startswith("Chunk 1/2: image 1\n\nA red circle")
    assert client.said(DESCRIBE, shown(RED), shown(YELLOW), chunk=2) == "A red circle on white. Plain yellow."


def head(length, path="/v1/audio/transcriptions"):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\n{length}\r\n\r\n".encode()


@pytest.mark.parametrize("chunked", [False, True], ids=["of a known length", "in chunks"])
def test_large_bodies_share_a_budget_and_small_ones_need_none(serving, chunked):
    client = serving(Limits(), large_bodies=bodies.Budget(6 << 20))
    size = 4 << 20
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as first:
        if chunked:
            first.sendall(head("Transfer-Encoding: chunked") + f"{2 * size:x}\r\n".encode() + bytes(size))
        else:
            first.sendall(head(f"Content-Length: {size}") + bytes(size - 1))
        answers = set()
        while 503 not in answers:
            with socket.create_connection(("127.0.0.1", client.port), timeout=30) as second:
                second.sendall(head(f"Content-Length: {size}\r\nExpect: 100-continue"))
                answer = http.client.HTTPResponse(second)
                if answer.fp.readline() == b"HTTP/1.1 503 Service Unavailable\r\n":
                    answers.add(503)

        assert client.hear()[0] == 200
    while client.send("/v1/audio/transcriptions", bytes(size), "multipart/form-data")[0] == 503:
        time.sleep(0.005)


def test_large_bodies_that_are_only_announced_keep_nobody_waiting(serving):
    client = serving(Limits(), large_bodies=bodies.Budget(6 << 20))
    with contextlib.ExitStack() as silent:
        for _ in range(3):
            one = silent.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=30))
            one.sendall(head(f"Content-Length: {4 << 20}\r\nExpect: 100-continue"))

            assert one.makefile("rb").readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.hear(APPLES + bytes(4 << 20))[0] == 200


def test_a_large_body_without_the_key_is_refused_by_its_header(serving):
    client = serving(Limits(), Policy(loopback_only=False, api_key="secret"))
    answers = []
    for key in ("", "\r\nAuthorization: Bearer wrong", "\r\nAuthorization: Bearer secret"):
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as raw:
            raw.sendall(head(f"Content-Length: {4 << 20}\r\nExpect: 100-continue{key}"))
            status, *headers = iter(raw.makefile("rb").readline, b"\r\n")
            answers.append((status.split()[1], b"www-authenticate: bearer\r\n" in map(bytes.lower, headers)))

    assert answers == [(b"401", True), (b"401", True), (b"100", False)]


def test_large_bodies_are_bounded_together_and_give_back_what_they_took():
    budget = bodies.Budget(10)
    first, second = [set() for _ in range(2)]

    assert budget.take(6, first)
    assert not budget.take(6, second)
    assert budget.take(4, second)
    del first
    assert budget.take(6, second)
