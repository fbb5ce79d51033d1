"""Images of strangers: what is read, what is refused and with which sentence, and what a camera noted in them."""

import contextlib
import io
import struct
import zlib
from fractions import Fraction

import pytest
from PIL import Image

from mlxk import cli, exif, images
from mlxk.commands import media
from mlxk.errors import MediaRefused, UsageError
from mlxk.images import parse


def encoded(kind="PNG", size=(4, 3), mode="RGB", **options):
    held = io.BytesIO()
    Image.new(mode, size, 120).save(held, kind, **options)
    return held.getvalue()


def bomb(width, height):
    """A PNG whose header promises so many pixels and whose data hold none; by the PNG specification."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def animated(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    held = io.BytesIO()
    frames[0].save(held, kind, save_all=True, append_images=frames[1:])
    return held.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_each_format_is_known_by_its_content(kind):
    image = parse("a.dat", encoded(kind))

    assert (image.format, image.width, image.height) == (kind, 4, 3)
    assert images.decode(image).mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(mode):
    assert images.decode(parse("a.png", encoded(mode=mode))).mode == "RGB"


def test_an_image_is_turned_upright():
    noted = Image.Exif()
    noted[274] = 6  # the camera was held sideways

    assert images.decode(parse("a.jpg", encoded("JPEG", exif=noted))).size == (3, 4)


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 400, "is empty"),
        (b"This is no image at all.", 400, "none that can be read"),
        (b"%PDF-1.7 and so on", 400, "none that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "none that can be read"),
        (encoded("BMP"), 400, "none that can be read"),
        (encoded()[:20], 400, "damaged"),
        (bomb(50_000, 50_000), 413, "too many pixels"),
        (bomb(10_000, 7_000), 413, "10000 x 7000 pixels"),
        (animated("GIF"), 400, "animated"),
        (animated("PNG"), 400, "animated"),
        (animated("WEBP"), 400, "animated"),
        (bytes(images.MAX_BYTES + 1), 413, "larger than 20 MB"),
    ],
)
def test_what_is_refused_is_refused_before_any_pixel_is_decoded(data, status, said):
    with pytest.raises(MediaRefused, match=said) as refused:
        parse("a.png", data)

    assert (413 if refused.value.too_large else 400) == status


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_file_that_ends_too_soon_is_refused_whatever_its_header_says(kind):
    whole = encoded(kind, (64, 64))

    with pytest.raises(MediaRefused, match=r"damaged or cut short|none that can be read"):
        images.decode(parse("a", whole[: len(whole) * 2 // 3]))


def test_an_animation_that_ends_anywhere_is_refused():
    whole = animated("GIF")

    for end in range(1, len(whole)):
        with contextlib.suppress(MediaRefused):
            assert images.decode(parse("a.gif", whole[:end])).size == (4, 4)  # the first frame is whole, and a second not begun


def test_images_are_bounded_together_too():
    large = [images.Image("a", bytes(1), "PNG", 8000, 8000)] * 3

    with pytest.raises(MediaRefused, match="Show fewer at once") as refused:
        images.check_together(large)

    assert refused.value.too_large


def with_notes(latitude=(47, 22, 36.84), longitude=(8, 32, 30.12), refs=("N", "E"), date="2024:05:01 12:30:00", camera=None):
    noted = Image.Exif()
    gps = noted.get_ifd(0x8825)
    gps.update({1: refs[0], 2: latitude, 3: refs[1], 4: longitude})
    noted.get_ifd(0x8769)[36867] = date
    noted[271], noted[272] = camera or ("Acme", "Acme One")
    return parse("a.jpg", encoded("JPEG", exif=noted))


def test_place_time_and_camera_are_read():
    found = exif.facts(with_notes())

    assert found.place == "47.37690, 8.54170"
    assert (found.date, found.camera) == ("2024-05-01 12:30:00", "Acme One")


def test_south_and_west_are_negative():
    assert exif.facts(with_notes(refs=("S", "W"))).place == "-47.37690, -8.54170"


@pytest.mark.parametrize(
    "latitude", [(200, 0, 0), (47, 22), (Fraction(47), 22, float("inf")), "no numbers"], ids=["far", "short", "infinite", "text"]
)
def test_notes_without_sense_are_no_notes(latitude):
    gps = {1: "N", 2: latitude, 3: "E", 4: (8, 0, 0)}

    assert exif.location(gps) is None


def test_an_image_without_notes_has_no_facts():
    assert not exif.facts(parse("a.png", encoded())).known


def test_a_camera_cannot_write_into_the_table():
    found = exif.facts(with_notes(camera=("Evil | <b>", "x\x1b[31m\n| row |")))
    row = exif.table([exif.Row(1, parse("a.jpg", encoded("JPEG")), "a|b.jpg", found)]).splitlines()[5]

    assert row.replace("\\|", "").count("|") == 7
    assert not {"\x1b", "<"} & set(row)


def test_words_behind_the_files_are_the_prompt(tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "with blank.png"
    for path in (one, two):
        path.write_bytes(encoded())

    assert media.without_prompt([str(one), str(two), "What is it?"]) == ([str(one), str(two)], ["What is it?"])
    assert media.without_prompt([str(one), str(two)]) == ([str(one), str(two)], [])
    assert media.without_prompt([str(one), "-"]) == ([str(one)], ["-"])


def test_a_pattern_is_expanded_and_chunks_keep_the_order(tmp_path):
    for name in ("c", "a", "b"):
        (tmp_path / f"{name}.png").write_bytes(encoded())

    found = media.chunks([str(tmp_path / "*.png")], 2)

    assert [[path.name for path in chunk.paths] for chunk in found] == [["a.png", "b.png"], ["c.png"]]
    assert [(chunk.number, chunk.of, chunk.first) for chunk in found] == [(1, 2, 1), (2, 2, 3)]


def test_the_images_of_a_chunk_are_bounded_together_before_any_model_is_loaded(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(encoded() + bytes(19 << 20))
    pattern = str(tmp_path / "*.png")

    assert len(media.chunks([pattern], 2)) == 2
    with pytest.raises(MediaRefused, match="together"):
        media.chunks([pattern], 3)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UsageError, match=r"There is no image nowhere\.png"):
        media.chunks(["nowhere.png"], None)


@pytest.mark.parametrize("command", ["run org/none --image a.png", "serve --model org/none"])
@pytest.mark.parametrize(("word", "code"), [("0", 2), ("6", 2), ("many", 2), ("9" * 5000, 2), ("1", 3), ("5", 3), ("", 3)])
def test_a_variable_of_images_at_once_that_is_none_is_named(tmp_path, monkeypatch, capsys, command, word, code):
    (tmp_path / "a.png").write_bytes(encoded())
    (tmp_path / "hub").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("MLXK2_VISION_CHUNK_SIZE", word)

    assert cli.main(command.split()) == code
    assert ("MLXK2_VISION_CHUNK_SIZE" in capsys.readouterr().err) == (code == 2)
