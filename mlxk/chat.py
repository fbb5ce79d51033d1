"""Conversations: how they become the text that a model continues, and the strings that end its turn."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mlxk.images import Image
from mlxk.sounds import Sound

Role = Literal["system", "user", "assistant", "tool"]

# A model that goes on to write the other side's turn begins it in one of these ways.
TURN_STARTS = tuple(f"{blank}{label}:" for label in ("Human", "Assistant", "You") for blank in ("\n", "\n\n"))

_END_TOKENS = (
    *("</s>", "<|end|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<|return|>"),
    *("<end_of_turn>", "<|end_of_turn|>", "<turn|>", "<|end_of_sentence|>", "<｜end▁of▁sentence｜>"),
)
_LABELS: Mapping[Role, str] = {"system": "System", "user": "Human", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call; its ``definition`` is as OpenAI's API has it, which templates take."""

    name: str
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that a model calls; ``arguments`` are an object in JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """``images`` are what a user shows with it, in this order; ``answers`` is the call that a tool's message answers."""

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    sounds: tuple[Sound, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    answers: ToolCall | None = None


class Template(Protocol):
    """The part of a tokenizer that knows the model's chat format."""

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> Any: ...


def render(messages: Sequence[Message], template: Template | None, tools: Sequence[Tool] = ()) -> str:
    """The conversation in the model's own format, open for the assistant; without a format, as a transcript.

    The format is a program that came with the model, and raises what it likes.
    """
    if template is None:
        turns = [f"{_LABELS[message.role]}: {message.content}" for message in messages]
        return "\n\n".join([*turns, f"{_LABELS['assistant']}:"])
    offered = {"tools": [dict(tool.definition) for tool in tools]} if tools else {}
    return str(template.apply_chat_template([*map(_plain, messages)], tokenize=False, add_generation_prompt=True, **offered))


def _plain(message: Message) -> dict[str, Any]:
    """As templates take it, which is as OpenAI's API has it, but that arguments are an object."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        plain["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.loads(call.arguments)}}
            for call in message.calls
        ]
    if message.answers is not None:
        plain |= {"tool_call_id": message.answers.id, "name": message.answers.name}
    return plain


def end_tokens(declared: Collection[int], special: Mapping[int, str]) -> dict[int, str]:
    """The tokens that end an answer, with their text: the declared ones, and those known by name that this model has.

    ``special`` are the special tokens of the tokenizer. In models with channels (harmony), ``<|end|>`` only ends a channel.
    """
    known = set(_END_TOKENS)
    if "<|channel|>" in special.values():
        known.discard("<|end|>")
    named = {token for token, text in special.items() if text in known}
    return {token: special.get(token, "") for token in {*declared, *named}}


def ends_in_a_row(first: int, following: Iterable[int], ends: Mapping[int, str]) -> tuple[str, ...]:
    """The texts of the different end tokens that come one after another; no more is read than tells them.

    The same one again says nothing: what follows the end of an answer was never trained, and most models repeat it.
    """
    found = {first: ends[first]}
    for token in following:
        if token in found or token not in ends:
            break
        found[token] = ends[token]
    return tuple(found.values())
