"""Everything about one task's chances that a store can tell, read in one consistent look."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.cli.choosing import find_task
from penstock.cli.inspect import held_by
from penstock.cli.kin import Kin, read_kin
from penstock.cli.nodes import living
from penstock.cli.order import Order, read_order
from penstock.model.batch import Batch
from penstock.model.reservation import ReservationView
from penstock.model.states import CLAIMABLE, TaskStatus
from penstock.model.task import TaskView
from penstock.stores.contract import Event, Gauge, NodeView, Reader, TaskFilter, WaitRow

AHEAD_AT_MOST = 10_000
"""The store counts no further."""

MINUTE = 60.0
_EVENTS = 5_000
_SAMPLE = 100
_OPEN = 1_000


@dataclass(frozen=True, slots=True)
class Pace:
    """So many tasks of a lane ended in the last `seconds`; `ended` may be a share of a larger sample."""

    ended: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Situation:
    """`waits` are the task's own, `lane_waits` those of started tasks of the same lane; `nodes` are alive."""

    task: TaskView
    now: float
    store: str
    nodes: list[NodeView]
    pauses: list[str]
    ahead: int
    waits: list[WaitRow]
    lane_waits: list[WaitRow]
    open_in_lane: int
    gauges: list[Gauge]
    held: list[ReservationView]
    events: list[Event]
    pace: Pace
    batch: Batch | None
    order: Order
    kin: Kin

    @property
    def node_lives(self) -> bool:
        """Whether the node that holds the task is alive."""
        return any(node.id == self.task.node for node in self.nodes)


def look_at(reader: Reader, id: str, now: float, store: str) -> Situation:
    """Gather what `why` needs to know; raises `TaskNotFound`."""
    task = find_task(reader, id)
    waits = reader.waits()
    started = reader.tasks(TaskFilter(statuses=(TaskStatus.RUNNING,)), limit=_OPEN)
    ahead = reader.ahead(task.seq) if task.status in CLAIMABLE else 0
    in_lane = {other.seq for other in started if other.lane == task.lane}
    return Situation(
        task=task,
        now=now,
        store=store,
        nodes=living(reader.nodes(), now),
        pauses=reader.pauses(),
        ahead=ahead,
        waits=[wait for wait in waits if wait.task == task.seq],
        lane_waits=[wait for wait in waits if wait.task in in_lane],
        open_in_lane=len(in_lane),
        gauges=reader.gauges(),
        held=held_by(reader, task),
        events=reader.events(0, _EVENTS, task.seq),
        pace=lane_pace(reader, task.lane, now),
        batch=None if task.batch is None else reader.batch(task.batch),
        order=read_order(reader, task, ahead),
        kin=read_kin(reader, task),
    )


def lane_pace(reader: Reader, lane: int, now: float) -> Pace:
    """How many tasks of a lane ended in the last minute, or since the first event if that is later."""
    events = reader.events(max(0, reader.last_event() - _EVENTS), _EVENTS)
    ended = [event for event in events if _counts(event) and event.at >= now - MINUTE]
    if not ended:
        return Pace(0, MINUTE)
    sample = reader.tasks(TaskFilter(ids=tuple(event.task_id for event in ended[-_SAMPLE:])), limit=_SAMPLE)
    share = sum(task.lane == lane for task in sample) / max(1, len(sample))
    return Pace(len(ended) * share, min(MINUTE, max(1.0, now - events[0].at)))


def _counts(event: Event) -> bool:
    return event.kind == "finished" and bool(event.task_id) and event.data.get("status") != "cancelled"
