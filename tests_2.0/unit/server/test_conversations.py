"""Which images and recordings of a conversation count, and the numbers that images have."""

from __future__ import annotations

import pytest

from mlxk import exif
from mlxk.chat import Message
from mlxk.errors import RequestError
from mlxk.images import Image
from mlxk.server.conversations import pose
from mlxk.sounds import Sound


def image(data):
    return Image("i", data, "PNG", 1, 1)


@pytest.fixture(autouse=True)
def no_notes(monkeypatch):
    """These images are none that Pillow could read."""
    monkeypatch.setattr(exif, "facts", lambda image: exif.Facts())


A, B, C = image(b"a"), image(b"b"), image(b"c")
SOUND = Sound("s", b"RIFF", "wav")


def asked(*images, content="What?", sounds=()):
    return Message("user", content, images, sounds)


def answered(content="That."):
    return Message("assistant", content)


def numbers(*messages, at_once=1):
    return [heading.split("image ")[1].strip() for heading in pose(messages, at_once).headings]


def test_text_goes_as_it_is():
    messages = (Message("system", "Be brief."), asked(), answered(), asked(content="And?"))

    assert pose(messages, None).prompts == (messages,)
    assert pose(messages, None).headings == ()


def test_of_what_earlier_messages_brought_it_is_told_that_there_was_something():
    posed = pose((asked(A, B), answered(), asked(content="", sounds=(SOUND,)), answered(), asked(content="And?")), None)

    assert [message.content for message in posed.prompts[0]] == [
        "What?\n[2 image(s) were attached]", "That.", "[1 recording(s) were attached]", "That.", "And?",
    ]  # fmt: skip
    assert not any(message.images or message.sounds for message in posed.prompts[0])


def test_the_last_message_of_the_user_counts_with_what_the_system_says_and_nothing_else():
    posed = pose((Message("system", "Be brief."), asked(A), answered(), asked(B, C, content=""), answered("The")), None)

    assert posed.prompts == ((Message("system", "Be brief."), Message("user", "Describe the image.", (B, C))),)
    assert posed.headings == ()


def test_images_are_shown_as_many_at_once_as_is_asked_for():
    posed = pose((asked(A, B, C),), 2)

    assert [prompt[-1].images for prompt in posed.prompts] == [(A, B), (C,)]
    assert posed.headings == ("Chunk 1/2: image 1, image 2\n\n", "\n\nChunk 2/2: image 3\n\n")


def test_the_same_image_has_the_same_number_in_every_turn():
    assert numbers(asked(A, B)) == ["1", "2"]
    assert numbers(asked(A, B), answered(), asked(C, A)) == ["3", "1"]
    assert numbers(asked(A, A, B)) == ["1", "1", "2"]


def test_numbers_are_found_in_the_tables_of_earlier_answers():
    table = exif.table([exif.Row(4, A, "a.png", exif.Facts()), exif.Row(7, B, "b.png", exif.Facts())])

    assert numbers(asked(), answered(f"{table}\n\nTwo images."), asked(B, C, A)) == ["7", "8", "4"]
    assert numbers(asked(), answered(f"| 4 | image_{A.id}.png | no table |"), asked(C, A)) == ["1", "2"]


@pytest.mark.timeout(20)
def test_many_images_are_numbered_in_one_pass():
    """A tenth of a second; looking at all numbers for each of them takes a minute."""
    many = [image(str(number).encode()) for number in range(60_000)]
    different = len({each.id for each in many})

    assert numbers(asked(*many), answered(), asked(C, many[-1])) == [str(different + 1), str(different)]


def test_tables_of_more_rows_than_anybody_can_have_been_shown_are_refused():
    table = f"{exif.TABLE_MARK}\n" + "| 7 | image_00000000.png |\n" * 5001

    assert numbers(answered(table), asked(A, B)) == ["8", "9"]
    with pytest.raises(RequestError, match="more than 10000 rows"):
        numbers(answered(table), asked(), answered(table), asked(A))


def test_a_recording_is_heard_after_the_text_beside_it():
    posed = pose((asked(), answered(), asked(content="Before.", sounds=(SOUND,))), None)

    assert (posed.prompts, posed.recording.sound) == (("Before.",), SOUND)


@pytest.mark.parametrize("message", [asked(sounds=(SOUND, SOUND)), asked(A, sounds=(SOUND,))])
def test_one_message_brings_one_recording_or_images(message):
    with pytest.raises(RequestError):
        pose((message,), None)
