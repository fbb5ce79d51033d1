"""From the body of a request to plain data, or to a RequestError that names the field."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mlxk.chat import Message, Role
from mlxk.engines import Generation, Sampling
from mlxk.errors import MediaRefused, RequestError
from mlxk.images import MAX_PER_CHUNK
from mlxk.server import conversations, media, tools

_DEFAULT = Sampling()
_MARKS = (b"[", b"{", b",")  # there is one before each value but the first; base64 has none
_MOST_MARKS = 1_000_000  # values of some 50 bytes each, and all of them are made before anybody else has a turn
_MOST_STOPS = 4  # as OpenAI's API has it
_MOST_MEDIA = 500  # in a whole conversation
_MOST_PROMPTS = 32  # in one request; each of them waits in the queue as a request of its own does
_MOST_LOGPROBS, _MOST_TEXT_LOGPROBS = 20, 5  # as OpenAI's API has them, for chats and for texts
_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}

# Fields that would change the answer if they were honoured, with the values that ask for nothing.
# Every other field that is not read below changes no answer, and is ignored.
_NOT_SUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "logit_bias": ({},),
    "reasoning_effort": (),
    "verbosity": ("medium",),
    "web_search_options": (),
    "grammar": (),
    "json_schema": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "continue_final_message": (False,),
    "add_generation_prompt": (True,),
    "typical_p": (1,),
    "xtc_probability": (0,),
    "mirostat": (0,),
    "adapters": (),
    "draft_model": (),
}


# What a request for texts, or to transcribe, may not ask either; as above.
_NOT_FOR_TEXTS: Mapping[str, tuple[Any, ...]] = {"tools": ([],), "tool_choice": ("none", "auto")}
_NOT_FOR_RECORDINGS: Mapping[str, tuple[Any, ...]] = {
    "max_tokens": (),
    "max_completion_tokens": (),
    "stop": ([],),
    "logprobs": (False,),
    "seed": (),
    "top_p": (1,),
    "top_k": (0,),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be answered: one conversation, or texts to be continued, each for itself.

    With ``headings`` it is one conversation in several parts, whose answers are one, each of them below its heading.
    """

    model: str
    generations: tuple[Generation, ...]
    stream: bool
    include_usage: bool
    headings: tuple[str, ...] = ()


def parse_chat(body: bytes, default_max_tokens: int | None = None, images_at_once: int | None = None) -> Asked:
    """Raises RequestError, MediaRefused. A field that is null counts as absent."""
    fields = _Fields(_parse_object(body))
    wanted, top = fields.flag("logprobs"), fields.whole("top_logprobs", 0, _MOST_LOGPROBS)
    if top is not None and not wanted:
        _refuse("top_logprobs", "top_logprobs goes with logprobs: true.")
    at_once = fields.whole("chunk", 1, MAX_PER_CHUNK) or images_at_once
    posed = conversations.pose(_messages(fields.get("messages")), at_once)
    asked = _asked(fields, posed.prompts, default_max_tokens, (top or 0) if wanted else None)
    if asked.generations[0].needs != "text" or posed.recording is not None:
        _check_unasked(fields, _NOT_FOR_TEXTS, "is for conversations without images and recordings")
    if posed.recording is None:
        offered = tools.offered(fields.get("tools"), fields.get("tool_choice"))
        one_call = not fields.flag("parallel_tool_calls", default=True)
        generations = tuple(dataclasses.replace(each, tools=offered, one_call=one_call) for each in asked.generations)
        return dataclasses.replace(asked, generations=generations, headings=posed.headings)
    _check_unasked(fields, _NOT_FOR_RECORDINGS, "is for answers, and a recording is transcribed")
    temperature = fields.number("temperature", 0, 2, 0.0)
    heard = Generation(posed.prompts[0], sampling=Sampling(temperature), recording=posed.recording)
    return dataclasses.replace(asked, generations=(heard,))


