"""One request of a file: an API path and its body; the result is the provider's reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from penstock.errors import InvalidTask
from penstock.llm.wire import Family, classify
from penstock.runtime.client import ModelClient
from penstock.runtime.context import TaskContext

NAME = "llm_request"


def check(data: Any) -> dict[str, Any]:
    """`{"url": path, "body": {...}}`, or `InvalidTask` saying which field is wrong."""
    if not isinstance(data, dict):
        raise InvalidTask(f"{NAME}: the data must be an object with url and body")
    url, body = data.get("url"), data.get("body")
    if not isinstance(url, str) or classify("POST", url) is Family.UNKNOWN:
        raise InvalidTask(
            f"{NAME}: url {url!r} is no model call; use /v1/chat/completions, /v1/responses, /v1/embeddings, "
            "/v1/completions or /v1/messages"
        )
    if not isinstance(body, dict):
        raise InvalidTask(f"{NAME}: body must be an object, not {type(body).__name__}")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise InvalidTask(f"{NAME}: body.model is missing; name a model in the line or give --model")
    if body.get("stream"):
        raise InvalidTask(f"{NAME}: body.stream makes no sense in a file of requests; leave it out")
    return data


def model(data: Any) -> str:
    """The model of its one call: it chooses the lane."""
    return str(data["body"]["model"]) if isinstance(data, dict) else ""


def handler(client: Callable[[], ModelClient]) -> Callable[[TaskContext], Awaitable[dict[str, Any]]]:
    """The handler on a client that is there once the manager runs."""

    async def llm_request(context: TaskContext) -> dict[str, Any]:
        data = context.data
        reply = await client().post(data["url"], data["body"])
        return {"status_code": reply.status, "request_id": reply.request_id, "body": reply.body}

    return llm_request
