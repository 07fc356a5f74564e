"""A refusal of the gate as an HTTP reply, so that every SDK raises its own error and tries no second time."""

from __future__ import annotations

import json

from penstock.errors import Refused
from penstock.runtime.replies import WireReply

REFUSAL_HEADER = "x-penstock-refusal"


def refused_reply(refusal: Refused) -> WireReply:
    """Status 402 for money, 400 for what can never fit; the code is in the body and in a header."""
    status = 400 if refusal.code == "request_too_large" else 402
    body = {
        "error": {"message": str(refusal), "type": "penstock_refusal", "param": None, "code": refusal.code}
    }
    headers = [
        ("content-type", "application/json"),
        ("x-should-retry", "false"),
        (REFUSAL_HEADER, refusal.code),
    ]
    return WireReply(status, headers, json.dumps(body).encode())
