"""Events as server-sent events: of all tasks, of one, of a batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Annotated, Any

from fastapi import Header, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from penstock.errors import PenstockError
from penstock.service.access import TaskId, Viewer, find_task, visible
from penstock.service.errors import HttpProblem
from penstock.service.events import PAGE, next_page, sse_text
from penstock.service.routes.batches import batch_filter
from penstock.service.routing import errors, make_router
from penstock.service.schemas import ShortName, TenantName
from penstock.service.service import Service, service_of
from penstock.stores.contract import Event, Reader, TaskFilter

router = make_router("events")

_LastId = Annotated[str | None, Header(alias="last-event-id", max_length=100)]
_After = Annotated[int | None, Query(ge=0, le=2**62, description="as `Last-Event-ID`, which counts more")]
_Kinds = Annotated[list[ShortName] | None, Query(max_length=50, description="only events of these kinds")]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events as `text/event-stream`; `id` is what `Last-Event-ID` takes.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "Nothing follows what was seen: do not connect again."},
}

Page = list[Event] | None
"""events of a follower, maybe none; `None` when nothing at all happened for a while"""
Source = Callable[[asyncio.Event], AsyncIterator[Page]]

_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


@router.get("/events", name="follow_events", response_class=Response, responses=_STREAM)
async def follow_events(
    request: Request, principal: Viewer, last_id: _LastId = None, after: _After = None, kind: _Kinds = None
) -> Response:
    """What happens to all tasks from now on, or behind an event; a tenant's own for its keys."""
    service, tenant = service_of(request), visible(principal)
    head: int = await service.engine.read(lambda reader: reader.last_event())
    begin = _begin(last_id, after, head, head)

    async def source(news: asyncio.Event) -> AsyncIterator[Page]:
        async for page in service.hub.pages(begin, news, service.config.keep_alive_seconds):
            if not page:
                yield None
            else:
                yield [event for event in page if tenant is None or _is_of(event, tenant)]

    return _stream(request, kind, source)


@router.get(
    "/tasks/{task_id}/events",
    name="follow_task",
    response_class=Response,
    responses={**_STREAM, **errors(404)},
)
async def follow_task(
    request: Request,
    principal: Viewer,
    task_id: TaskId,
    last_id: _LastId = None,
    after: _After = None,
    kind: _Kinds = None,
) -> Response:
    """What happened to a task, and what happens, until its end."""
    service = service_of(request)
    view = await find_task(service.engine, principal, task_id)
    head: int = await service.engine.read(lambda reader: reader.last_event())
    begin = _begin(last_id, after, head, 0)
    if view.status.final and not await service.engine.read(partial(_of_task, begin, view.seq)):
        return Response(status_code=204)
    return _stream(request, kind, partial(_task_pages, service, view.seq, begin))


@router.get(
    "/batches/{batch_id}/events",
    name="follow_batch",
    response_class=Response,
    responses={**_STREAM, **errors(404)},
)
async def follow_batch(
    request: Request,
    principal: Viewer,
    batch_id: Annotated[str, Path(max_length=200)],
    tenant: Annotated[TenantName | None, Query()] = None,
    last_id: _LastId = None,
    after: _After = None,
    kind: _Kinds = None,
) -> Response:
    """What happened to the tasks of a batch, and what happens, until all of them have ended."""
    service = service_of(request)
    batch = Members(service, batch_filter(principal, batch_id, tenant))
    first = await batch.first_event()
    if first is None:
        raise HttpProblem(404, "batch_not_found", f"there is no batch {batch_id!r}")
    head: int = await service.engine.read(lambda reader: reader.last_event())
    begin = max(first - 1, _begin(last_id, after, head, 0))
    if not await batch.unfinished() and not await batch.any_behind(begin):
        return Response(status_code=204)
    return _stream(request, kind, partial(batch.pages, begin))


