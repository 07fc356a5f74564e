"""How a workflow ran: what took the time, what waited for what, what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from penstock.errors import InvalidWorkflow, Problem
from penstock.model.group import MemberView
from penstock.model.usage import from_pico
from penstock.workflows.analysis_text import as_text
from penstock.workflows.cycles import in_order
from penstock.workflows.gantt import as_svg


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What is known of a node's task. Instants are seconds since the epoch: when it was `created`, when the
    last node that it needs had ended (`freed`), when it was first `started` and when it `finished`. `cost`
    is in pico-dollars; `waits` are seconds by what it waited for, as far as that was told."""

    id: str
    type: str
    after: tuple[str, ...]
    status: str
    created: float
    freed: float | None = None
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    cost: int = 0
    tokens: int = 0
    waits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """One node's part. Seconds: `blocked_seconds` until the nodes it needs had ended (`waited_for` is the one
    that ended last), then `queued_seconds` until it started, then `run_seconds`, which hold its retries.
    `slack_seconds`: how much longer it could have run without a longer critical path. `begin` counts from
    the start of the workflow; `None`: it has not started. Money is in USD."""

    id: str
    type: str
    status: str
    begin: float | None
    blocked_seconds: float
    queued_seconds: float
    run_seconds: float
    waited_for: str | None
    slack_seconds: float
    critical: bool
    attempts: int
    cost: Decimal
    tokens: int
    waits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole of it. The critical path is the chain of dependent nodes with the longest time of running:
    no limits and no number of slots would have made the workflow shorter than its `critical_seconds`.
    `held_up` is the chain that really ended last: each node waited for the one before it. `parallelism` is
    the mean number of nodes that ran at once, `most_at_once` the highest."""

    name: str
    started: float
    total_seconds: float
    run_seconds: float
    critical_path: tuple[str, ...]
    critical_seconds: float
    held_up: tuple[str, ...]
    parallelism: float
    most_at_once: int
    cost: Decimal
    tokens: int
    statuses: Mapping[str, int]
    nodes: tuple[NodeFigures, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON; money as text."""
        form: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if name != "nodes"}
        for name in ("critical_path", "held_up"):
            form[name] = list(form[name])
        form |= {"cost": format(self.cost, "f"), "statuses": dict(self.statuses)}
        form["nodes"] = [
            {
                **{name: getattr(node, name) for name in node.__slots__},
                "cost": format(node.cost, "f"),
                "waits": dict(node.waits),
            }
            for node in self.nodes
        ]
        return form

    def as_text(self) -> str:
        """For a terminal: a summary and a table of the nodes, in the order in which they ran."""
        return as_text(self)

    def as_svg(self, width: int = 1000) -> str:
        """A picture of what ran when, with the critical path marked; it needs nothing beside itself."""
        return as_svg(self, width)


def record_of(member: MemberView, after: Iterable[str]) -> NodeRecord:
    """A member of a workflow's group as a record; `after` are the nodes that it needs."""
    return NodeRecord(
        id=member.node,
        type=member.type,
        after=tuple(after),
        status=member.status.value,
        created=member.created_at,
        freed=member.freed_at,
        started=member.started_at,
        finished=member.finished_at,
        attempts=member.attempt,
        cost=member.cost,
        tokens=member.input_tokens + member.output_tokens,
    )


def analyse(records: Iterable[NodeRecord], *, name: str = "", now: float | None = None) -> Analysis:
    """The analysis of a workflow that ended or, with `now`, of one that is under way: nodes that run count
    until then.

    Needs (`after`) that are no nodes of it are left out. Raises `InvalidWorkflow` where nodes need each
    other in a cycle. Time is linear in nodes and needs.
    """
    by_id = {one.id: one for one in records}
    needs = {id: [one for one in record.after if one in by_id] for id, record in by_id.items()}
    order = in_order(needs)
    if len(order) < len(by_id):
        raise InvalidWorkflow([Problem("nodes", "nodes need each other in a cycle")], name)
    spans = {id: _span(record, now) for id, record in by_id.items()}
    lengths = {id: end - begin for id, (begin, end) in spans.items()}
    paths = _Paths(order, needs, lengths)
    started = min((one.created for one in by_id.values()), default=0.0)
    nodes = [_figures(by_id[id], needs[id], by_id, spans[id], paths, started) for id in order]
    nodes.sort(key=lambda one: float("inf") if one.begin is None else one.begin)
    run = sum(lengths.values())
    total = max([end - started for _, end in spans.values()], default=0.0)
    statuses: dict[str, int] = {}
    for record in by_id.values():
        statuses[record.status] = statuses.get(record.status, 0) + 1
    return Analysis(
        name=name,
        started=started,
        total_seconds=total,
        run_seconds=run,
        critical_path=tuple(paths.critical),
        critical_seconds=paths.longest,
        held_up=_held_up(nodes),
        parallelism=run / total if total > 0 else 0.0,
        most_at_once=_most_at_once(spans.values()),
        cost=from_pico(sum(one.cost for one in by_id.values())),
        tokens=sum(one.tokens for one in by_id.values()),
        statuses=statuses,
        nodes=tuple(nodes),
    )


