"""Pages of lists as OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from penstock.service.auth import Principal

T = TypeVar("T")


def page(found: Sequence[T], limit: int, show: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page of `found`, which was asked for with one more than `limit`."""
    data = [show(one) for one in found[:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }


def owner(principal: Principal) -> str | None:
    """Whose things this principal sees; `None`: everybody's."""
    return None if principal.sees_all else principal.tenant
