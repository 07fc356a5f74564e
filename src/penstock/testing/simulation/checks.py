"""What must hold of a node at any instant, of one that is idle, and of a store at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.manager import Manager
from penstock.model.clock import Clock
from penstock.model.task import TaskView
from penstock.stores.contract import Reader, Store, TaskFilter
from penstock.testing.simulation.books import Books
from penstock.testing.simulation.provider import Provider


def slot_fault(manager: Manager) -> str | None:
    """Slots are never fewer than none, nor more than there are."""
    if not manager.is_running:
        return None
    slots = manager.node.services.slots
    if 0 <= slots.taken <= slots.limit:
        return None
    return f"slots: {slots.taken} of {slots.limit} are taken"


def idle_faults(manager: Manager, clock: Clock) -> Iterator[str]:
    """Nothing is held where nothing runs."""
    node = manager.node
    if node.services.slots.taken:
        yield f"slots: {node.services.slots.taken} are taken while nothing runs"
    if node.gate._occupancy.in_flight:
        yield f"gate: {node.gate._occupancy.in_flight} calls in flight while nothing runs"
    for use in node.gate.usage(clock.monotonic()):
        if use.held:
            yield f"gate: {use.held} of {use.key} held while nothing runs"
    for money in node.gate.money(clock.monotonic()):
        if money.held:
            yield f"gate: {money.held} of {money.key} held while nothing runs"
    if node.admitter.waiters() or any(node.admitter.waiting_by_lane.values()):
        yield f"gate: {node.admitter.waiting_by_lane} wait while nothing runs"


def last_faults(
    store: Store, books: Books, provider: Provider, acknowledged: Mapping[str, str], capped: bool
) -> Iterator[str]:
    """After the last life: no task and no call is lost, no hold is left, and the data are whole."""
    for name, id in acknowledged.items():
        if store.read(lambda reader: reader.task(id)) is None:  # noqa: B023 (called at once)
            yield f"1: {name} was acknowledged and is gone"
    yield from (f"store: {fault}" for fault in store.verify())
    named = Counter(known for view in store.read(_all_tasks) if (known := _name_of(view)))
    yield from (f"3: {one} is there {count} times" for one, count in named.items() if count > 1)
    held = store.read(lambda reader: reader.reservations(["held"], 10_000))
    if held or books.held:
        yield f"4: reservations {[one.id for one in held] or sorted(books.held)} are held at the end"
    spent = sum(row.cost + row.uncertain for row in store.read(lambda reader: reader.spend()))
    if spent != books.spent:
        yield f"4: the store says {spent} were spent, its settlements {books.spent}"
    if capped and provider.bill.pico > spent:
        yield f"4: the provider billed {provider.bill.pico}, booked are {spent}"


def _all_tasks(reader: Reader) -> list[TaskView]:
    return reader.tasks(TaskFilter(), limit=10_000)


def _name_of(view: TaskView) -> str | None:
    name: str | None = view.payload.get("name") if isinstance(view.payload, dict) else None
    return name


def waiting_lines(store: Store, nodes: Sequence[Any]) -> str:
    """Who waits for what, in one line."""
    tallies = store.read(lambda reader: reader.tallies())
    parts = [f"{one.count} {one.type} {one.status}" for one in tallies if one.count and not one.status.final]
    for node in nodes:
        if node.manager.is_running:
            running = node.manager.node
            slots = running.services.slots
            waits = [f"{waiter.caller.task} for {wait.reason}" for waiter, wait in running.admitter.waits()]
            open_now = sorted(running.dispatcher.open)
            parts.append(
                f"life {node.life.number}: slots {slots.taken}/{slots.limit}, open {open_now}, waits {waits}"
            )
    return "; ".join(parts)
