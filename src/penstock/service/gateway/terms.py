"""What a caller says of its call in headers beside the request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from penstock.errors import ConfigurationError
from penstock.model.priority import Priority, read_priority
from penstock.model.usage import to_pico
from penstock.service.errors import HttpProblem

if TYPE_CHECKING:
    from penstock.service.auth import Principal

LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Terms:
    """How a call is to be treated. `deadline` in seconds since the epoch, `hold` in seconds (`None`: as the
    server is set up), `most_cost` in pico-dollars, `task` an id."""

    tenant: str = ""
    priority: int | None = None
    deadline: float | None = None
    hold: float | None = None
    most_cost: int | None = None
    task: str | None = None
    key: str | None = None


def read_terms(headers: Mapping[str, str], principal: Principal, now: float) -> Terms:
    """The terms that these headers state. Raises `HttpProblem` 400 naming the header that is wrong, 403 for
    a tenant that is not the caller's."""
    hold = _number(headers, "x-penstock-hold", "seconds")
    return Terms(
        tenant=_tenant(headers, principal),
        priority=_priority(headers),
        deadline=_deadline(headers, now),
        hold=hold,
        most_cost=_budget(headers),
        task=headers.get("x-penstock-task-id") or None,
        key=_key(headers),
    )


def priority_or(terms: Terms, other: int = int(Priority.MEDIUM)) -> int:
    """The priority that was given, or another."""
    return other if terms.priority is None else terms.priority


def _wrong(header: str, message: str) -> HttpProblem:
    return HttpProblem(
        400, "invalid_header", f"{header}: {message}", param=header, headers={"x-should-retry": "false"}
    )


def _tenant(headers: Mapping[str, str], principal: Principal) -> str:
    asked = headers.get("x-penstock-tenant")
    if asked is None or asked == principal.tenant:
        return principal.tenant
    if not principal.sees_all:
        raise HttpProblem(
            403, "not_your_tenant", "only an admin key may call for another tenant", param="x-penstock-tenant"
        )
    if not 0 < len(asked) <= 200 or not asked.isprintable():
        raise _wrong("x-penstock-tenant", "a name of 1 to 200 characters")
    return asked


def _priority(headers: Mapping[str, str]) -> int | None:
    text = headers.get("x-penstock-priority")
    try:
        return None if text is None else read_priority(text)
    except (ConfigurationError, ValueError) as error:
        raise _wrong("x-penstock-priority", str(error)) from None


def _deadline(headers: Mapping[str, str], now: float) -> float | None:
    text = headers.get("x-penstock-deadline")
    if text is None:
        return None
    try:
        at = now + float(text)
    except ValueError:
        try:
            read = datetime.fromisoformat(text)
            at = (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise _wrong(
                "x-penstock-deadline", "give seconds from now, or a time such as 2026-01-31T18:00:00Z"
            ) from None
    if not now < at < math.inf:
        raise _wrong("x-penstock-deadline", "it has passed; give a later one")
    return at


def _number(headers: Mapping[str, str], header: str, unit: str) -> float | None:
    text = headers.get(header)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < 1e9:
        raise _wrong(header, f"give {unit} as a number of at least 0")
    return number


def _budget(headers: Mapping[str, str]) -> int | None:
    text = headers.get("x-penstock-budget")
    if text is None:
        return None
    try:
        amount = to_pico(Decimal(text))
    except (InvalidOperation, ValueError):
        amount = -1
    if amount < 0:
        raise _wrong("x-penstock-budget", "give US dollars as a number of at least 0")
    return amount


def _key(headers: Mapping[str, str]) -> str | None:
    key = headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise _wrong("idempotency-key", f"give 1 to {LONGEST_KEY} characters")
    return key
