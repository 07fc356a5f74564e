"""OpenAI's chat completions, and the errors and limit headers that all OpenAI formats share."""

from __future__ import annotations

import time
from collections.abc import Iterator

from penstock.simulator import checks
from penstock.simulator.tokens import (
    TOKENS_PER_MESSAGE,
    count_content,
    count_json,
    plain_text,
    slice_text,
)
from penstock.simulator.wire import (
    BadCall,
    Call,
    Failure,
    Frame,
    Gauges,
    Json,
    Reply,
    Tool,
    event,
    go_duration,
    invalid,
)

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
ANY_OBJECT: Json = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


class OpenAIFaces:
    """Errors and headers as every OpenAI endpoint has them."""

    def failure(self, failure: Failure, request_id: str) -> tuple[int, Json]:
        error = {
            "message": failure.message,
            "type": failure.type,
            "param": failure.param,
            "code": failure.code,
        }
        return failure.status, {"error": error}

    def limit_headers(self, gauges: Gauges) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = []
        for resource, gauge in gauges.items():
            name = resource.encode("ascii")
            headers.append((b"x-ratelimit-limit-" + name, b"%d" % gauge.limit))
            headers.append((b"x-ratelimit-remaining-" + name, b"%d" % gauge.remaining))
            headers.append((b"x-ratelimit-reset-" + name, go_duration(gauge.reset_after).encode("ascii")))
        return headers


