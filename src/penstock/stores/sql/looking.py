"""Nodes, settings, waits and sizes as people read them."""

from __future__ import annotations

from penstock.stores.contract import Gauge, NodeView, WaitRow
from penstock.stores.sql.session import Session


class Looking(Session):
    """How the system stands."""

    def nodes(self) -> list[NodeView]:
        return [NodeView(*row) for row in self.look("nodes")]

    def pauses(self) -> list[str]:
        return [scope for (scope,) in self.look("pauses")]

    def setting(self, name: str) -> str | None:
        found = self.look("setting", (name,))
        return found[0][0] if found else None

    def next_due(self) -> float | None:
        due: float | None = self.look("next_due")[0][0]
        return due

    def longest_waiting(self, among: int = 10_000) -> float | None:
        since: float | None = self.look("longest_waiting", (among,))[0][0]
        return since

    def waits(self, task: int | None = None) -> list[WaitRow]:
        rows = self.look("waits") if task is None else self.look("waits_of_task", (task,))
        return [WaitRow(*row) for row in rows]

    def gauges(self) -> list[Gauge]:
        return [Gauge(*row) for row in self.look("gauges")]

    def cached(self, tenant: str, digest: str, now: float) -> bytes | None:
        for content, value in self.look("cached", (tenant, digest, now)):
            return bytes(value) if content is None else self.fetch_contents([content])[content]
        return None

    def sizes(self) -> dict[str, int]:
        return {**{name: int(number) for name, number in self.look("sizes")}, "live_bytes": self.live_bytes()}

    def live_bytes(self) -> int:
        """Bytes in use, without what was freed and not given back yet."""
        return int(self.look("live_bytes")[0][0])
