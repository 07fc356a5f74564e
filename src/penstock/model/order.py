"""What clients of the OpenAI-compatible gateway keep here: files, and the batches that they ordered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a tenant; instants are seconds since the epoch, and it is gone at `expires_at`."""

    id: str
    tenant: str
    purpose: str
    filename: str
    bytes: int
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A batch as its client ordered it. `status` is validating, in_progress, finalizing, cancelling, or one
    of `ENDED`; `batch` is the store's batch of its tasks, once there is one; `body` holds the rest (JSON)."""

    id: str
    tenant: str
    status: str
    created_at: float
    batch: int | None = None
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in ENDED
