"""From the form of a request for a transcript, as OpenAI's API has it, to plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from mlxk import languages, sounds
from mlxk.engines import Generation, Recording, Sampling
from mlxk.errors import RequestError, UsageError
from mlxk.server.forms import Form

_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_STREAMED_FORMATS = ("json", "text")
_TRUE, _FALSE = ("true", "True", "1"), ("false", "False", "0")
_GRANULARITIES = ("segment", "word")

# As in requests: what would change the answer if it were honoured, with the values that ask for nothing.
_NOT_SUPPORTED: Mapping[str, tuple[str, ...]] = {
    "include": (),
    "chunking_strategy": ("auto",),
    "languages": (),
    "keywords": (),
    "known_speaker_names": (),
    "known_speaker_references": (),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be transcribed, and how it shall be told; ``granularities`` are those of verbose_json."""

    model: str
    generation: Generation
    response_format: str
    granularities: frozenset[str]
    stream: bool = False


def parse(form: Form) -> Asked:
    """Raises RequestError, MediaRefused. A field that is empty counts as absent."""
    for name, harmless in _NOT_SUPPORTED.items():
        given = [value for key in (name, f"{name}[]") for value in form.fields.get(key, ()) if value]
        if (given and not set(given) <= set(harmless)) or name in form.files:
            _refuse(name, f"{name} is not supported by this server; leave it out.")
    response_format = form.one("response_format") or "json"
    if response_format not in _FORMATS:
        _refuse("response_format", f"response_format must be one of {', '.join(_FORMATS)}.")
    granularities = _granularities(form, response_format)
    if (model := form.one("model")) is None:
        _refuse("model", "model must be a text, and not empty.")
    recording = Recording(_file(form), _language(form.one("language")), words="word" in granularities)
    sampling = Sampling(_temperature(form.one("temperature")))
    generation = Generation(form.one("prompt") or "", sampling=sampling, recording=recording)
    return Asked(model, generation, response_format, granularities, _stream(form.one("stream"), response_format))


def _file(form: Form) -> sounds.Sound:
    found = form.files.get("file", ())
    if len(found) != 1:
        wrong = "there is none" if not found else f"there are {len(found)}"
        _refuse("file", f"One file is transcribed, and {wrong}: it is the part named file, with a filename.")
    return sounds.parse("file", found[0])


def _stream(given: str | None, response_format: str) -> bool:
    if given is None or given in _FALSE:
        return False
    if given not in _TRUE:
        _refuse("stream", "stream must be true or false.")
    if response_format not in _STREAMED_FORMATS:
        _refuse("stream", f"stream goes with response_format {' or '.join(_STREAMED_FORMATS)}.")
    return True


def _language(given: str | None) -> str | None:
    try:
        return languages.code(given) if given is not None else None
    except UsageError as error:
        raise RequestError(error.message, param="language") from error


def _temperature(given: str | None) -> float:
    try:
        temperature = float(given or 0)
    except ValueError:
        temperature = -1.0
    if not 0 <= temperature <= 1:
        _refuse("temperature", "temperature must be a number from 0 to 1.")
    return temperature


def _granularities(form: Form, response_format: str) -> frozenset[str]:
    name = "timestamp_granularities"
    given = [value for key in (name, f"{name}[]") for value in form.fields.get(key, ()) if value]
    if unknown := [value for value in given if value not in _GRANULARITIES]:
        _refuse(f"{name}[]", f"{name}[] must be segment or word, not {unknown[0][:20]!r}.")
    if given and response_format != "verbose_json":
        _refuse(f"{name}[]", f"{name}[] goes with response_format verbose_json.")
    return frozenset(given or ["segment"])


def _refuse(param: str, message: str) -> NoReturn:
    raise RequestError(message, param=param)
