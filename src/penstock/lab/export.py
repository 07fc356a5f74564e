"""History of a real store as a trace: what would have happened under another policy or another limit."""

from __future__ import annotations

from penstock.errors import ConfigurationError
from penstock.lab.traces import Request, Trace, trace_of
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.stores.contract import Reader, Store, TaskFilter

_PAGE = 1000


def history(store: Store, name: str = "history", type: str | None = None, tenant: str | None = None) -> Trace:
    """The completed tasks of a store (of one type or tenant) as a trace; an error when there are none.

    A task arrives when it was created (or due, if it was made to wait) and its service is the time from its
    first start to its end, so retries and waits inside a handler count as service.
    """
    where = TaskFilter(statuses=(TaskStatus.COMPLETED,), types=() if type is None else (type,), tenant=tenant)

    def work(reader: Reader) -> list[TaskView]:
        found: list[TaskView] = []
        while page := reader.tasks(where, after=found[-1].seq if found else 0, limit=_PAGE, newest=False):
            found += page
        return found

    views = [
        view for view in store.read(work) if view.started_at is not None and view.finished_at is not None
    ]
    if not views:
        raise ConfigurationError("the store holds no completed task to make a trace of")
    first = min(_arrival(view) for view in views)
    return trace_of(name, [_request(row, view, first) for row, view in enumerate(views)])


def _arrival(view: TaskView) -> float:
    # Later than the first attempt `due_at` is a retry's; at the first it is a delay the user asked for.
    delayed = view.due_at is not None and view.attempt <= 1
    return max(view.created_at, view.due_at or 0.0) if delayed else view.created_at


def _request(row: int, view: TaskView, first: float) -> Request:
    arrival = _arrival(view)
    started, finished = view.started_at or arrival, view.finished_at or arrival
    deadline = None if view.deadline is None else view.deadline - arrival
    return Request(
        row,
        arrival - first,
        view.input_tokens,
        view.output_tokens,
        view.tenant,
        view.priority,
        deadline if deadline is None or deadline > 0 else 1e-6,
        max(0.0, finished - started),
    )
