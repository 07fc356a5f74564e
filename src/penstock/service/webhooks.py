"""Webhooks: URLs that are told of ends, and of questions to people.

Deliveries are tasks; they are added in the transaction that notes how far the events were looked through, so
that none is forgotten, whenever the process dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

from penstock.errors import PenstockError
from penstock.manager.engine import Manager
from penstock.manager.submission import Submission
from penstock.model.ids import new_id
from penstock.model.task import NewTask, TaskView
from penstock.service.errors import HttpProblem
from penstock.service.labels import WEBHOOK, WEBHOOK_TAG, label
from penstock.service.webhook_delivery import TYPE, register
from penstock.stores.contract import AddOutcome, Event, Reader, TaskFilter, Transaction

ENDED, ASKED = "ended", "approval_requested"
SUBSCRIPTIONS, SEEN = "webhook_subscriptions", "webhooks_seen"
MOST_SUBSCRIPTIONS = 1_000
_PAUSE_SECONDS = 1.0
_TOLD = {"finished": ENDED, "asked": ASKED}
# So often the place is noted where no end had to be told.
_NOTE_EVERY = 20_000

log = logging.getLogger("penstock.service")


@dataclass(frozen=True, slots=True)
class Subscription:
    """Ends, or questions to people, to be told to a URL: every field that is set must match; `statuses` are
    of ends."""

    id: str
    url: str
    tenant: str | None
    created_at: float
    task_type: str | None = None
    tag: str | None = None
    statuses: tuple[str, ...] = ()
    events: tuple[str, ...] = (ENDED,)

    def wants(self, view: TaskView, what: str = ENDED) -> bool:
        """Whether this is to be told of this task."""
        return (
            what in self.events
            and (self.tenant is None or self.tenant == view.tenant)
            and (self.task_type is None or self.task_type == view.type)
            and (self.tag is None or self.tag in view.tags)
            and (what != ENDED or not self.statuses or str(view.status) in self.statuses)
        )


def subscriptions(reader: Reader) -> list[Subscription]:
    """All of them, oldest first."""
    kept = json.loads(reader.setting(SUBSCRIPTIONS) or "[]")
    lists = ("statuses", "events")
    return [Subscription(**one | {name: tuple(one[name]) for name in lists if name in one}) for one in kept]


async def subscribe(engine: Manager, **fields: Any) -> Subscription:
    """Add one; raises `HttpProblem` when there are too many."""
    new = Subscription(new_id(), created_at=engine.clock.wall(), **fields)

    def work(store: Transaction) -> None:
        every = subscriptions(store)
        if len(every) >= MOST_SUBSCRIPTIONS:
            raise HttpProblem(409, "too_many", f"there are {len(every)} webhooks already; remove some")
        _keep(store, [*every, new])

    await engine.node.committer.run(work)
    return new


async def unsubscribe(engine: Manager, id: str, tenant: str | None) -> bool:
    """Remove one, of this tenant unless it is `None`; False: there is none."""

    def work(store: Transaction) -> bool:
        every = subscriptions(store)
        left = [one for one in every if one.id != id or tenant not in (None, one.tenant)]
        if len(left) < len(every):
            _keep(store, left)
        return len(left) < len(every)

    return await engine.node.committer.run(work)


def _keep(store: Transaction, every: Sequence[Subscription]) -> None:
    store.set_setting(SUBSCRIPTIONS, json.dumps([asdict(one) for one in every]))


class Webhooks:
    """Follows the ends of tasks and adds deliveries, while it is entered."""

    def __init__(self, engine: Manager, allowed_hosts: Sequence[str]) -> None:
        self._engine = engine
        self._task: asyncio.Task[None] | None = None
        register(engine, allowed_hosts)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow_forever(), name="penstock-webhooks")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow_forever(self) -> None:
        while True:
            try:
                await self._follow()
                return
            except PenstockError as error:
                log.warning("webhooks wait for the store: %s", error)
            except Exception:
                log.exception("webhooks stumbled; they go on")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _follow(self) -> None:
        noted = seen = await self._engine.node.committer.run(_begin)
        async for page in self._engine.feed.pages(None, seen):
            ends = [event for event in page if event.kind in _TOLD]
            wanted = await self._engine.read(partial(_deliveries, ends)) if ends else []
            seen = page[-1].no
            if wanted:
                await self._add(wanted, seen)
                noted = seen
            elif seen - noted > _NOTE_EVERY:
                await self._engine.node.committer.run(partial(_note, seen=seen))
                noted = seen

    async def _add(self, wanted: Sequence[Submission], seen: int) -> None:
        tasks: list[NewTask] = [self._engine.prepare(one) for one in wanted]

        def work(store: Transaction) -> list[AddOutcome]:
            _note(store, seen)
            return store.add(tasks)

        self._engine.notice(await self._engine.node.committer.run(work), tasks)


def _begin(store: Transaction) -> int:
    """The event up to which ends were looked at; the newest one at first."""
    kept = store.setting(SEEN)
    if kept is None:
        _note(store, store.last_event())
    return int(store.setting(SEEN) or 0)


def _note(store: Transaction, seen: int) -> None:
    store.set_setting(SEEN, str(seen))


def _deliveries(ends: Sequence[Event], reader: Reader) -> list[Submission]:
    """What is to be submitted for these ends and questions."""
    every = subscriptions(reader)
    where = TaskFilter(seqs=tuple(event.task for event in ends), tags=() if every else (WEBHOOK_TAG,))
    if not every and not reader.ids(where, limit=1):
        return []
    views = {view.seq: view for view in reader.tasks(where, limit=len(ends), whole=False)}
    found: list[Submission] = []
    for event in ends:
        view = views.get(event.task)
        if view is None or view.type == TYPE:
            continue
        what, url = _TOLD[event.kind], label(view.metadata, WEBHOOK)
        if what == ENDED and isinstance(url, str) and WEBHOOK_TAG in view.tags:
            found.append(_delivery(event, view, url, "task", view.tenant))
        # After a restart some events are looked at again, from before a subscription was there.
        hooks = [one for one in every if one.created_at <= event.at and one.wants(view, what)]
        found += [_delivery(event, view, one.url, one.id, one.tenant or "") for one in hooks]
    return found


def _delivery(event: Event, view: TaskView, url: str, whose: str, tenant: str) -> Submission:
    """A delivery of this tenant: its secret signs it, and nobody else sees or cancels it."""
    told: dict[str, Any] = {"id": f"evt_{event.no}", "at": event.at}
    if _TOLD[event.kind] == ASKED:
        told |= {"status": ASKED, "approval": event.data}
    else:
        told["status"] = str(event.data.get("status", view.status))
    return Submission(
        TYPE,
        {"url": url, "task_id": view.id, "event": told},
        tenant=tenant,
        idempotency_key=f"webhook:{event.no}:{whose}",
    )
