"""Chat requests as built-in types make them, and replies of every family as they read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.llm.token_estimates import estimate_prompt
from penstock.llm.wire import Family, read_call
from penstock.task_types.field_types import wrong

CHAT = "/v1/chat/completions"
Message = dict[str, Any]

# These models refuse `max_tokens`: their cap counts the tokens of their thoughts too.
_REASONING_MODEL = re.compile(r"(^|/)(o\d|gpt-[5-9])")
# How replies of other families say why they ended, in the words of chat completions.
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said. `tool_calls` are in the shape of chat completions, `finish_reason` in its words
    (`stop`, `length`, `tool_calls`, `content_filter`)."""

    text: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)


def chat_body(
    model: str,
    messages: list[Message],
    *,
    temperature: float | None = None,
    max_tokens: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A chat request; what is `None` is left out."""
    body: dict[str, Any] = {"model": model, "messages": messages}
    if temperature is not None:
        body["temperature"] = temperature
    if max_tokens is not None:
        body["max_completion_tokens" if _REASONING_MODEL.search(model) else "max_tokens"] = max_tokens
    return body | more


def conversation(system: str | None, user: str) -> list[Message]:
    """What the user says, after the system prompt if there is one."""
    head = [] if system is None else [{"role": "system", "content": system}]
    return [*head, {"role": "user", "content": user}]


def check_messages(messages: Any, where: str = "") -> None:
    """Raise a validator's error, which begins with `where`, for what is no list of chat messages."""
    if messages is not None and not isinstance(messages, list):
        raise wrong(f"{where}must be a list of messages")
    for place, message in enumerate(messages or ()):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or not role:
            raise wrong(f"{where}message {place} needs a role")
        if not isinstance(message.get("content"), str | list | None):
            raise wrong(f"{where}the content of message {place} must be a text or a list of parts")
        if message.get("content") is None and role in ("user", "system", "developer"):
            raise wrong(f"{where}message {place} has no content")


def prompt_tokens(path: str, body: dict[str, Any]) -> int:
    """About how many tokens of input this request has."""
    return estimate_prompt(read_call("POST", path, body)).tokens


def read_answer(family: Family, body: dict[str, Any]) -> Answer:
    """The answer in a reply's body; never raises, a malformed reply is an empty answer."""
    if family is Family.RESPONSES:
        return _read_response(body)
    if family is Family.MESSAGES:
        return _read_message(body)
    if family is Family.COMPLETIONS:
        choice = _first(body.get("choices"))
        return Answer(_string(choice.get("text")), _finish(choice.get("finish_reason")))
    return _read_chat(body) if family is Family.CHAT else Answer()


def _read_chat(body: dict[str, Any]) -> Answer:
    choice = _first(body.get("choices"))
    message = choice.get("message")
    if not isinstance(message, dict):
        return Answer(finish_reason=_finish(choice.get("finish_reason")))
    content = message.get("content")
    text = content if isinstance(content, str) else _joined(_texts(content, "text"))
    calls = list(_objects(message.get("tool_calls")))
    old = message.get("function_call")
    if isinstance(old, dict) and not calls:
        calls = [{"id": "", "type": "function", "function": old}]
    finish = _finish(choice.get("finish_reason"))
    return Answer(text, finish, _string(message.get("refusal")), calls)


def _read_response(body: dict[str, Any]) -> Answer:
    texts, calls, refusal = [], [], None
    for item in _objects(body.get("output")):
        if item.get("type") == "function_call":
            calls.append(_call(item.get("call_id"), item.get("name"), item.get("arguments")))
        for part in _objects(item.get("content")):
            refusal = refusal or _string(part.get("refusal"))
        if item.get("type") == "message":
            texts += _texts(item.get("content"), "output_text")
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else body.get("status")
    finish = "tool_calls" if calls and reason == "completed" else _finish(reason)
    return Answer(_joined(texts), finish, refusal, calls)


def _read_message(body: dict[str, Any]) -> Answer:
    content = body.get("content")
    calls = [
        _call(part.get("id"), part.get("name"), json.dumps(part.get("input")))
        for part in _objects(content)
        if part.get("type") == "tool_use"
    ]
    return Answer(_joined(_texts(content, "text")), _finish(body.get("stop_reason")), None, calls)


def _call(id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _texts(parts: Any, kind: str) -> list[str]:
    return [
        part["text"]
        for part in _objects(parts)
        if part.get("type") == kind and isinstance(part.get("text"), str)
    ]


def _joined(texts: list[str]) -> str | None:
    return "".join(texts) if texts else None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _first(value: Any) -> dict[str, Any]:
    return next(_objects(value), {})


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _finish(reason: Any) -> str | None:
    return _FINISH.get(reason, reason) if isinstance(reason, str) else None
