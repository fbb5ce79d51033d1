"""Forms with files (multipart/form-data, RFC 7578), read from memory within bounds: nothing is written anywhere.

Bottle's own reader puts what is large into named files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from mlxk.errors import RequestError

_MOST_PARTS = 64
_MOST_HEADER_BYTES = 8192
_MOST_FIELD_BYTES = 65536  # a field that is no file
_BOUNDARY = re.compile(r"""^multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))\s*(?:;.*)?$""", re.I)
_DISPOSITION = re.compile(rb"^content-disposition[ \t]*:[ \t]*form-data[ \t]*(;.*)$", re.I)
_OPTION = re.compile(rb';[ \t]*([\w*-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')
_ENCODING = re.compile(rb"^content-transfer-encoding[ \t]*:[ \t]*(?!binary|8bit|7bit)", re.I)


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """``fields`` and ``files`` by name, each in the order of the form; a file is what was sent with a name of its own."""

    fields: Mapping[str, Sequence[str]]
    files: Mapping[str, Sequence[bytes]]

    def one(self, name: str) -> str | None:
        """A field that may be there once; an empty one counts as absent. Raises RequestError."""
        values = self.fields.get(name, ())
        if len(values) > 1:
            raise RequestError(f"{name} is there {len(values)} times; once is enough.", param=name)
        return (values[0] or None) if values else None


def parse(content_type: str, body: bytes) -> Form:
    """Raises RequestError: 415 for what is no form, 400 for one that is broken."""
    found = _BOUNDARY.match(content_type)
    if found is None:
        message = "The body must be a form, sent with Content-Type: multipart/form-data and its boundary."
        raise RequestError(message, status=415, code="unsupported_media_type")
    delimiter = b"--" + (found[1] or found[2]).encode("latin-1")
    fields: dict[str, list[str]] = {}
    files: dict[str, list[bytes]] = {}
    for part in _parts(body, delimiter):
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank or len(head) > _MOST_HEADER_BYTES:
            _broken("a part has no end of its header")
        name, is_file = _named(head)
        if is_file:
            files.setdefault(name, []).append(content)
        else:
            fields.setdefault(name, []).append(_text(name, content))
    return Form(fields, files)


def _parts(body: bytes, delimiter: bytes) -> list[bytes]:
    """What stands between delimiters, each at the beginning of a line and alone on it; the last one has two dashes behind it."""
    if not body.startswith(delimiter):
        _, found, body = body.partition(b"\r\n" + delimiter)
        if not found:
            _broken("its boundary is not in it")
        body = delimiter + body
    pieces = body[len(delimiter) :].split(b"\r\n" + delimiter, _MOST_PARTS + 1)
    if len(pieces) > _MOST_PARTS + 1:
        _broken(f"it has more than {_MOST_PARTS} parts")
    *parts, end = pieces
    if end[:2] != b"--":
        _broken("it is cut short: its last boundary is missing")
    for part in parts:
        if part[:2] != b"\r\n":
            _broken("something follows a boundary on its line")
    return parts


def _named(head: bytes) -> tuple[str, bool]:
    """The name of a part, and whether it is a file."""
    options: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        if _ENCODING.match(line):
            _broken("a part is encoded; send it as it is")
        if disposition := _DISPOSITION.match(line):
            options = {key.lower(): quoted or plain for key, quoted, plain in _OPTION.findall(disposition[1])}
    name = options.get(b"name", b"").decode("utf-8", "replace")
    if not name:
        _broken("a part has no name")
    return name, b"filename" in options or b"filename*" in options


def _text(name: str, content: bytes) -> str:
    if len(content) > _MOST_FIELD_BYTES:
        message = f"{name} has {len(content)} bytes, and {_MOST_FIELD_BYTES} are the most. A file is sent with a filename."
        raise RequestError(message, status=413, param=name, code="payload_too_large")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"{name} is not valid UTF-8.", param=name) from None


def _broken(why: str) -> NoReturn:
    raise RequestError(f"The form is broken: {why}.")
