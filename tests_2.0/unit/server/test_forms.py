"""Forms with files: what another implementation writes is read, and what nobody should send is one sentence."""

from __future__ import annotations

import sys

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxk.errors import RequestError
from mlxk.server import forms

HTTP = sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]
"""httpx, or what the client has instead of it."""

KIND = "multipart/form-data; boundary=x"
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters='"\\%'), min_size=1, max_size=20)
"""Those that are written as they are; how others are escaped depends on the client."""


def encoded(fields, files):
    """As the official client sends it."""
    request = HTTP.Request("POST", "http://localhost/", data=fields, files=files)
    return request.headers["Content-Type"], request.read()


@given(
    fields=st.dictionaries(names.filter(lambda name: name != "file"), st.text(st.characters(codec="utf-8")), max_size=4),
    content=st.binary(max_size=300) | st.sampled_from([b"\r\n--", b"--", b"\r\n\r\n", b"\r\n"]),
    filename=names,
)
def test_what_a_client_encodes_is_read_back(fields, content, filename):
    form = forms.parse(*encoded(fields, {"file": (filename, content)}))

    assert form.fields == {name: [value] for name, value in fields.items()}
    assert form.files == {"file": [content]}


def test_several_values_of_a_name_keep_their_order():
    form = forms.parse(*encoded({"word": ["a", "b"]}, {"file": ("a", b"")}))

    assert form.fields["word"] == ["a", "b"]
    with pytest.raises(RequestError, match="word is there 2 times") as caught:
        form.one("word")
    assert caught.value.details["param"] == "word"


def test_text_before_the_first_and_behind_the_last_boundary_is_skipped():
    body = b'preamble\r\n--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\nepilogue'

    assert forms.parse(KIND, body).fields == {"a": ["b"]}


def test_an_empty_form_has_nothing():
    assert not forms.parse(KIND, b"--x--").fields
    assert not forms.parse(KIND, b"--x--\r\n").files


def part(head=b'Content-Disposition: form-data; name="a"', content=b"b"):
    return b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "its boundary is not in it"),
        (b"no boundary at all", "its boundary is not in it"),
        (b"--y\r\n\r\n--y--", "its boundary is not in it"),
        (part(), "its last boundary is missing"),
        (part()[:-4], "its last boundary is missing"),
        (part(content=b"c\r\n--xx\r\nd") + b"--x--", "something follows a boundary"),
        (b"--x Content-Disposition: a\r\n\r\nb\r\n--x--", "something follows a boundary"),
        (b"--x\r\nno end of the header\r\n--x--", "no end of its header"),
        (part(b"X: " + b"y" * 9000) + b"--x--", "no end of its header"),
        (part(b"Content-Type: text/plain") + b"--x--", "a part has no name"),
        (part(b'Content-Disposition: attachment; name="a"') + b"--x--", "a part has no name"),
        (part(b'Content-Disposition: form-data; name=""') + b"--x--", "a part has no name"),
        (part(b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64') + b"--x--", "encoded"),
        (part(content=b"\xff") + b"--x--", "a is not valid UTF-8"),
        (part() * 65 + b"--x--", "more than 64 parts"),
        (part(content=b"y" * 70_000) + b"--x--", "70000 bytes"),
    ],
)
def test_a_broken_form_is_one_sentence(body, said):
    with pytest.raises(RequestError, match=said):
        forms.parse(KIND, body)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=",
        f"{KIND}{'x' * 70}",
    ],
)
def test_what_is_no_form_is_415(kind):
    with pytest.raises(RequestError) as caught:
        forms.parse(kind, b"--x--")

    assert caught.value.details["status"] == 415


@pytest.mark.parametrize("kind", ['Multipart/Form-Data; boundary="x"', "multipart/form-data;charset=utf-8; boundary=x; a=b"])
def test_a_content_type_may_be_written_in_many_ways(kind):
    assert forms.parse(kind, part() + b"--x--").fields == {"a": ["b"]}


@given(body=st.binary(max_size=200) | st.lists(st.sampled_from([b"--x", b"--", b"\r\n", b"a: b", part()])).map(b"".join))
def test_no_bytes_are_more_than_refused(body):
    try:
        forms.parse(KIND, body)
    except RequestError as error:
        assert error.message
