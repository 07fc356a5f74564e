"""Telling a URL of the end of a task: a task type of its own, so that tries, pauses between them and crashes
are those of every task.

The body is JSON: `id` (the event; the same at every try), `type` ("task.completed", "task.failed",
"task.cancelled", or "task.approval_requested" with what is asked in `approval`), `created_at`, and `data`,
the task as `GET /tasks/{id}` shows it, without a result of more than 64 KB. The header
`Penstock-Signature: t=SECONDS,v1=HEX` holds the HMAC-SHA256 of "SECONDS.BODY"; while an old secret still
counts there are two `v1`. Any status from 200 to 299 is a receipt; 410 ends the tries.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any

from penstock.errors import CallFailed, InvalidTask
from penstock.manager.engine import Manager
from penstock.model.clock import iso_time
from penstock.model.options import TaskOptions
from penstock.model.task import TaskView
from penstock.runtime.context import TaskContext
from penstock.service.json_body import reply_text
from penstock.service.task_replies import task_reply
from penstock.stores.contract import Reader, Transaction
from penstock.task_types.addresses import AllowedHosts, allowed_hosts_of, read_url
from penstock.task_types.outgoing import Outgoing, Sender

TYPE = "webhook"
OPTIONS = TaskOptions(max_retries=14, retry_delay=5.0, longest_delay=6 * 3600.0, timeout=60.0)
SECRETS = "webhook_secrets"
OVERLAP_SECONDS = 24 * 3600.0
TRY_SECONDS = 15.0
MOST_RESULT = 64_000
_MOST_REPLY = 100_000


def register(engine: Manager, allowed_hosts: Sequence[str]) -> None:
    """Let this manager deliver."""
    if TYPE not in engine.handlers:
        engine.register(
            TYPE,
            partial(deliver, allowed=allowed_hosts_of(tuple(allowed_hosts))),
            run="async",
            options=OPTIONS,
        )


def check_url(allowed_hosts: Sequence[str], url: str) -> None:
    """Raise `InvalidTask` for a URL that nothing may be sent to."""
    try:
        allowed_hosts_of(tuple(allowed_hosts)).check_literal(read_url(url))
    except ValueError as error:
        raise InvalidTask(f"webhook: {error}") from None


async def deliver(context: TaskContext, allowed: AllowedHosts) -> dict[str, Any]:
    """Send once; the status of the receipt. Raises `CallFailed`, which has it tried again."""
    data, now = context.data, context.services.clock.wall()

    def look(reader: Reader) -> tuple[TaskView | None, list[str]]:
        return reader.task(data["task_id"]), _signing(reader, context.tenant, now)

    view, keys = await context.services.committer.read(look)
    if not keys:
        made = await context.services.committer.run(partial(secret_of, tenant=context.tenant, now=now))
        keys = [made["secret"]]
    body = _body(data, view, now)
    headers = (
        ("content-type", "application/json"),
        ("user-agent", "penstock"),
        ("penstock-event", data["event"]["id"]),
        ("penstock-delivery", context.task_id),
        ("penstock-signature", signature(keys, int(now), body)),
        ("accept-encoding", "identity"),
    )
    sender = Sender(allowed, _MOST_REPLY)
    try:
        async with asyncio.timeout(TRY_SECONDS):
            reply = await sender.send(Outgoing("POST", data["url"], headers, body, follow=False))
    except TimeoutError:
        message = f"no receipt within {TRY_SECONDS:g} seconds"
        raise CallFailed(message, reason="timeout", retryable=True) from None
    except CallFailed as error:
        if error.reason == "reply_too_large":
            return {"status": None, "note": "a long reply was taken for a receipt"}
        raise
    status = int(reply["status"])
    if 200 <= status < 300:
        return {"status": status}
    message = f"{read_url(data['url']).origin} answered {status}"
    raise CallFailed(message, reason="not_received", status=status, retryable=status != 410)


def signature(keys: Sequence[str], at: int, body: bytes) -> str:
    """The value of the header for this body, sent at this second."""
    message = f"{at}.".encode() + body
    signed = (hmac.new(key.encode(), message, hashlib.sha256).hexdigest() for key in keys)
    return ",".join([f"t={at}", *(f"v1={one}" for one in signed)])


def secret_of(store: Transaction, tenant: str, now: float, renew: bool = False) -> dict[str, Any]:
    """The secret of a tenant, `{"secret", "previous", "previous_until"}`; made if there is none, or anew."""
    every: dict[str, dict[str, Any]] = json.loads(store.setting(SECRETS) or "{}")
    kept = every.get(tenant)
    if kept is None or renew:
        kept = every[tenant] = {
            "secret": f"whsec_{secrets.token_hex(24)}",
            "previous": None if kept is None else kept["secret"],
            "previous_until": None if kept is None else now + OVERLAP_SECONDS,
        }
        store.set_setting(SECRETS, json.dumps(every))
    return kept


def _signing(reader: Reader, tenant: str, now: float) -> list[str]:
    kept = json.loads(reader.setting(SECRETS) or "{}").get(tenant)
    if kept is None:
        return []
    old = kept["previous"] if (kept["previous_until"] or 0.0) > now else None
    return [kept["secret"]] if old is None else [kept["secret"], old]


def _body(data: dict[str, Any], view: TaskView | None, now: float) -> bytes:
    event = data["event"]
    told: dict[str, Any] = {"id": data["task_id"], "status": event["status"]}
    if view is not None:
        told = task_reply(view, now)
        if len(reply_text(told["result"])) > MOST_RESULT:
            told |= {"result": None, "result_omitted": True}
    message = {
        "id": event["id"],
        "type": f"task.{event['status']}",
        "created_at": iso_time(event["at"]),
        "data": told,
    }
    if "approval" in event:
        message["approval"] = event["approval"]
    return reply_text(message).encode()