def parse_completion(body: bytes, default_max_tokens: int | None = None) -> Asked:
    """The same for texts that are continued as they are."""
    fields = _Fields(_parse_object(body))
    _check_unasked(fields, _NOT_FOR_TEXTS, "is for conversations")
    top = fields.whole("logprobs", 0, _MOST_TEXT_LOGPROBS)
    return _asked(fields, _prompts(fields.get("prompt")), default_max_tokens, top)


def _asked(
    fields: _Fields, prompts: Sequence[tuple[Message, ...] | str], default_max_tokens: int | None, top_logprobs: int | None
) -> Asked:
    _check_unasked(fields, _NOT_SUPPORTED, "is not supported by this server")
    stream = fields.flag("stream")
    options = fields.get("stream_options")
    if options is not None and not (stream and isinstance(options, dict)):
        _refuse("stream_options", "stream_options must be an object, and goes with stream: true.")
    max_tokens = fields.whole("max_completion_tokens", 1) or fields.whole("max_tokens", 1) or default_max_tokens
    stop = _stops(fields.get("stop"))
    sampling = _sampling(fields)
    return Asked(
        model=fields.text("model"),
        generations=tuple(Generation(prompt, max_tokens, stop, sampling, top_logprobs=top_logprobs) for prompt in prompts),
        stream=stream,
        include_usage=_Fields(options or {}, "stream_options.").flag("include_usage"),
    )


def _check_unasked(fields: _Fields, table: Mapping[str, tuple[Any, ...]], why: str) -> None:
    for name, harmless in table.items():
        if (value := fields.get(name)) is not None and not any(_same(value, other) for other in harmless):
            _refuse(name, f"{name} {why}; leave it out.")


def _same(value: Any, other: Any) -> bool:
    """As JSON has it, where true is not 1, though 1.0 is."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _parse_object(body: bytes) -> dict[str, Any]:
    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    if sum(map(body.count, _MARKS)) > _MOST_MARKS:
        raise RequestError(f"The body has more than {_MOST_MARKS:,} brackets and commas. Ask for less at once.")
    try:
        parsed = json.loads(body.decode("utf-8"), parse_constant=no_constant)
    except RecursionError:
        raise RequestError("The body is nested too deeply.") from None
    except ValueError as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise RequestError("The body must be a JSON object.")
    return parsed


def _sampling(fields: _Fields) -> Sampling:
    penalty = fields.number("repetition_penalty", 0, 10, _DEFAULT.repetition_penalty)
    if penalty == 0:
        _refuse("repetition_penalty", "repetition_penalty must be above 0; 1 is no penalty.")
    return Sampling(
        temperature=fields.number("temperature", 0, 2, _DEFAULT.temperature),
        top_p=fields.number("top_p", 0, 1, _DEFAULT.top_p),
        top_k=fields.whole("top_k", 0) or 0,
        min_p=fields.number("min_p", 0, 1, _DEFAULT.min_p),
        repetition_penalty=penalty,
        seed=fields.whole("seed", -(2**63)),
        presence_penalty=fields.number("presence_penalty", -2, 2, _DEFAULT.presence_penalty),
        frequency_penalty=fields.number("frequency_penalty", -2, 2, _DEFAULT.frequency_penalty),
    )


def _prompts(value: Any) -> tuple[str, ...]:
    prompts = [value] if isinstance(value, str) else value
    if (
        not isinstance(prompts, list)
        or not 0 < len(prompts) <= _MOST_PROMPTS
        or not all(isinstance(each, str) for each in prompts)
    ):
        _refuse("prompt", f"prompt must be a text or a list of 1 to {_MOST_PROMPTS} texts; token ids are not supported.")
    if not all(prompts):
        _refuse("prompt", "prompt must not be empty: there is nothing to continue.")
    return tuple(_encodable(each, "prompt") for each in prompts)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        _refuse("messages", "messages must be a list of at least one message.")
    _check_count(value)
    messages = [_message(message, f"messages[{place}]") for place, message in enumerate(value)]
    answers = [_answered(each, f"messages[{place}]") if each["role"] == "tool" else None for place, each in enumerate(value)]
    return tools.assigned(messages, answers)


def _check_count(messages: Sequence[Any]) -> None:
    """Each image and recording of a conversation is looked at, also those of which the model is only told."""
    contents = (message.get("content") for message in messages if isinstance(message, dict))
    parts = (part for content in contents if isinstance(content, list) for part in content)
    count = sum(media.is_image(part) or media.is_sound(part) for part in parts)
    if count > _MOST_MEDIA:
        message = f"The messages bring {count} images and recordings, and {_MOST_MEDIA} are the most. Leave out earlier ones."
        raise MediaRefused(message, "messages", too_large=True)


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        _refuse(where, f"{where} must be an object with role and content.")
    role = value.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        _refuse(f"{where}.role", f"{where}.role must be one of {', '.join(_ROLES)}.")
    for name in ("function_call", "audio", *(("tool_calls",) if role != "assistant" else ())):
        if value.get(name):
            _refuse(f"{where}.{name}", f"{where}.{name} is not supported by this server.")
    made = tools.calls(value.get("tool_calls"), f"{where}.tool_calls") if role == "assistant" else ()
    content, where = value.get("content"), f"{where}.content"
    if content is None and made:
        content = ""
    parts = [(part, f"{where}[{place}]") for place, part in enumerate(content)] if isinstance(content, list) else []
    shown = tuple(media.image(part, place) for part, place in parts if media.is_image(part))
    heard = tuple(media.sound(part, place) for part, place in parts if media.is_sound(part))
    if (shown or heard) and role != "user":
        _refuse(where, f"{where} brings an image or a recording, which only messages of the user may.")
    return Message(_ROLES[role], _content(content, where), shown, heard, made)


def _answered(value: dict[str, Any], where: str) -> str:
    """The id of the call that a tool's message answers."""
    return _Fields(value, f"{where}.").text("tool_call_id")


