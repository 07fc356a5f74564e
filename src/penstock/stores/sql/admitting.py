"""Who goes in: keys that were used before, dependencies, and the room there is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from penstock.errors import IdempotencyConflict, QueueFull
from penstock.model.task import Existing, NewTask
from penstock.stores.contract import AddOutcome
from penstock.stores.sql.cascading import dependency_error
from penstock.stores.sql.debouncing import Debouncing, Holder, debounced
from penstock.stores.sql.linking import Linking, Links
from penstock.stores.sql.session import as_list

Known = tuple[str, str | None, int | None]  # id, fingerprint, position
Key = tuple[str, str | None]


class Admitting(Debouncing, Linking):
    """The part of `add` that decides; outcomes of what does not go in are set."""

    def let_in(
        self, tasks: Sequence[NewTask], capacity: int | None, outcomes: list[AddOutcome | None]
    ) -> Sequence[int]:
        """The places of the tasks that go in."""
        known = self._known_keys(tasks)
        if not known and capacity is None and not any(task.idempotency_key for task in tasks):
            return range(len(tasks))
        room = _Room(capacity, self.counter("open"))
        accepted = []
        for place, task in enumerate(tasks):
            outcomes[place] = _answer(task, known) or room.refusal(task)
            if outcomes[place] is None:
                _remember(task, known)
                accepted.append(place)
        return accepted

    def let_special_in(
        self, tasks: list[NewTask], capacity: int | None, outcomes: list[AddOutcome | None]
    ) -> tuple[Sequence[int], Links | None]:
        """The same where tasks have dependencies or unique keys, and what waits for what. Tasks in the list
        are replaced by how they go in."""
        known = self._known_keys(tasks)
        holders = self.holders(tasks)
        links = self.links(
            tasks, [id for id, *_ in known.values()] + [holder.id for holder in holders.values()]
        )
        room = _Room(capacity, self.counter("open"))
        accepted = []
        for place in range(len(tasks)) if links is None else links.order:
            task = tasks[place]
            outcome = _answer(task, known) or self._held(holders, tasks, task)
            if outcome is None and links is not None:
                outcome = links.refusal(task)
                tasks[place] = task = _judged(links, task)
            outcome = outcome or room.refusal(task)
            outcomes[place] = outcome
            if outcome is None:
                tasks[place] = task = _with_debounce(task)
                _remember(task, known)
                if task.unique_key is not None and task.error is None:
                    holders[task.tenant, task.unique_key] = Holder(task.id, task.position, place=place)
                accepted.append(place)
            if links is not None:
                if outcome is None:
                    links.enter(task)
                elif isinstance(outcome, Existing):
                    links.is_another(task, outcome.id)
        return sorted(accepted), links

    def _held(self, holders: dict[Key, Holder], tasks: list[NewTask], task: NewTask) -> Existing | None:
        holder = holders.get((task.tenant, task.unique_key))
        return None if holder is None else self.meet(holder, tasks, task)

    def _known_keys(self, tasks: Sequence[NewTask]) -> dict[Key, Known]:
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for task in tasks:
            if task.idempotency_key is not None:
                asked[task.tenant].append(task.idempotency_key)
        known: dict[Key, Known] = {}
        for tenant, keys in asked.items():
            for of_tenant, key, id, fingerprint, position in self.db.rows(
                "known_keys", (tenant, as_list(keys))
            ):
                known[of_tenant, key] = (id, fingerprint, position)
        return known


class _Room:
    """How many more tasks may enter; without a capacity any number."""

    def __init__(self, capacity: int | None, used: int) -> None:
        self._capacity = capacity
        self._left = 0 if capacity is None else capacity - used

    def refusal(self, task: NewTask) -> QueueFull | None:
        if self._capacity is None or task.entered_as != "queued":
            return None
        if self._left <= 0:
            return QueueFull(
                f"the queue is full: {self._capacity} tasks wait or run already; "
                "try again later or raise the queue's size"
            )
        self._left -= 1
        return None


def _answer(task: NewTask, known: dict[Key, Known]) -> AddOutcome | None:
    """The outcome of a task whose idempotency key was used before."""
    if task.idempotency_key is None or (task.tenant, task.idempotency_key) not in known:
        return None
    id, fingerprint, position = known[task.tenant, task.idempotency_key]
    if fingerprint == task.fingerprint:
        return Existing(id, position)
    return IdempotencyConflict(
        f"idempotency key {task.idempotency_key!r} was used by task {id} with other data; "
        "use another key, or the same data"
    )


def _remember(task: NewTask, known: dict[Key, Known]) -> None:
    if task.idempotency_key is not None:
        known[task.tenant, task.idempotency_key] = (task.id, task.fingerprint, task.position)


def _judged(links: Links, task: NewTask) -> NewTask:
    """The task as it enters: failed, when one that it waits for ended without a result."""
    broken = links.broken(task) if task.entered_as == "queued" else None
    return task if broken is None else replace(task, error=dependency_error(*broken))


def _with_debounce(task: NewTask) -> NewTask:
    due_at = task.due_at if task.unique_key is None else debounced(task)
    return task if due_at == task.due_at else replace(task, due_at=due_at)
