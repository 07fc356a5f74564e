"""The standard headers that tell how full the limits are."""

from __future__ import annotations

from penstock.admission import Ask, Gate
from penstock.admission.ask import LimitUse

_KINDS = {"requests": "requests", "tokens": "tokens"}


def limit_headers(gate: Gate, ask: Ask, now: float) -> dict[str, str]:
    """`x-ratelimit-*` of the tightest limits that such a call meets; nothing where nothing limits it."""
    tightest: dict[str, LimitUse] = {}
    for use in gate.usage(now, ask):
        kind = _KINDS.get(use.dimension)
        if kind is not None and (kind not in tightest or _left(use) < _left(tightest[kind])):
            tightest[kind] = use
    headers: dict[str, str] = {}
    for kind, use in tightest.items():
        headers[f"x-ratelimit-limit-{kind}"] = str(use.limit)
        headers[f"x-ratelimit-remaining-{kind}"] = str(_left(use))
        headers[f"x-ratelimit-reset-{kind}"] = duration(use.empty_in)
    return headers


def _left(use: LimitUse) -> int:
    return max(0, use.limit - use.used - use.held)


def duration(seconds: float) -> str:
    """Seconds as providers write them: `12ms`, `7.66s`, `6m0s`, `1h2m0s`."""
    if seconds < 1.0:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60.0:
        return f"{round(seconds, 2):g}s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{left}s"
