"""Calls of tools as models make them, put right: ids that are there and differ, arguments that are JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from penstock.task_types.chat import Answer, Message
from penstock.task_types.conversation import BadAnswer
from penstock.task_types.json_in_text import parse_strictly

_LONGEST_SHOWN = 500


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call; `problem` says what keeps it from being made, `arguments` are empty then."""

    id: str
    name: str
    arguments: dict[str, Any]
    problem: str | None = None


def read_calls(answer: Answer, turn: int) -> list[ToolCall]:
    """The calls of an answer. One without an id, or with that of another, gets one of its turn and place."""
    seen: set[str] = set()
    return [_read(call, f"call_{turn}_{place}", seen) for place, call in enumerate(answer.tool_calls)]


def spoken(answer: Answer, calls: list[ToolCall]) -> Message:
    """The assistant's message with these calls, as endpoints take it back: they choke on broken arguments."""
    said: Message = {"role": "assistant", "content": answer.text}
    if calls:
        said["tool_calls"] = [
            {**given, "type": "function", "id": call.id, "function": _function(given, call)}
            for given, call in zip(answer.tool_calls, calls, strict=True)
        ]
    return said


def arguments_of(call: dict[str, Any]) -> dict[str, Any]:
    """The arguments of one call as it came; raises `BadAnswer` for what is no JSON object."""
    function = call.get("function")
    given = function.get("arguments") if isinstance(function, dict) else None
    if isinstance(given, str):
        try:
            given = parse_strictly(given.strip() or "{}")
        except ValueError as error:
            raise BadAnswer(f"the arguments are no JSON: {error}") from None
    if not isinstance(given, dict):
        raise BadAnswer("the arguments must be a JSON object")
    return given


def _read(call: dict[str, Any], own_id: str, seen: set[str]) -> ToolCall:
    id, function = call.get("id"), call.get("function")
    function = function if isinstance(function, dict) else {}
    if not isinstance(id, str) or not id or id in seen:
        id = own_id
    seen.add(id)
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        return ToolCall(id, "unnamed", {}, "the call names no tool")
    try:
        return ToolCall(id, name, arguments_of(call))
    except BadAnswer as bad:
        shown = json.dumps(function.get("arguments"), ensure_ascii=False)[:_LONGEST_SHOWN]
        return ToolCall(id, name, {}, f"{bad}; they were {shown}")


def _function(given: dict[str, Any], call: ToolCall) -> dict[str, Any]:
    known = given.get("function")
    arguments = known.get("arguments") if isinstance(known, dict) else None
    if call.problem is not None or not isinstance(arguments, str):
        arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {**(known if isinstance(known, dict) else {}), "name": call.name, "arguments": arguments}
