"""Figures of a node's scheduling, kept in the store so that any process can tell them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from penstock.policies import FlowView
from penstock.runtime.pool_defaults import PoolDefaults

if TYPE_CHECKING:
    from penstock.runtime.dispatcher import Dispatcher
    from penstock.runtime.watchdog import Blocked

SETTING = "scheduling"
# Of more flows only those with the lowest counters are told: whose turn it is.
MOST_FLOWS = 500


@dataclass(slots=True)
class Deadlines:
    """How many tasks with a deadline ended in time, ended late, or expired before they started."""

    kept: int = 0
    late: int = 0
    expired: int = 0

    def ended(self, deadline: float | None, at: float) -> None:
        """A task came to its end."""
        if deadline is not None:
            if at <= deadline:
                self.kept += 1
            else:
                self.late += 1


@dataclass(frozen=True, slots=True)
class FlowFigures:
    """Service per weight that a flow was charged, and its weight."""

    counter: float
    weight: float


@dataclass(slots=True)
class Figures:
    """Counts since the store was made (a crash may lose the last second), and how things stand now.

    `size_error` is the mean of |log(true size / estimate)| over `sizes_known` tasks of the present process;
    `unit` that of sizes and counters; `flows` those with tasks waiting, where shares are measured. `blocked`
    is how often a coroutine blocked the event loop; `pools` what tasks were seen to use, by type and pool.
    """

    put_backs: int = 0
    takeovers: int = 0
    deadlines: Deadlines = field(default_factory=Deadlines)
    size_error: float = 0.0
    sizes_known: int = 0
    unit: str = "seconds"
    flows: dict[str, FlowFigures] = field(default_factory=dict)
    blocked: int = 0
    pools: Mapping[str, Mapping[str, tuple[int, float, float]]] = field(default_factory=dict)

    def text(self) -> str:
        """How a store keeps them."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read_figures(text: str | None) -> Figures:
    """What `Figures.text` wrote; nothing for nothing."""
    if not text:
        return Figures()
    kept = json.loads(text)
    kept["deadlines"] = Deadlines(**kept["deadlines"])
    kept["flows"] = {name: FlowFigures(**one) for name, one in kept["flows"].items()}
    return Figures(**kept)


def flow_figures(views: Iterable[FlowView]) -> dict[str, FlowFigures]:
    """The lowest of these flows."""
    lowest = sorted(views, key=lambda view: (view.counter, view.name))[:MOST_FLOWS]
    return {view.name: FlowFigures(round(view.counter, 3), view.weight) for view in lowest}


class FigureKeeper:
    """Adds what this node did to what the store's figures were before it came."""

    def __init__(self, before: str | None, dispatcher: Dispatcher, blocked: Blocked) -> None:
        self._before = read_figures(before)
        self._dispatcher = dispatcher
        self._blocked = blocked
        dispatcher.services.pools.defaults = PoolDefaults(self._before.pools)

    def text(self) -> str:
        """The figures as of now."""
        before, dispatcher = self._before, self._dispatcher
        ranker, shares = dispatcher.ranker, dispatcher.services.shares
        ended, earlier = dispatcher.runner.deadlines, before.deadlines
        error = ranker.sizes.error
        names = {flow for flows in shares.waiting.values() for flow in flows} if ranker.has_flows else ()
        return Figures(
            before.put_backs + dispatcher.put_backs.count,
            before.takeovers + dispatcher.admitter.takeovers.count,
            Deadlines(earlier.kept + ended.kept, earlier.late + ended.late, earlier.expired + ended.expired),
            round(error.mean, 4),
            int(error.seen),
            ranker.unit,
            flow_figures(shares.flows.view(name) for name in names),
            before.blocked + self._blocked.count,
            dispatcher.services.pools.defaults.kept(),
        ).text()
