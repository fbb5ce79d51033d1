"""Nine photographs with their places, told one by one by a model with eyes, and read from a pipe by a model of text."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from qualification.mint.catalog import known_looks
from qualification.mint.pictures import Picture, encoded

pytestmark = [pytest.mark.live, pytest.mark.live_vision_pipe]

PLACES = [(47 + at, 8 + at) for at in range(9)]
"""Whole degrees north and east."""

DESCRIBE = "Describe the image."


def photograph(picture: Picture, north: int, east: int) -> bytes:
    """A JPEG with GPS, date and camera, by the EXIF standard."""
    from PIL import Image

    noted = Image.Exif()
    noted.get_ifd(0x8825).update(
        {1: "N", 2: (Fraction(north), Fraction(0), Fraction(0)), 3: "E", 4: (Fraction(east), Fraction(0), Fraction(0))}
    )
    noted.get_ifd(0x8769)[36867] = f"2024:05:0{east - 7} 12:00:00"
    noted[271], noted[272] = "Acme", "One"
    return encoded(picture, "JPEG", exif=noted, quality=95)


@pytest.fixture
def photographs(tmp_path):
    pictures = [Picture(colour, shape) for colour in ("red", "green", "blue") for shape in (None, "circle", "stripe")]
    paths = [tmp_path / f"{at}-{picture.name}.jpg" for at, picture in enumerate(pictures)]
    for path, picture, place in zip(paths, pictures, PLACES, strict=True):
        path.write_bytes(photograph(picture, *place))
    return pictures, [str(path) for path in paths]


def test_nine_photographs_are_told_with_their_places_and_read_by_the_next_model(mlxk, vision_model_info, photographs):
    pictures, files = photographs
    known = {look.pictures: look.answer for look in known_looks(vision_model_info.model_id) if look.prompt == DESCRIBE}
    quiet = {"MLXK2_VISION_METADATA_CONTEXT": "0"}  # minted models know no other prompt

    told = mlxk("run", vision_model_info.model_id, "--image", *files, "--chunk", "1", "--temperature", "0", environment=quiet)
    read = mlxk("run", vision_model_info.model_id, "-", "In which country?", "--max-tokens", "20", "--json", stdin=told.stdout)

    chunks = told.stdout.split("Chunk ")[1:]
    assert (told.code, len(chunks)) == (0, 9), told.stderr
    assert [re.findall(r"(\d+\.00000), (\d+\.00000)", chunk) for chunk in chunks] == [
        [(f"{north}.00000", f"{east}.00000")] for north, east in PLACES
    ]
    assert all("Acme One" in chunk for chunk in chunks)
    assert not known or [chunk.rstrip().splitlines()[-1] for chunk in chunks] == [known[(picture,)] for picture in pictures]
    assert read.code == 0, read.stderr
    assert read.envelope["data"]["response"].strip()


def test_a_chunk_knows_nothing_of_the_one_before(mlxk, vision_model_info, photographs):
    _, files = photographs
    off = {"MLXK2_EXIF_METADATA": "0", "MLXK2_VISION_METADATA_CONTEXT": "0"}
    greedy = ("--temperature", "0")

    after = mlxk("run", vision_model_info.model_id, "--image", files[0], files[4], *greedy, environment=off)
    alone = mlxk("run", vision_model_info.model_id, "--image", files[4], *greedy, "--json", environment=off)

    assert after.stdout.rpartition("jpg\n\n")[2] == alone.envelope["data"]["response"] + "\n"
    assert "<details>" not in after.stdout