class ChatWire(OpenAIFaces):
    """`POST /v1/chat/completions`."""

    def parse(self, body: Json, path_parameters: Json) -> Call:
        model = checks.need_model(body, path_parameters.get("deployment"))
        if "messages" not in body:
            raise invalid("messages", "Missing required parameter: 'messages'.", "missing_required_parameter")
        messages = checks.check_messages(body["messages"], "messages", ROLES)
        checks.check_number(body, "temperature", 0, 2)
        checks.check_number(body, "top_p", 0, 1)
        stream = checks.flag(body, "stream")
        options = checks.optional_object(body, "stream_options")
        if options and not stream:
            raise invalid(
                "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is set."
            )
        tools, forced = _parse_tools(body)
        size = sum(_count_message(message) for message in messages)
        return Call(
            model=model,
            input_tokens=size + (count_json(body["tools"]) if tools else 0),
            cap=checks.output_cap(body, "max_completion_tokens", "max_tokens", "max_output_tokens"),
            choices=checks.optional_integer(body, "n", 1, 128) or 1,
            stream=stream,
            include_usage=checks.flag(options, "include_usage"),
            user_text=last_user_text(messages),
            json_schema=_parse_format(checks.optional_object(body, "response_format"), "response_format"),
            tools=tools,
            forced_tool=forced,
            called=_called(messages),
        )

    def plain(self, call: Call, reply: Reply, number: int) -> Json:
        message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
        if reply.tool is not None:
            message["content"] = None
            message["tool_calls"] = [_tool_call(reply.tool, reply.text, number)]
        return {
            "id": f"chatcmpl-sim{number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": call.model,
            "choices": [
                {"index": index, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
                for index in range(call.choices)
            ],
            "usage": chat_usage(call, reply),
            "service_tier": "default",
            "system_fingerprint": "fp_simulator",
        }

    def frames(self, call: Call, reply: Reply, number: int, chunk_tokens: int) -> Iterator[Frame]:
        chunk: Json = {
            "id": f"chatcmpl-sim{number}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": call.model,
            "system_fingerprint": "fp_simulator",
        }
        if call.include_usage:
            chunk["usage"] = None

        def frame(index: int, delta: Json, finish: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            return event({**chunk, "choices": [choice]})

        for index in range(call.choices):
            for position, (delta, tokens) in enumerate(_deltas(reply, number, chunk_tokens)):
                yield frame(index, {"role": "assistant", **delta} if position == 0 else delta), tokens
            yield frame(index, {}, _finish(reply)), 0
        if call.include_usage:
            yield event({**chunk, "choices": [], "usage": chat_usage(call, reply)}), 0
        yield b"data: [DONE]\n\n", 0


def last_user_text(messages: list[Json]) -> str:
    """The text of the last message of the user, or an empty one."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return plain_text(message.get("content"))
    return ""


def _called(messages: list[Json]) -> frozenset[str]:
    """The tools that were called since the user last spoke."""
    names = set()
    for message in reversed(messages):
        if message.get("role") == "user":
            break
        for one in message.get("tool_calls") or ():
            function = one.get("function") if isinstance(one, dict) else None
            if isinstance(function, dict):
                names.add(str(function.get("name")))
    return frozenset(names)


def chat_usage(call: Call, reply: Reply) -> Json:
    """Usage in the words of chat completions."""
    output = reply.output_tokens * call.choices
    return {
        "prompt_tokens": call.input_tokens,
        "completion_tokens": output,
        "total_tokens": call.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def models_body(names: tuple[str, ...]) -> Json:
    """The list of models."""
    return {"object": "list", "data": [model_body(name) for name in names]}


def model_body(name: str) -> Json:
    """One model."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock-simulator"}


def model_not_found(model: str) -> BadCall:
    """The 404 for a model that the provider does not have."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return BadCall(Failure(404, message, "invalid_request_error", "model_not_found"))


def _count_message(message: Json) -> int:
    size = TOKENS_PER_MESSAGE + count_content(message.get("content"))
    return size + (count_json(message["tool_calls"]) if message.get("tool_calls") else 0)


def _parse_tools(body: Json) -> tuple[tuple[Tool, ...], str | None]:
    tools: list[Tool] = []
    for position, given in enumerate(checks.optional_list(body, "tools")):
        function = given.get("function") if isinstance(given, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            name = f"tools[{position}].function.name"
            raise invalid(name, f"Missing required parameter: '{name}'.", "missing_required_parameter")
        tools.append(Tool(function["name"], function.get("parameters") or {"type": "object"}))
    choice = body.get("tool_choice")
    names = [tool.name for tool in tools]
    if isinstance(choice, dict):
        return tuple(tools), checks.known_tool(checks.optional_object(choice, "function").get("name"), names)
    if choice == "required":
        return tuple(tools), checks.known_tool(names[0] if names else None, names)
    return tuple(tools), None


def _parse_format(wanted: Json, name: str) -> Json | None:
    kind = wanted.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    if kind != "json_schema":
        raise invalid(f"{name}.type", f"Invalid value for '{name}.type': {kind!r}.", "invalid_value")
    schema = checks.optional_object(wanted, "json_schema").get("schema")
    if not isinstance(schema, dict):
        place = f"{name}.json_schema.schema"
        raise invalid(place, f"Missing required parameter: '{place}'.", "missing_required_parameter")
    return schema


def _tool_call(name: str, arguments: str, number: int) -> Json:
    return {
        "id": f"call_sim{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _deltas(reply: Reply, number: int, chunk_tokens: int) -> Iterator[tuple[Json, int]]:
    pieces = list(counted_pieces(reply, chunk_tokens))
    if reply.tool is None:
        yield {"content": "", "refusal": None}, 0
        for piece, tokens in pieces:
            yield {"content": piece}, tokens
        return
    yield {"content": None, "tool_calls": [{"index": 0, **_tool_call(reply.tool, "", number)}]}, 0
    for piece, tokens in pieces:
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, tokens


def counted_pieces(reply: Reply, chunk_tokens: int) -> Iterator[tuple[str, int]]:
    """The text in pieces; their tokens sum to those of the reply."""
    left = reply.output_tokens
    pieces = slice_text(reply.text, chunk_tokens)
    for position, piece in enumerate(pieces):
        tokens = left if position == len(pieces) - 1 else min(left, chunk_tokens)
        left -= tokens
        yield piece, tokens


def _finish(reply: Reply) -> str:
    if reply.cut:
        return "length"
    return "stop" if reply.tool is None else "tool_calls"
