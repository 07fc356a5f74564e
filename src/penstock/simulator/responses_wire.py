"""OpenAI's responses endpoint: `POST /v1/responses`, whole and as typed events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from penstock.simulator import checks
from penstock.simulator.openai_wire import ANY_OBJECT, ROLES, OpenAIFaces, counted_pieces, last_user_text
from penstock.simulator.tokens import TOKENS_PER_MESSAGE, count_content, count_json, count_text
from penstock.simulator.wire import Call, Frame, Json, Reply, Tool, event, invalid


class ResponsesWire(OpenAIFaces):
    """Text and function calls; nothing is stored and nothing runs in the background."""

    def parse(self, body: Json, path_parameters: Json) -> Call:
        model = checks.need_model(body)
        if "input" not in body:
            raise invalid("input", "Missing required parameter: 'input'.", "missing_required_parameter")
        if checks.flag(body, "background"):
            raise invalid("background", "The simulator does not run responses in the background.")
        messages, size = _parse_input(body["input"])
        instructions = body.get("instructions")
        if isinstance(instructions, str):
            size += TOKENS_PER_MESSAGE + count_text(instructions)
        tools, forced = _parse_tools(body)
        checks.check_number(body, "temperature", 0, 2)
        return Call(
            model=model,
            input_tokens=size + (count_json(body["tools"]) if tools else 0),
            cap=checks.output_cap(body, "max_output_tokens", "max_completion_tokens", "max_tokens"),
            stream=checks.flag(body, "stream"),
            user_text=last_user_text(messages),
            called=_called(body["input"]),
            json_schema=_parse_format(checks.optional_object(body, "text")),
            tools=tools,
            forced_tool=forced,
            extra={name: body[name] for name in _ECHOED if body.get(name) is not None},
        )

    def plain(self, call: Call, reply: Reply, number: int) -> Json:
        return _response(call, number, "incomplete" if reply.cut else "completed", reply)

    def frames(self, call: Call, reply: Reply, number: int, chunk_tokens: int) -> Iterator[Frame]:
        for sequence, (kind, fields, tokens) in enumerate(_events(call, reply, number, chunk_tokens)):
            yield event({"type": kind, "sequence_number": sequence, **fields}, kind), tokens


_ECHOED = (
    "instructions",
    "metadata",
    "temperature",
    "top_p",
    "max_output_tokens",
    "tools",
    "tool_choice",
    "text",
)


def _parse_input(given: Any) -> tuple[list[Json], int]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}], TOKENS_PER_MESSAGE + count_text(given)
    if not isinstance(given, list) or not given:
        raise invalid(
            "input", "Invalid 'input': expected a text or an array that is not empty.", "invalid_type"
        )
    messages = [item for item in given if isinstance(item, dict) and "role" in item]
    if messages:
        checks.check_messages(messages, "input", ROLES)
    size = 0
    for position, item in enumerate(given):
        if not isinstance(item, dict) or ("role" not in item and "type" not in item):
            raise invalid(f"input[{position}]", f"Invalid 'input[{position}]': no item of a known kind.")
        size += TOKENS_PER_MESSAGE
        size += count_content(item.get("content")) if "role" in item else count_json(item)
    return messages, size


def _called(given: Any) -> frozenset[str]:
    """The tools that were called since the user last spoke."""
    names: set[str] = set()
    items: list[Json] = given if isinstance(given, list) else []
    for item in reversed(items):
        if item.get("role") == "user":
            break
        if item.get("type") == "function_call":
            names.add(str(item.get("name")))
    return frozenset(names)


def _parse_tools(body: Json) -> tuple[tuple[Tool, ...], str | None]:
    tools: list[Tool] = []
    for position, given in enumerate(checks.optional_list(body, "tools")):
        if not isinstance(given, dict) or not isinstance(given.get("type"), str):
            raise invalid(f"tools[{position}].type", f"Missing required parameter: 'tools[{position}].type'.")
        if given["type"] == "function":
            if not isinstance(given.get("name"), str):
                raise invalid(
                    f"tools[{position}].name", f"Missing required parameter: 'tools[{position}].name'."
                )
            tools.append(Tool(given["name"], given.get("parameters") or {"type": "object"}))
    choice = body.get("tool_choice")
    names = [tool.name for tool in tools]
    if isinstance(choice, dict) and choice.get("type") == "function":
        return tuple(tools), checks.known_tool(choice.get("name"), names)
    if choice == "required":
        return tuple(tools), checks.known_tool(names[0] if names else None, names)
    return tuple(tools), None


def _parse_format(text: Json) -> Json | None:
    wanted = checks.optional_object(text, "format")
    kind = wanted.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    if kind != "json_schema" or not isinstance(wanted.get("schema"), dict):
        raise invalid("text.format", "Invalid 'text.format': a json_schema format needs its 'schema'.")
    schema: Json = wanted["schema"]
    return schema


def _response(call: Call, number: int, status: str, reply: Reply | None) -> Json:
    body: Json = {
        "id": f"resp_sim{number}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": call.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
        **call.extra,
    }
    if reply is not None:
        body["output"] = [_item(reply, number, status)]
        body["usage"] = {
            "input_tokens": call.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": call.input_tokens + reply.output_tokens,
        }
    return body


def _item(reply: Reply, number: int, status: str) -> Json:
    if reply.tool is not None:
        return {
            "type": "function_call",
            "id": f"fc_sim{number}",
            "call_id": f"call_sim{number}",
            "name": reply.tool,
            "arguments": reply.text,
            "status": status,
        }
    return {
        "type": "message",
        "id": f"msg_sim{number}",
        "role": "assistant",
        "status": status,
        "content": [_part(reply.text)],
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _events(call: Call, reply: Reply, number: int, chunk_tokens: int) -> Iterator[tuple[str, Json, int]]:
    opening = {"response": _response(call, number, "in_progress", None)}
    yield "response.created", opening, 0
    yield "response.in_progress", opening, 0
    status = "incomplete" if reply.cut else "completed"
    item = _item(reply, number, status)
    empty: Json = {"arguments": ""} if reply.tool is not None else {"content": []}
    yield (
        "response.output_item.added",
        {"output_index": 0, "item": {**item, "status": "in_progress", **empty}},
        0,
    )
    place: Json = {"item_id": item["id"], "output_index": 0}
    if reply.tool is None:
        yield from _text_events(reply, {**place, "content_index": 0}, chunk_tokens)
    else:
        kind = "response.function_call_arguments"
        for piece, tokens in counted_pieces(reply, chunk_tokens):
            yield f"{kind}.delta", {**place, "delta": piece}, tokens
        yield f"{kind}.done", {**place, "name": reply.tool, "arguments": reply.text}, 0
    yield "response.output_item.done", {"output_index": 0, "item": item}, 0
    yield f"response.{status}", {"response": _response(call, number, status, reply)}, 0


def _text_events(reply: Reply, place: Json, chunk_tokens: int) -> Iterator[tuple[str, Json, int]]:
    yield "response.content_part.added", {**place, "part": _part("")}, 0
    for piece, tokens in counted_pieces(reply, chunk_tokens):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}, tokens
    yield "response.output_text.done", {**place, "text": reply.text, "logprobs": []}, 0
    yield "response.content_part.done", {**place, "part": _part(reply.text)}, 0
