"""The functions that a request offers to the model, and the calls and their results in its conversation, from JSON to plain data.

Only what can be kept is taken: nothing makes a model call a function, or keep to the schema of its arguments.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from mlxk.chat import Message, Tool, ToolCall
from mlxk.errors import RequestError

_MOST = 128  # functions, as OpenAI's API has it
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def offered(tools: Any, choice: Any) -> tuple[Tool, ...]:
    """None where the model is not to call any: then it is not told of them either. Raises RequestError."""
    found = _tools(tools)
    if choice not in (None, "none", "auto"):
        _refuse("tool_choice", "tool_choice must be none or auto; a model cannot be made to call a function here.")
    return found if choice != "none" else ()


def calls(value: Any, where: str) -> tuple[ToolCall, ...]:
    """Those that an assistant's message made."""
    if value is None:
        return ()
    if not isinstance(value, list):
        _refuse(where, f"{where} must be a list of calls.")
    return tuple(_call(each, f"{where}[{place}]") for place, each in enumerate(value))


def assigned(messages: Sequence[Message], answers: Sequence[str | None]) -> tuple[Message, ...]:
    """The messages, those of tools with the call that they answer: ``answers`` has its id, for each message that is a tool's."""
    made: dict[str, ToolCall] = {}
    told = []
    for place, (message, call_id) in enumerate(zip(messages, answers, strict=True)):
        if call_id is not None and call_id not in made:
            where = f"messages[{place}].tool_call_id"
            _refuse(where, f"{where} must be the id of a call in a message before it.")
        told.append(dataclasses.replace(message, answers=made[call_id]) if call_id is not None else message)
        made.update((call.id, call) for call in message.calls)
    return tuple(told)


def _tools(value: Any) -> tuple[Tool, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MOST:
        _refuse("tools", f"tools must be a list of up to {_MOST} functions.")
    found = tuple(_tool(each, f"tools[{place}]") for place, each in enumerate(value))
    if len({tool.name for tool in found}) != len(found):
        _refuse("tools", "tools must have a name each.")
    return found


def _tool(value: Any, where: str) -> Tool:
    function = value.get("function") if isinstance(value, dict) and value.get("type") == "function" else None
    if not isinstance(function, dict):
        _refuse(where, f'{where} must be an object with type "function" and a function.')
    name, about, parameters = function.get("name"), function.get("description"), function.get("parameters")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        _refuse(f"{where}.function.name", f"{where}.function.name must be up to 64 letters, digits, underscores and dashes.")
    if about is not None and not isinstance(about, str):
        _refuse(f"{where}.function.description", f"{where}.function.description must be a text.")
    if parameters is not None and not isinstance(parameters, dict):
        _refuse(f"{where}.function.parameters", f"{where}.function.parameters must be an object, in JSON Schema.")
    if function.get("strict"):
        _refuse(f"{where}.function.strict", f"{where}.function.strict: a model cannot be made to keep to a schema here.")
    _check_encodable(value, where)
    return Tool(name, value)


def _call(value: Any, where: str) -> ToolCall:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or value.get("type", "function") != "function":
        _refuse(where, f'{where} must be an object with an id, type "function" and a function.')
    named = [given for given in (value.get("id"), function.get("name"), function.get("arguments")) if isinstance(given, str)]
    if len(named) < 3 or not all(named):
        _refuse(where, f"{where} must have an id, and a function with its name and its arguments as a text.")
    _check_encodable(value, where)
    call_id, name, arguments = named
    try:
        is_object = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        _refuse(f"{where}.function.arguments", f"{where}.function.arguments must be an object in JSON.")
    return ToolCall(call_id, name, arguments)


def _check_encodable(value: Any, where: str) -> None:
    """JSON can escape half of a surrogate pair, which is no character and has no encoding."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        _refuse(where, f"{where} holds half of a surrogate pair, which is not a character.")


def _refuse(param: str, message: str) -> NoReturn:
    raise RequestError(message, param=param)
