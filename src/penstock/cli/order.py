"""The place of a waiting task: strategy, rank and flow, and who goes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from penstock.cli.rank_words import rank_words
from penstock.cli.show_text import number, span
from penstock.errors import ConfigurationError
from penstock.model.standing import Standing
from penstock.model.task import TaskView
from penstock.runtime.figures import SETTING as FIGURES
from penstock.runtime.figures import Figures, FlowFigures, read_figures
from penstock.runtime.ranking import Ranker
from penstock.runtime.reranking import RANKED_BY, Told, told_last
from penstock.stores.contract import Reader, TaskFilter

SHOWN_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Order:
    """`ranker` is `None` when the strategy cannot be made in this process, `standing` when the task does not
    wait. `own_ahead` counts those of the task's flow that go first; `ahead_ids` are the next of them."""

    told: Told
    ranked: bool
    ranker: Ranker | None
    standing: Standing | None
    figures: Figures
    flow: str | None = None
    own_ahead: int = 0
    ahead_ids: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The part of its line's pace that the task's flow gets while all waiting flows go on waiting."""
        if self.flow is None or self.ranker is None:
            return 1.0
        weight = self.ranker.weight(self.flow)
        return weight / (weight + sum(one.weight for name, one in self._others()))

    @property
    def lower_flows(self) -> int:
        """How many waiting flows have had less than the task's."""
        mine = self.figures.flows.get(self.flow or "")
        return 0 if mine is None else sum(one.counter < mine.counter for _, one in self._others())

    def _others(self) -> list[tuple[str, FlowFigures]]:
        return [(name, one) for name, one in self.figures.flows.items() if name != self.flow]

    def lines(self, task: TaskView, now: float) -> list[str]:
        """Strategy, rank and flow for people."""
        strategy = f"strategy {self.told.words}"
        if self.ranker is None or self.standing is None:
            words = f"rank {task.rank.band}, {task.rank.key:.12g}; the lowest goes first"
            unknown = " (not known to this process)" if self.ranker is None else ""
            return [f"{strategy}{unknown}: {words}"]
        words = rank_words(self.ranker.policy.policy, self.standing, task.rank, now, self.figures.unit)
        lines = [f"{strategy}: {words}"]
        if not self.ranked:
            lines.append("all that waits is being ranked anew for it, so the order is mixed for a while")
        if self.flow is not None:
            lines.append(self._flow_words(self.flow))
        return lines

    def _flow_words(self, flow: str) -> str:
        name = repr(flow) if flow else "without a name"
        mine = self.figures.flows.get(flow)
        if mine is None:
            return f"its flow is the tenant {name}"
        amount = span(mine.counter) if self.figures.unit == "seconds" else f"{number(mine.counter)} tokens"
        others = len(self._others())
        return (
            f"its flow is the tenant {name}: {amount} charged per weight (weight {mine.weight:g}); "
            f"{number(self.lower_flows)} of {number(others)} other waiting flows stand lower and go first"
        )

    def error_words(self) -> str | None:
        """How far estimates of sizes have been off; `None` while nobody knows."""
        if not self.figures.sizes_known:
            return None
        return size_error_words(self.figures)

    def data(self, task: TaskView) -> dict[str, Any]:
        """The same for machines."""
        mine = self.figures.flows.get(self.flow or "")
        return {
            "strategy": self.told.name,
            "strategy_settings": dict(self.told.settings),
            "rank": {"band": task.rank.band, "key": task.rank.key},
            "flow": self.flow,
            "flow_counter": None if mine is None else mine.counter,
            "flows_lower": self.lower_flows,
            "ahead_in_flow": self.own_ahead if self.flow is not None else None,
            "ahead_ids": list(self.ahead_ids),
            "size": None if self.standing is None else self.standing.size or None,
            "size_unit": self.figures.unit,
            "size_error_factor": round(exp(self.figures.size_error), 3) if self.figures.sizes_known else None,
        }


def size_error_words(figures: Figures) -> str:
    """By what factor estimates of sizes were off, in the mean."""
    return (
        f"estimates of sizes were off by a factor of {exp(figures.size_error):.2f} in the mean "
        f"(of {number(figures.sizes_known)} tasks)"
    )


def read_order(reader: Reader, task: TaskView, ahead: int) -> Order:
    """Where a task stands, and who is ahead of it; `ahead` as the store counts it."""
    told, figures = told_last(reader), read_figures(reader.setting(FIGURES))
    ranked = reader.setting(RANKED_BY) in (told.text, None)
    waiting = reader.waiting([task.seq])
    try:
        ranker = Ranker(told.policy())
    except ConfigurationError:
        return Order(told, ranked, None, None, figures, ahead_ids=_ids(reader, _before(reader, task, ahead)))
    if not waiting:
        return Order(told, ranked, ranker, None, figures)
    ranker.learn_programs(reader, waiting)
    standing = ranker.standing(waiting[0])
    flow = ranker.policy.flow(standing)
    before = _before(reader, task, ahead)
    if flow is not None:
        own = {one.seq for one in reader.waiting(before) if ranker.policy.flow(ranker.standing(one)) == flow}
        before = [seq for seq in before if seq in own]
    return Order(told, ranked, ranker, standing, figures, flow, len(before), _ids(reader, before))


def _before(reader: Reader, task: TaskView, ahead: int) -> list[int]:
    """The better-ranked tasks of the same line, best first."""
    if not ahead:
        return []
    line = reader.waiting_seqs()
    place = line.index(task.seq)
    return line[place - ahead : place]


def _ids(reader: Reader, seqs: Sequence[int]) -> tuple[str, ...]:
    first = list(seqs[:SHOWN_AHEAD])
    if not first:
        return ()
    found = {one.seq: one.id for one in reader.tasks(TaskFilter(seqs=tuple(first)), limit=SHOWN_AHEAD)}
    return tuple(found[seq] for seq in first if seq in found)
