"""``mlxk run --image`` on a real model: what is on each picture, chunk by chunk, and images that nobody should trust."""

from __future__ import annotations

import pytest

from qualification.mint.catalog import known_answers, known_looks
from qualification.mint.pictures import Picture, encoded

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

GREEDY = ("--temperature", "0", "--max-tokens", "60")
DESCRIBE = "Describe the image."


@pytest.fixture
def known(vision_model_info):
    """What a minted model tells of pictures, by prompt and pictures; empty for a model of the user's."""
    return {(look.prompt, look.pictures): look.answer for look in known_looks(vision_model_info.model_id)}


@pytest.fixture
def shown(tmp_path):
    """``shown(picture…)`` writes pictures and returns their paths."""

    def write(*pictures, kind="PNG"):
        paths = [tmp_path / f"{picture.name}.{kind.lower()}" for picture in pictures]
        for path, picture in zip(paths, pictures, strict=True):
            path.write_bytes(encoded(picture, kind))
        return [str(path) for path in paths]

    return write


def test_every_picture_is_told_in_a_chunk_of_its_own(mlxk, vision_model_info, known, shown):
    pictures = list(dict.fromkeys(look[1][0] for look in known if len(look[1]) == 1)) or [
        Picture("red", "circle"),
        Picture("blue"),
    ]

    done = mlxk("run", vision_model_info.model_id, "--image", *shown(*pictures), *GREEDY, "--json")

    response = done.envelope["data"]["response"]
    told = [part.partition("\n\n")[2].strip() for part in response.split("Chunk ")[1:]]
    assert done.code == 0, done.stderr
    assert len(told) == len(pictures)
    assert all(told)
    assert not known or told == [known[DESCRIBE, (picture,)] for picture in pictures]


def test_pictures_shown_together_are_told_in_their_order_also_as_jpegs(mlxk, vision_model_info, known, shown):
    pair = (Picture("red", "circle"), Picture("yellow"))
    answers = []
    for pictures in (pair, pair[::-1]):
        files = shown(*pictures, kind="JPEG")
        data = mlxk("run", vision_model_info.model_id, "--image", *files, "--chunk", "2", *GREEDY, "--json").envelope["data"]
        answers.append(data["response"])

    assert answers[0] != answers[1]
    assert not known or answers == [known[DESCRIBE, pair], known[DESCRIBE, pair[::-1]]]


def test_a_model_with_eyes_answers_without_pictures_too(mlxk, vision_model_info):
    asked = {answer.name: answer for answer in known_answers(vision_model_info.model_id)}

    done = mlxk("run", vision_model_info.model_id, "Hello!", *GREEDY, "--json")

    assert done.code == 0, done.stderr
    response = done.envelope["data"]["response"]
    assert response.strip()
    assert not asked or response == asked["hello"].answer


@pytest.mark.unmeasured("nothing is loaded")
def test_a_damaged_picture_is_one_sentence(mlxk, vision_model_info, tmp_path):
    (tmp_path / "cut.png").write_bytes(encoded(Picture("red"))[:50])

    done = mlxk("run", vision_model_info.model_id, "--image", str(tmp_path / "cut.png"), "--json")

    assert (done.code, done.envelope["error"]["type"]) == (4, "media_refused")
    assert "Traceback" not in done.stderr