def _content(value: Any, where: str) -> str:
    if isinstance(value, list):
        texts = ((part, place) for place, part in enumerate(value) if not (media.is_image(part) or media.is_sound(part)))
        return "\n".join(_part(part, f"{where}[{place}]") for part, place in texts)
    if not isinstance(value, str):
        _refuse(where, f"{where} must be a text or a list of parts.")
    return _encodable(value, where)


def _part(value: Any, where: str) -> str:
    if not isinstance(value, dict) or value.get("type") != "text" or not isinstance(value.get("text"), str):
        _refuse(where, f"{where} must be a part of type text, image_url or input_audio, with what its type says.")
    return _encodable(value["text"], where)


def _encodable(text: str, where: str) -> str:
    """JSON can escape half of a surrogate pair, which is no character and has no encoding."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        _refuse(where, f"{where} holds half of a surrogate pair, which is not a character.")
    return text


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return ()
    if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(isinstance(stop, str) and stop for stop in stops):
        _refuse("stop", f"stop must be a text or a list of up to {_MOST_STOPS} texts, none of them empty.")
    return tuple(_encodable(stop, "stop") for stop in stops)


class _Fields:
    """The fields of an object, by type; ``prefix`` says where the object is."""

    def __init__(self, values: dict[str, Any], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix

    def get(self, name: str) -> Any:
        return self._values.get(name)

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str) or not value:
            self._refuse(name, "must be a text, and not empty")
        return _encodable(value, name)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._refuse(name, "must be true or false")
        return value

    def whole(self, name: str, lowest: int, highest: int = 2**64 - 1) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            self._refuse(name, f"must be a whole number from {lowest} to {highest}")
        return value

    def number(self, name: str, lowest: float, highest: float, default: float) -> float:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not lowest <= value <= highest:
            self._refuse(name, f"must be a number from {lowest} to {highest}")
        return float(value)

    def _refuse(self, name: str, rule: str) -> NoReturn:
        _refuse(self._prefix + name, f"{self._prefix}{name} {rule}.")


def _refuse(param: str, message: str) -> NoReturn:
    raise RequestError(message, param=param)
