"""One task to be: what callers say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.model.options import TaskOptions


@dataclass(slots=True)
class Submission:
    """One task to be: its type and data (JSON), and how it is to be run.

    `delay` are seconds before it may start, `deadline` an instant in seconds since the epoch (or
    `slo_seconds` from now); one that has not started `expires` seconds from now fails as expired.
    `service_class` presets what is not given of priority (else 20) and deadline: immediate, scheduled,
    background, batch. `program` names the workflow it belongs to; `size` (in the scarce unit),
    `estimated_tokens` and `estimated_seconds` help strategies that look at sizes, which are learned
    otherwise.

    The same `idempotency_key` of a tenant gives the same task, or an error when type or data differ. While a
    task with this `unique_key` is not final, the same key gives that task; with `debounce` seconds, one that
    still waits takes on the newer data and starts that long after it. `after` are ids of tasks whose results
    it needs: it starts when all of them are completed, and fails when one fails. `result_ttl` are the seconds
    its result is kept, `pools` units of named resources that it holds while it runs.
    """

    type: str
    data: Any = None
    priority: int | str | None = None
    tenant: str = ""
    metadata: Any = None
    options: TaskOptions | None = None
    delay: float = 0.0
    deadline: float | None = None
    idempotency_key: str | None = None
    batch: int | None = None
    position: int | None = None
    error: dict[str, Any] | None = None
    service_class: str | None = None
    slo_seconds: float | None = None
    program: str | None = None
    size: float | None = None
    estimated_tokens: float | None = None
    estimated_seconds: float | None = None
    after: Sequence[str] = ()
    tags: Sequence[str] = ()
    unique_key: str | None = None
    debounce: float | None = None
    expires: float | None = None
    result_ttl: float | None = None
    pools: Mapping[str, int] = field(default_factory=dict)
