"""The money of a task manager."""

from __future__ import annotations

from penstock.manager.engine import Manager
from penstock.manager.statistics import costs


class CostController:
    """What was spent, and the way to begin anew."""

    def __init__(self, engine: Manager) -> None:
        self._engine = engine

    @property
    def total_cost(self) -> float:
        """US dollars since the store was made or the total was reset."""
        return costs(self._engine)["total"]["cost"] or 0.0

    def get_costs(self) -> dict[str, dict[str, float | None]]:
        """Cost, limit, remaining and percentage: total, daily, hourly."""
        return costs(self._engine)

    def reset_total_cost(self) -> None:
        """Count the total from now on, over restarts too; the day's and the hour's spending stay. What tasks
        cost is kept with them."""
        self._engine.reset_total_cost()
