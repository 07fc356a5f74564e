"""The header `Idempotency-Key` of requests that make something."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Request

from penstock.service.errors import HttpProblem

LONGEST_KEY = 200
IdempotencyKey = Annotated[str | None, Header(alias="idempotency-key", min_length=1, max_length=LONGEST_KEY)]


def key_of(request: Request) -> str | None:
    """The same for routes that read their requests themselves; raises `HttpProblem`."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        message = f"an idempotency key has 1 to {LONGEST_KEY} characters"
        raise HttpProblem(422, "invalid_request", message, param="idempotency-key")
    return key
