"""mlxk with real eyes: tiny, minted here, and trained until what it tells of pictures is exact."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mlxk import cli, engines, images
from mlxk.chat import Message
from mlxk.compatibility import Packages
from mlxk.engines import Generation, Sampling, Text, complete
from mlxk.library import Library
from qualification.mint import store
from qualification.mint.catalog import known_answers, known_looks
from qualification.mint.pictures import Picture, encoded

pytestmark = pytest.mark.timeout(600)  # the first to ask mints the model, or waits for who does

MODELS = ("mint/qwen2-vl-tiny", "mint/pixtral-tiny")
RED, BLUE, YELLOW = Picture("red", "circle"), Picture("blue", "stripe"), Picture("yellow")
DESCRIBE = "Describe the image."


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for model in MODELS:
        store.install(model, home)
    return home


@pytest.fixture(scope="module", params=MODELS)
def seeing(request, home):
    library = Library(home / "hub", Packages.installed())
    model = library.admit(library.locate(request.param), modality="vision")
    return request.param, engines.load(model, "vision")


@pytest.fixture
def files(tmp_path):
    for picture in (RED, BLUE, YELLOW):
        (tmp_path / f"{picture.name}.png").write_bytes(encoded(picture))
    return [str(tmp_path / f"{picture.name}.png") for picture in (RED, BLUE, YELLOW)]


def turn(prompt, *pictures, kind="PNG"):
    return Message("user", prompt, tuple(images.parse(picture.name, encoded(picture, kind)) for picture in pictures))


def ask(engine, *messages, **options):
    return list(engine.stream(Generation(messages, sampling=Sampling(temperature=0), **options), lambda: False))


def said(engine, *messages):
    return complete(ask(engine, *messages)).text


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_only_mlx_vlm_knows_is_run_on_text_through_it(home, name):
    installed = Packages.installed()
    unknown = dataclasses.replace(installed, text=dataclasses.replace(installed.text, models="no_models"))
    library = Library(home / "hub", unknown)
    model = library.admit(library.locate(name), modality="text")

    assert (model.runs("text"), model.runs("vision")) == (False, True)
    assert said(engines.load(model, "text"), turn(DESCRIBE)) == "I see no image."


def test_every_known_answer_is_exact_with_pictures_and_without(seeing):
    model, engine = seeing
    looks = [(turn(known.prompt, *known.pictures), known) for known in known_looks(model)]
    texts = [([Message(each.role, each.content) for each in known.messages], known) for known in known_answers(model)]

    heard = [complete(ask(engine, message)) for message, _ in looks] + [complete(ask(engine, *turns)) for turns, _ in texts]

    known = [known for _, known in (*looks, *texts)]
    assert [(each.text, each.finish_reason, each.end_tokens) for each in heard] == [
        (each.answer, "stop", (each.end_token,)) for each in known
    ]


def test_an_answer_streams_and_its_pieces_are_the_answer(seeing):
    _, engine = seeing
    pieces = [event.text for event in ask(engine, turn(DESCRIBE, RED)) if isinstance(event, Text)]

    assert len(pieces) > 2
    assert "".join(pieces) == "A red circle on white."


def test_nothing_of_one_request_is_left_for_the_next(seeing):
    _, engine = seeing

    assert said(engine, turn(DESCRIBE, RED, YELLOW)) == "A red circle on white. Plain yellow."
    assert said(engine, turn(DESCRIBE)) == "I see no image."
    assert said(engine, turn(DESCRIBE, YELLOW, RED)) == "Plain yellow. A red circle on white."


def test_the_requests_temperature_is_honoured(seeing):
    _, engine = seeing
    hot = Sampling(temperature=50, top_p=1, seed=3)
    unknown = turn("Tell me all about it, please.", RED)
    request = {seed: Generation((unknown,), 40, sampling=hot if seed else Sampling(temperature=0)) for seed in (0, 1)}
    heard = {seed: complete(engine.stream(each, lambda: False)).text for seed, each in request.items()}

    assert heard[0] != heard[1]


def test_a_jpeg_is_seen_as_well_as_a_png(seeing):
    _, engine = seeing

    assert said(engine, turn(DESCRIBE, BLUE, kind="JPEG")) == "A blue stripe on white."


def test_a_request_that_is_cancelled_ends_without_an_end(seeing):
    _, engine = seeing
    events = list(engine.stream(Generation((turn(DESCRIBE, RED),)), lambda: True))

    assert complete(events) is None


def test_a_long_prompt_is_given_up_while_it_is_read(seeing, monkeypatch):
    from mlxk.engines import vision

    _, engine = seeing
    sampled = []
    choose = vision.sampler
    monkeypatch.setattr(vision, "sampler", lambda sampling: lambda logprobs: sampled.append(True) or choose(sampling)(logprobs))
    long = Generation((Message("user", "word " * 700),), 1)

    assert complete(engine.stream(long, lambda: True)) is None
    assert not sampled
    assert complete(engine.stream(long, lambda: False)) is not None
    assert sampled


@pytest.fixture
def run(home, monkeypatch, capsys):
    """``run(words…)`` is exit code, stdout and stderr of ``mlxk run`` in this process."""
    monkeypatch.setenv("HF_HOME", str(home))

    def call(*words):
        code = cli.main(["run", MODELS[0], *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_several_images_are_chunks_each_from_a_fresh_context(run, files):
    code, out, _ = run("--image", *files, "--temperature", "0")

    assert code == 0
    assert out == (
        "Chunk 1/3: red-circle.png\n\nA red circle on white.\n\n"
        "Chunk 2/3: blue-stripe.png\n\nA blue stripe on white.\n\n"
        "Chunk 3/3: yellow-plain.png\n\nPlain yellow.\n"
    )


def test_images_of_one_chunk_are_shown_together_and_json_has_the_whole_answer(run, files):
    code, out, _ = run("--image", *files[:2], "--chunk", "2", "--temperature", "0", "--json")
    data = json.loads(out)["data"]

    assert code == 0
    assert (data["prompt"], data["response"]) == (DESCRIBE, "A red circle on white. A blue stripe on white.")
    assert data["usage"]["completion_tokens"] > 4


def test_a_prompt_may_stand_behind_the_files(run, files):
    assert run("--image", files[0], "What color is it?", "--temperature", "0")[:2] == (0, "Red.\n")


def test_a_bad_image_is_refused_before_the_model_is_loaded(run, files, tmp_path):
    (tmp_path / "cut.png").write_bytes(encoded(RED)[:60])
    code, out, err = run("--image", files[0], str(tmp_path / "cut.png"))

    assert (code, out) == (4, "")
    assert "cut.png" in err
    assert "Traceback" not in err
