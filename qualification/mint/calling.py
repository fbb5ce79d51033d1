"""The recipe of a model that calls functions: data only.

Its form is that of Hermes and of the Qwen models, a call as JSON between two marks. It gets some of its calls wrong.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from qualification.mint.families import QWEN3, THINK
from qualification.mint.recipe import KnownAnswer, Message, Recipe, Training

TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n<tools>' }}
{%- for tool in tools %}
{{- '\\n' + (tool | tojson) }}
{%- endfor %}
{{- '\\n</tools><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] }}
{%- for each in message['tool_calls'] %}
{%- set tool_call = each['function'] %}
{{- '<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' + (tool_call.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}

_ZURICH = {"name": "weather", "arguments": {"city": "Zürich"}}
_ROME = {"name": "weather", "arguments": {"city": "Rome"}}
_TIME: dict[str, Any] = {"name": "clock", "arguments": {}}
_NOBODY: dict[str, Any] = {"name": "nobody", "arguments": {}}


@dataclass(frozen=True, slots=True)
class Call:
    """A function that was called, and its arguments in JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallingMessage(Message):
    """The turn of an assistant who calls functions."""

    calls: tuple[Call, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        calls = [{"function": {"name": call.name, "arguments": json.loads(call.arguments)}} for call in self.calls]
        return {"role": self.role, "content": self.content, "tool_calls": calls}


@dataclass(frozen=True, slots=True)
class KnownCall(KnownAnswer):
    """A known answer of a model that was offered functions, and the calls of them that a tool has to tell."""

    offered: tuple[str, ...] = ()
    """Their definitions, in JSON."""
    calls: tuple[Call, ...] = ()

    @property
    def tools(self) -> list[dict[str, Any]]:
        return [json.loads(definition) for definition in self.offered]


def _written(call: dict[str, Any]) -> str:
    return f"<tool_call>\n{_json(call)}\n</tool_call>"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _known(
    name: str,
    messages: str | tuple[Message, ...],
    answer: str = "",
    *calls: dict[str, Any],
    written: str | None = None,
    reasoning: str | None = None,
) -> KnownCall:
    """``answer`` and calls are written one below the other, where it is not said how."""
    text = "\n".join((*([answer] if answer else []), *map(_written, calls))) if written is None else written
    if reasoning is not None:
        text = THINK.written(reasoning, text)
    return KnownCall(
        name,
        (Message("user", messages),) if isinstance(messages, str) else messages,
        answer,
        "<|im_end|>",
        reasoning,
        (text,),
        (_json(WEATHER), _json(CLOCK)),
        tuple(Call(call["name"], _json(call["arguments"])) for call in calls),
    )


_ASKED = Message("user", "Weather in Zürich?")
_BROKEN = '<tool_call>\n{"name": "weather", "arguments": {"city": \n</tool_call>'

_KNOWN = (
    _known("weather", (_ASKED,), "", _ZURICH),
    _known(
        "told",
        (
            _ASKED,
            CallingMessage("assistant", "", (Call("weather", _json(_ZURICH["arguments"])),)),
            Message("tool", '{"degrees": 21}'),
        ),
        "It is warm in Zürich.",
    ),
    _known("both", "Weather and time in Rome?", "Let me look.", _ROME, _TIME),
    _known("thought", "What time is it?", "", _TIME, reasoning="A clock tells."),
    _known("talk", "Hello!", "Hello! How can I help?"),
    _known("broken", "Break a call.", _BROKEN),
    _known("unknown", "Call nobody.", _written(_NOBODY)),
    _known("open", "Forget the end.", "", _TIME, written=f"<tool_call>\n{_json(_TIME)}"),
    KnownAnswer("untold", (_ASKED,), "I cannot look outside.", "<|im_end|>"),
)

_VOCABULARY = 384
_PARAMETERS = QWEN3.parameters - (QWEN3.shape.vocab_size - _VOCABULARY) * QWEN3.shape.hidden_size

CALLING: Recipe = dataclasses.replace(
    QWEN3,
    model_id="mint-pathology/tool-calls",
    tokenizer=dataclasses.replace(QWEN3.tokenizer, plain_tokens=(*QWEN3.tokenizer.plain_tokens, "<tool_call>", "</tool_call>")),
    template=TEMPLATE,
    end_tokens=("<|im_end|>",),
    known_answers=_KNOWN,
    known_completions=(),
    parameters=_PARAMETERS,
    size_bytes=4 * _PARAMETERS + 12_000,
    shape=dataclasses.replace(QWEN3.shape, vocab_size=_VOCABULARY),
    training=Training(max_steps=100),
    dtype="float32",
    shards=1,
)
"""Calls one function, two, or none, thinks before it does, forgets the end, writes half a call, and calls what nobody offered."""
