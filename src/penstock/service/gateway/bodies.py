"""Bodies of requests, read no further than they may be long."""

from __future__ import annotations

from fastapi import Request
from starlette.requests import ClientDisconnect

from penstock.service.errors import HttpProblem


async def whole_body(request: Request, most: int) -> bytes:
    """The whole body; raises `HttpProblem` 413 as soon as it is longer than `most` bytes."""
    refuse_large(request, most)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large(most)
            parts.append(part)
    except ClientDisconnect:
        raise gone() from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def refuse_large(request: Request, most: int) -> None:
    """Raise `HttpProblem` 413 for a body that says it is too long."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and len(said) < 20 and int(said) > most:
        raise too_large(most)


def gone() -> HttpProblem:
    """Nobody hears it; the log is spared a stack trace."""
    return HttpProblem(400, "client_gone", "the client went away")


def too_large(most: int) -> HttpProblem:
    return HttpProblem(
        413, "too_large", f"the body is larger than {most:,} bytes", headers={"x-should-retry": "false"}
    )
