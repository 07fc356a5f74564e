"""What goes wrong with a gateway call, as its client is told: in OpenAI's shape, and whether to try again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from penstock.errors import (
    CallFailed,
    ConfigurationError,
    Parked,
    Refused,
    RequestTooLarge,
    StoreError,
)
from penstock.llm.endpoint import Endpoint
from penstock.runtime.replies import WireReply
from penstock.service.errors import HttpProblem, error_reply
from penstock.service.gateway.patience import GaveUp

log = logging.getLogger("penstock.gateway")

NO_RETRY = {"x-should-retry": "false"}
# Headers of a provider that belong to its connection, its other customers, or its cookies.
_DROPPED = frozenset(
    (
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "content-encoding",
        "set-cookie",
        "date",
        "server",
        "alt-svc",
        "strict-transport-security",
        "www-authenticate",
        "openai-organization",
        "openai-project",
        "retry-after-ms",
    )
)
CallError = (GaveUp, Refused, CallFailed, ConfigurationError, StoreError, Parked)


def again(seconds: float) -> dict[str, str]:
    """Headers that make every SDK come back after so many seconds."""
    return {
        "retry-after": str(max(1, round(seconds))),
        "retry-after-ms": str(max(1, round(seconds * 1000))),
        "x-should-retry": "true",
    }


def problem_of(error: BaseException, come_back: float) -> HttpProblem:
    """What to answer for this error; `come_back` are the seconds after which a waiting call is to ask
    again."""
    if isinstance(error, GaveUp):
        return _gave_up(error, come_back)
    if isinstance(error, Refused):
        status = 400 if isinstance(error, RequestTooLarge) else 402
        return HttpProblem(status, error.code, str(error), headers=NO_RETRY)
    if isinstance(error, CallFailed):
        log.warning("a gateway call failed: %s", error)
        return HttpProblem(
            502, f"upstream_{error.reason}", "the provider gave no usable reply", headers=again(0.5)
        )
    if isinstance(error, ConfigurationError):
        return HttpProblem(404, "model_not_found", str(error), param="model", headers=NO_RETRY)
    if isinstance(error, Parked):
        return HttpProblem(503, "stopping", "the server is stopping; try again", headers=again(1.0))
    return HttpProblem(503, "store", "the store of this server cannot be used now", headers=again(2.0))


def _gave_up(error: GaveUp, come_back: float) -> HttpProblem:
    if error.reason == "deadline":
        return HttpProblem(
            408, "deadline_passed", "the deadline passed before the call's turn came", headers=NO_RETRY
        )
    if error.reason == "stopping":
        return HttpProblem(
            503, "stopping", "the server is restarting; your place is kept", headers=again(come_back)
        )
    return HttpProblem(
        429,
        "still_waiting",
        "the call still waits its turn; ask again with the same request, its place is kept",
        headers=again(come_back),
    )


def presentable(reply: WireReply, endpoints: tuple[Endpoint, ...]) -> WireReply:
    """A provider's reply as its status may be shown to strangers: a refusal of *our* key is a fault of this
    server, and keys of ours are struck out."""
    if reply.ok:
        return reply
    if reply.status in (401, 403, 407):
        log.error("the provider refused the key of this server (status %d)", reply.status)
        told = error_reply(
            502, "upstream_auth", "the provider refuses this server's key; tell whoever runs it"
        )
        return WireReply(502, [("content-type", "application/json"), *NO_RETRY.items()], bytes(told.body))
    for endpoint in endpoints:
        if endpoint.api_key:
            reply.body = reply.body.replace(endpoint.api_key.encode(), b"***")
    return reply


def passed_on(reply: WireReply, endpoints: tuple[Endpoint, ...]) -> dict[str, str]:
    """The headers of a provider's reply that go to our client; limits are told by ourselves. Those that
    repeat a key of ours, or that HTTP has no letters for, are left out."""
    keys = [one.api_key for one in endpoints if one.api_key]
    kept: dict[str, str] = {}
    for name, value in reply.headers:
        lower = name.lower()
        if lower in _DROPPED or lower.startswith(("x-ratelimit-", "anthropic-ratelimit-", "cf-")):
            continue
        if max(value, default="") <= "\xff" and not any(key in value for key in keys):
            kept[lower] = value
    return kept


def sse_error(problem: HttpProblem) -> bytes:
    """The same as the last event of a stream whose headers were sent before."""
    told = json.loads(bytes(error_reply(problem.status, problem.code, problem.message).body))
    return sse_data({"type": "error", **told, "code": problem.code, "message": problem.message})


def sse_data(data: Mapping[str, object]) -> bytes:
    """One event of a stream."""
    return b"event: error\ndata: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"
