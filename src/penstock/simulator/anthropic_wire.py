"""Anthropic's messages: `POST /v1/messages`, whole and streaming, with their own errors and limit headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from penstock.simulator import checks
from penstock.simulator.openai_wire import counted_pieces, last_user_text
from penstock.simulator.tokens import TOKENS_PER_MESSAGE, count_content, count_json
from penstock.simulator.wire import Call, Failure, Frame, Gauges, Json, Reply, Tool, event, invalid

ROLES = frozenset({"user", "assistant"})
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class MessagesWire:
    """`POST /v1/messages`."""

    def parse(self, body: Json, path_parameters: Json) -> Call:
        model = checks.need_model(body)
        if body.get("max_tokens") is None:
            raise invalid("max_tokens", "max_tokens: Field required")
        messages = checks.check_messages(body.get("messages"), "messages", ROLES)
        checks.check_number(body, "temperature", 0, 1)
        tools, forced = _parse_tools(body)
        size = sum(TOKENS_PER_MESSAGE + count_content(message.get("content")) for message in messages)
        checks.check_parts(body.get("system"), "system")
        if body.get("system"):
            size += TOKENS_PER_MESSAGE + count_content(body["system"])
        return Call(
            model=model,
            input_tokens=size + (count_json(body["tools"]) if tools else 0),
            cap=checks.optional_integer(body, "max_tokens", 1),
            stream=checks.flag(body, "stream"),
            user_text=last_user_text(messages),
            tools=tools,
            forced_tool=forced,
        )

    def plain(self, call: Call, reply: Reply, number: int) -> Json:
        return {
            **_opening(call, number),
            "content": [_block(reply, number)],
            "stop_reason": _stop_reason(reply),
            "usage": _usage(call, reply.output_tokens),
        }

    def frames(self, call: Call, reply: Reply, number: int, chunk_tokens: int) -> Iterator[Frame]:
        yield _event("message_start", message={**_opening(call, number), "usage": _usage(call, 1)}), 0
        empty: Json = {"input": {}} if reply.tool is not None else {"text": ""}
        yield _event("content_block_start", index=0, content_block={**_block(reply, number), **empty}), 0
        yield _event("ping"), 0
        for piece, tokens in counted_pieces(reply, chunk_tokens):
            delta = {"type": "text_delta", "text": piece}
            if reply.tool is not None:
                delta = {"type": "input_json_delta", "partial_json": piece}
            yield _event("content_block_delta", index=0, delta=delta), tokens
        yield _event("content_block_stop", index=0), 0
        ending = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
        yield _event("message_delta", delta=ending, usage={"output_tokens": reply.output_tokens}), 0
        yield _event("message_stop"), 0

    def failure(self, failure: Failure, request_id: str) -> tuple[int, Json]:
        status = 529 if failure.code == "server_is_overloaded" else failure.status
        error: Json = {"type": _ERROR_TYPES.get(status, "api_error"), "message": failure.message}
        if failure.type == "insufficient_quota":
            error["details"] = {"error_code": "enforced_spend_limit_reached"}
        return status, {"type": "error", "error": error, "request_id": request_id}

    def limit_headers(self, gauges: Gauges) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = []
        for resource, gauge in gauges.items():
            name = b"anthropic-ratelimit-" + resource.encode("ascii")
            # Tokens are told in thousands, as the real headers do.
            remaining = round(gauge.remaining, -3) if resource == "tokens" else gauge.remaining
            # Whole seconds, and never before the true instant.
            reset = datetime.now(UTC) + timedelta(seconds=gauge.reset_after + 0.999999)
            headers.append((name + b"-limit", b"%d" % gauge.limit))
            headers.append((name + b"-remaining", b"%d" % remaining))
            headers.append((name + b"-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ").encode("ascii")))
        return headers


def _event(kind: str, **fields: object) -> bytes:
    return event({"type": kind, **fields}, kind)


def _parse_tools(body: Json) -> tuple[tuple[Tool, ...], str | None]:
    tools: list[Tool] = []
    for position, given in enumerate(checks.optional_list(body, "tools")):
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise invalid(f"tools.{position}.name", f"tools.{position}.name: Field required")
        tools.append(Tool(given["name"], given.get("input_schema") or {"type": "object"}))
    choice = checks.optional_object(body, "tool_choice")
    names = [tool.name for tool in tools]
    if choice.get("type") == "tool":
        return tuple(tools), checks.known_tool(choice.get("name"), names)
    if choice.get("type") == "any":
        return tuple(tools), checks.known_tool(names[0] if names else None, names)
    return tuple(tools), None


def _opening(call: Call, number: int) -> Json:
    return {
        "id": f"msg_sim{number}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(call: Call, output_tokens: int) -> Json:
    return {
        "input_tokens": call.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _block(reply: Reply, number: int) -> Json:
    if reply.tool is None:
        return {"type": "text", "text": reply.text}
    return {"type": "tool_use", "id": f"toolu_sim{number}", "name": reply.tool, "input": _arguments(reply)}


def _arguments(reply: Reply) -> object:
    # A cap may have cut the arguments; Anthropic never sends broken input, so the block is then empty.
    return {} if reply.cut else json.loads(reply.text)


def _stop_reason(reply: Reply) -> str:
    if reply.cut:
        return "max_tokens"
    return "end_turn" if reply.tool is None else "tool_use"