class _Paths:
    """Longest paths by seconds of running, each through the nodes in their order and back."""

    def __init__(
        self, order: Sequence[str], needs: Mapping[str, Sequence[str]], lengths: Mapping[str, float]
    ) -> None:
        self.until: dict[str, float] = {}  # the longest path that ends with a node, the node included
        self.behind = dict.fromkeys(order, 0.0)  # and the longest of those behind it
        came_from: dict[str, str] = {}
        for id in order:
            before = max(needs[id], key=self.until.__getitem__, default=None)
            self.until[id] = lengths[id] + (0.0 if before is None else self.until[before])
            if before is not None:
                came_from[id] = before
        for id in reversed(order):
            for one in needs[id]:
                self.behind[one] = max(self.behind[one], self.behind[id] + lengths[id])
        self.longest = max(self.until.values(), default=0.0)
        self.critical: list[str] = []
        if self.until and self.longest > 0:
            self.critical.append(max(self.until, key=self.until.__getitem__))
            while self.critical[-1] in came_from:
                self.critical.append(came_from[self.critical[-1]])
            self.critical.reverse()
        self.marked = frozenset(self.critical)

    def slack(self, id: str) -> float:
        return max(0.0, self.longest - self.until[id] - self.behind[id])


def _span(record: NodeRecord, now: float | None) -> tuple[float, float]:
    """When it ran; of no length at its creation, where it never did."""
    if record.started is None:
        return record.created, record.created
    end = record.finished if record.finished is not None else now
    return record.started, record.started if end is None else max(record.started, end)


def _figures(
    record: NodeRecord,
    needs: Sequence[str],
    by_id: Mapping[str, NodeRecord],
    span: tuple[float, float],
    paths: _Paths,
    started: float,
) -> NodeFigures:
    ends = {one: end for one in needs if (end := by_id[one].finished) is not None}
    waited_for = max(ends, key=ends.__getitem__, default=None)
    freed = record.freed if record.freed is not None else max([record.created, *ends.values()])
    began = record.started
    return NodeFigures(
        id=record.id,
        type=record.type,
        status=record.status,
        begin=None if began is None else began - started,
        blocked_seconds=max(0.0, freed - record.created) if needs else 0.0,
        queued_seconds=0.0 if began is None else max(0.0, began - (freed if needs else record.created)),
        run_seconds=span[1] - span[0],
        waited_for=waited_for,
        slack_seconds=paths.slack(record.id),
        critical=record.id in paths.marked,
        attempts=record.attempts,
        cost=from_pico(record.cost),
        tokens=record.tokens,
        waits=dict(record.waits),
    )


def _held_up(nodes: Sequence[NodeFigures]) -> tuple[str, ...]:
    """From the node that ended last, back through what each waited for."""
    by_id = {one.id: one for one in nodes}
    ran = [one for one in nodes if one.begin is not None]
    if not ran:
        return ()
    last = max(ran, key=lambda one: (one.begin or 0.0) + one.run_seconds)
    chain = [last.id]
    while (before := by_id[chain[-1]].waited_for) is not None:
        chain.append(before)
    return tuple(reversed(chain))


def _most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    changes = sorted(
        change for begin, end in spans if end > begin for change in ((begin, 1), (end, -1))
    )  # an end stands before a beginning at the same instant
    most = at_once = 0
    for _, change in changes:
        at_once += change
        most = max(most, at_once)
    return most
