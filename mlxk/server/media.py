"""Images and recordings in the parts of a message: they come with the request itself, and nothing is ever fetched for it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, TypeVar

from mlxk import images, sounds
from mlxk.errors import MediaRefused, RequestError
from mlxk.images import Image
from mlxk.sounds import Sound

_IMAGE_URL = re.compile(f"data:image/(?:{'|'.join((*images.FORMATS, 'JPG'))});base64,", re.IGNORECASE)
_SOUND_FORMATS = ("wav", "mp3", "mpeg")

Medium = TypeVar("Medium", Image, Sound)


def is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"


def is_sound(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "input_audio"


def image(part: dict[str, Any], where: str) -> Image:
    """Raises RequestError, MediaRefused."""
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else None
    where = f"{where}.image_url"
    if not isinstance(url, str):
        raise RequestError(f"{where} must be an object with the url of an image.", param=where)
    found = _IMAGE_URL.match(url)
    if found is None:
        raise RequestError(
            f"{where}.url must be a data URL (data:image/png;base64,…) of {', '.join(images.FORMATS)}. Nothing is fetched.",
            param=where,
        )
    return _read(url[found.end() :], where, images.MAX_BYTES, images.parse)


def sound(part: dict[str, Any], where: str) -> Sound:
    """Raises RequestError, MediaRefused."""
    given = part.get("input_audio")
    where = f"{where}.input_audio"
    if not isinstance(given, dict) or not isinstance(given.get("data"), str):
        raise RequestError(f"{where} must be an object with data, in base64, and format.", param=where)
    if given.get("format") not in _SOUND_FORMATS:
        raise RequestError(f"{where}.format must be wav or mp3.", param=f"{where}.format")
    found = _read(given["data"], where, sounds.MAX_BYTES, sounds.parse)
    if found.format not in _SOUND_FORMATS:
        raise RequestError(f"{where} is {found.format.upper()}; it must be WAV or MP3.", param=where)
    return found


def _read(encoded: str, where: str, most_bytes: int, parse: Callable[[str, bytes], Medium]) -> Medium:
    if len(encoded) > most_bytes // 3 * 4 + 4:
        raise MediaRefused(f"{where} is larger than {most_bytes >> 20} MB.", where, too_large=True)
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{where} is not valid base64: {error}.", param=where) from None
    return parse(where, data)