class Members:
    """The tasks of a batch, and their events among all."""

    def __init__(self, service: Service, where: TaskFilter) -> None:
        self._service = service
        self._where = where
        self._known: dict[int, bool] = {}

    async def first_event(self) -> int | None:
        """The number of the first event of these tasks that is still there; `None` when there are none."""

        def look(reader: Reader) -> int | None:
            found = reader.ids(self._where, limit=1)
            if not found:
                return None
            events = reader.events(0, 1, found[0][0])
            return events[0].no if events else 1

        return await self._service.engine.read(look)

    async def unfinished(self) -> int:
        """How many of them have not ended."""
        counts = await self._service.engine.read(lambda reader: reader.counts(self._where))
        return sum(one.count for status, one in counts.items() if not status.final)

    async def any_behind(self, after: int) -> bool:
        """Whether there are events of them behind this one."""
        while page := await self._service.engine.read(partial(next_page, after)):
            if await self.among(page):
                return True
            after = page[-1].no
        return False

    async def among(self, events: list[Event]) -> list[Event]:
        """Those events that are of these tasks."""
        unknown = tuple({event.task for event in events} - self._known.keys())
        if unknown:
            where = TaskFilter(seqs=unknown, tenant=self._where.tenant, tags=self._where.tags)
            rows = await self._service.engine.read(lambda reader: reader.ids(where, limit=len(unknown)))
            if len(self._known) > 100_000:
                self._known.clear()
                return await self.among(events)
            self._known |= dict.fromkeys(unknown, False) | {seq: True for seq, _ in rows}
        return [event for event in events if self._known[event.task]]

    async def pages(self, after: int, news: asyncio.Event) -> AsyncIterator[Page]:
        """Their events, until all have ended and nothing is left to tell."""
        head = await self._service.hub.head()
        left = await self.unfinished()
        if not left:
            head = await self._service.engine.read(lambda reader: reader.last_event())
            left = 0 if after < head else -1
        async for page in self._service.hub.pages(after, news, self._service.config.keep_alive_seconds):
            if not page:
                yield None
                continue
            found = await self.among(page)
            yield found
            left -= sum(event.kind == "finished" and event.no > head for event in found)
            if left <= 0 and page[-1].no >= head:
                left = await self.unfinished()
                head = await self._service.engine.read(lambda reader: reader.last_event())
                if not left and page[-1].no >= head:
                    return


async def _task_pages(service: Service, seq: int, after: int, news: asyncio.Event) -> AsyncIterator[Page]:
    head = await service.hub.head()
    while page := await service.engine.read(partial(_of_task, after, seq)):
        after = page[-1].no
        yield page
        if page[-1].kind == "finished":
            return
    # All of the task's events up to `head` were read; later ones come with those of all tasks.
    async for page in service.hub.pages(max(after, head), news, service.config.keep_alive_seconds):
        if not page:
            yield None
        else:
            found = [event for event in page if event.task == seq]
            yield found
            if found and found[-1].kind == "finished":
                return


def _stream(request: Request, kinds: Iterable[str] | None, source: Source) -> Response:
    service = service_of(request)
    service.hub.check_room()
    texts = _texts(service, request, frozenset(kinds or ()), source)
    return StreamingResponse(texts, media_type="text/event-stream", headers=_HEADERS)


async def _texts(
    service: Service, request: Request, kinds: frozenset[str], source: Source
) -> AsyncIterator[str]:
    """The stream. It ends with the service, and when the key counts no more."""
    patience, told = service.config.keep_alive_seconds, time.monotonic()
    try:
        with service.hub.place() as news:
            yield "retry: 1000\n\n"
            async for page in source(news):
                text = "".join(sse_text(event) for event in page or () if not kinds or event.kind in kinds)
                # Where only others have news, this client hears a comment all the same.
                if not text and (page is None or time.monotonic() - told >= patience):
                    await service.keys.principal(request)
                    text = ": keep-alive\n\n"
                if text:
                    yield text
                    told = time.monotonic()
    except (HttpProblem, PenstockError):
        return


def _begin(last_id: str | None, after: int | None, head: int, otherwise: int) -> int:
    """The event behind which a stream begins."""
    if last_id is not None:
        if not (last_id.isascii() and last_id.isdecimal()):
            message = "Last-Event-ID is not the id of an event"
            raise HttpProblem(400, "invalid_event_id", message, param="last-event-id")
        return min(int(last_id[:19]), head)
    return otherwise if after is None else min(after, head)


def _is_of(event: Event, tenant: str) -> bool:
    return event.tenant == tenant and bool(event.task_id)


def _of_task(after: int, seq: int, reader: Reader) -> list[Event]:
    return reader.events(after, PAGE, seq)
