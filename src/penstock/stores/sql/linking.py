"""Dependencies of tasks that are being added: who waits for whom, in the store and among themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.errors import InvalidTask, PenstockError, TaskNotFound
from penstock.model.task import NewTask
from penstock.stores.sql.session import WritingSession, as_list


class Links:
    """What the tasks of one `add` wait for. `order` are their places, each behind those it waits for."""

    def __init__(self, tasks: Sequence[NewTask], known: Mapping[str, tuple[int, str]]) -> None:
        self.needs = {task.id: tuple(dict.fromkeys(task.after)) for task in tasks if task.after}
        self.known = dict(known)
        self.order, self._circle = _in_order(tasks, self.needs)
        self._entered: dict[str, str] = {}
        self._stands_for: dict[str, str] = {}

    def refusal(self, task: NewTask) -> PenstockError | None:
        """Why a task cannot enter; asked when all that it waits for has entered or was refused."""
        if task.id in self._circle:
            chain = " → ".join(_walk(self._circle, task.id))
            return InvalidTask(f"tasks cannot wait for each other in a circle: {chain}")
        for id in task.after:
            if self._status(id) is None:
                return TaskNotFound(f"task {task.id} waits for task {id}, which is not there", id)
        return None

    def broken(self, task: NewTask) -> tuple[str, str] | None:
        """(id, status) of a task that it waits for and that ended without a result."""
        for id in task.after:
            if (status := self._status(id)) in ("failed", "cancelled"):
                return self._stands_for.get(id, id), str(status)
        return None

    def enter(self, task: NewTask) -> None:
        """The task goes in."""
        self._entered[task.id] = task.entered_as

    def is_another(self, task: NewTask, id: str) -> None:
        """Instead of the task that of another id is taken, which is in the store or enters too."""
        self._stands_for[task.id] = id

    def open(self, task: NewTask) -> int:
        """How many of those that a task waits for have not completed."""
        return sum(self._status(id) != "completed" for id in self._needed(task))

    def edges(self, tasks: Sequence[NewTask], seqs: range) -> list[tuple[int, int, int]]:
        """(seq, place, seq of the needed one) of tasks that entered."""
        numbers = {task.id: seq for task, seq in zip(tasks, seqs, strict=True)}
        rows = []
        for task in tasks:
            for place, id in enumerate(self._needed(task)):
                rows.append((numbers[task.id], place, numbers.get(id) or self.known[id][0]))
        return rows

    def _needed(self, task: NewTask) -> dict[str, None]:
        return dict.fromkeys(self._stands_for.get(id, id) for id in self.needs.get(task.id, ()))

    def _status(self, id: str) -> str | None:
        id = self._stands_for.get(id, id)
        return self._entered.get(id) or (self.known[id][1] if id in self.known else None)


class Linking(WritingSession):
    """The part of `add` that looks at `after`."""

    def links(self, tasks: Sequence[NewTask], answers: Sequence[str]) -> Links | None:
        """`None` when no task waits for another. `answers` are ids that may stand for those of `tasks`."""
        asked = {id for task in tasks for id in task.after}
        if not asked:
            return None
        asked.update(answers)
        known = {id: (seq, status) for id, seq, status in self.look("states_of", (as_list(asked),))}
        return Links(tasks, known)


def _in_order(
    tasks: Sequence[NewTask], needs: Mapping[str, tuple[str, ...]]
) -> tuple[list[int], dict[str, tuple[str, ...]]]:
    """Places in an order in which each comes behind those it waits for; and those in or behind a circle, with
    what they wait for in it, at the end."""
    places = {task.id: place for place, task in enumerate(tasks)}
    left = {id: sum(need in places for need in named) for id, named in needs.items()}
    waiting: dict[str, list[str]] = {}
    for id, named in needs.items():
        for need in named:
            waiting.setdefault(need, []).append(id)
    order = [place for place, task in enumerate(tasks) if not left.get(task.id)]
    for place in order:
        for id in waiting.get(tasks[place].id, ()):
            left[id] -= 1
            if not left[id]:
                order.append(places[id])
    stuck = {id for id, count in left.items() if count}
    circle = {id: tuple(need for need in needs[id] if need in stuck) for id in stuck}
    return order + sorted(places[id] for id in stuck), circle


def _walk(circle: Mapping[str, tuple[str, ...]], id: str) -> list[str]:
    """From a task along what it waits for, until one comes again; the circle only."""
    walked: list[str] = []
    while id not in walked:
        walked.append(id)
        id = circle[id][0]
    return [*walked[walked.index(id) :], id]
