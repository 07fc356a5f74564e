"""The lines of a batch's output and error files, and the batch itself, as OpenAI writes them."""

from __future__ import annotations

import json
from typing import Any

from penstock.model.order import Order
from penstock.model.states import TaskStatus
from penstock.stores.contract import FinishedLine

STAMPS = (
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
_REASONS = {
    "expired": ("batch_expired", "this request could not be made before the batch expired"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request was made"),
}


def order_body(order: Order) -> dict[str, Any]:
    """A batch as clients read it."""
    body = order.body
    errors, usage = body.get("errors"), body.get("usage")
    shown: dict[str, Any] = {
        "id": order.id,
        "object": "batch",
        "endpoint": body["endpoint"],
        "model": body.get("model"),
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": body["input_file_id"],
        "completion_window": body["completion_window"],
        "status": order.status,
        "output_file_id": body.get("output_file_id"),
        "error_file_id": body.get("error_file_id"),
        "created_at": int(order.created_at),
        "request_counts": body.get("counts") or {"total": 0, "completed": 0, "failed": 0},
        "metadata": body.get("metadata"),
    }
    shown |= {name: None if body.get(name) is None else int(body[name]) for name in STAMPS}
    return shown if usage is None else {**shown, "usage": usage}


def succeeded(line: FinishedLine) -> bool:
    """Whether a finished line belongs in the output file."""
    return line.status is TaskStatus.COMPLETED


def record(line: FinishedLine, status: str) -> bytes:
    """A finished line; texts of the store are JSON and go in as they are. `status` is how its batch ends."""
    custom_id = json.loads(line.metadata or "{}").get("custom_id", "")
    head = f'{{"id":"batch_req_{line.id}","custom_id":{json.dumps(custom_id)}'
    if succeeded(line):
        return f'{head},"response":{line.result or "null"},"error":null}}\n'.encode()
    return f'{head},"response":null,"error":{json.dumps(_error(line, status))}}}\n'.encode()


def unmade(id: str, custom_id: str, status: str) -> bytes:
    """A line that never became a task."""
    code, message = _REASONS[status]
    told = {"code": code, "message": message}
    return (
        json.dumps({"id": f"batch_req_{id}", "custom_id": custom_id, "response": None, "error": told}) + "\n"
    ).encode()


def _error(line: FinishedLine, status: str) -> dict[str, Any]:
    given = json.loads(line.error) if line.error else {}
    code = given.get("code", "failed")
    if line.status is TaskStatus.CANCELLED or code == "expired":
        code, message = _REASONS.get(status, _REASONS["cancelled"])
        return {"code": code, "message": message}
    return {"code": code, "message": given.get("message", "the request failed")}


def usage_of(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    """What all lines used together."""
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }
