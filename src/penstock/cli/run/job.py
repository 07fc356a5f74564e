"""The main job: input in, calls out, files written, and every way it can end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from penstock.cli.run.desk import OwnDesk
from penstock.cli.run.feeder import Feeder
from penstock.cli.run.follow import follow
from penstock.cli.run.guard import Guard, advice
from penstock.cli.run.interruption import interruptible
from penstock.cli.run.opening import Opened, open_job
from penstock.cli.run.options import RunOptions, addresses, check_paths, endpoints
from penstock.cli.run.progress import Progress
from penstock.cli.run.retrying import retry_failed
from penstock.cli.run.settlement import Settlement
from penstock.cli.run.snapshot import Observer
from penstock.cli.run.summary import Outcome
from penstock.cli.run.wiring import make_manager, settings_of
from penstock.cli.run.writer import Writer
from penstock.errors import CallFailed, ConfigurationError, StoreBusy
from penstock.llm.endpoint import Endpoint
from penstock.manager import Manager, open_store
from penstock.model.task import Finish
from penstock.runtime.client import ModelClient
from penstock.runtime.settings import Settings
from penstock.stores.contract import Store
from penstock.task_types import llm_request

TICK_SECONDS = 0.2
ADDRESS_SETTING = "run.base_url"


async def run_job(options: RunOptions, progress: Progress) -> Outcome:
    """Run a job to its end, or until it is stopped. Raises `PenstockError` and `OSError` for what a user can
    mend."""
    settings = settings_of(options)
    check_paths(options)
    served = endpoints(options)
    while True:
        store = open_store(settings)
        try:
            store.lock_dispatch()
        except StoreBusy as busy:
            _same_address(store, addresses(options), busy)
            progress.say(f"{busy}. Its limits, budget and endpoint hold; adding lines and following")
            outcome = await follow(options, settings, store, progress)
            if outcome is not None:
                return outcome
            progress.say("the process that dispatched is gone; taking over")
        except BaseException:
            store.close()
            raise
        else:
            return await Job(options, settings, store, served, progress).run()


def _same_address(store: Store, urls: list[str], busy: StoreBusy) -> None:
    """Lines that were meant for one provider must not go to another."""
    theirs = store.read(lambda reader: reader.setting(ADDRESS_SETTING))
    if theirs is not None and theirs != ",".join(urls):
        store.close()
        raise ConfigurationError(
            f"{busy}. It calls {theirs}, and this job asks for {','.join(urls)}"
        ) from None


class Job:
    """One run in the process that dispatches the store."""

    def __init__(
        self,
        options: RunOptions,
        settings: Settings,
        store: Store,
        served: list[Endpoint],
        progress: Progress,
    ) -> None:
        self._options = options
        self._store = store
        self._served = served
        self._progress = progress
        self._client: ModelClient | None = None
        self._stopped: str | None = None
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self._guard = Guard(self._tripped)
        handle = llm_request.handler(self._made_client)
        self._manager: Manager = make_manager(
            options, settings, store, handle if options.keep_going else self._guard.around(handle)
        )
        self._began = time.monotonic()
        self._lonely_ticks = 0

    async def run(self) -> Outcome:
        """Open, feed, write, stop; the outcome."""
        try:
            opened = open_job(self._store, self._options, self._progress.say, self._retry)
        except BaseException:
            self._store.close()
            raise
        try:
            return await self._run(opened)
        finally:
            opened.close()

    async def _run(self, opened: Opened) -> Outcome:
        manager, options = self._manager, self._options
        await manager.start()
        try:
            urls = ",".join(addresses(options))
            desk = OwnDesk(manager)
            await desk.run(lambda store: store.set_setting(ADDRESS_SETTING, urls))
            self._client = ModelClient(manager.node.services.exchange, self._served)
            writer = Writer(desk, opened.batch, opened.outputs)
            feeder = Feeder(desk, opened.batch.id, opened.lines, options.feed_rules, writer.wake)
            manager.on_end.append(lambda end: self._heard(end, writer))
            observer = Observer(manager)
            with interruptible(self._interrupt, manager.leave_now):
                await self._work(opened, feeder, writer, observer)
            if self._failure is not None:
                raise self._failure
            settlement = await Settlement.read(desk, manager, opened.batch.id)
        finally:
            await self._close(manager)
        return settlement.outcome(options, writer, feeder, self._stopped, time.monotonic() - self._began)

    async def _close(self, manager: Manager) -> None:
        self._guard.close()
        client, self._client = self._client, None
        await manager.stop()
        if client is not None:
            with contextlib.suppress(Exception):
                await client.aclose()

    async def _work(self, opened: Opened, feeder: Feeder, writer: Writer, observer: Observer) -> None:
        """Until everything is written, or something says stop; then what has ended is written too."""
        feeding = self._start(feeder.run(), writer.wake)
        writing = self._start(writer.run(lambda: feeder.done), self._stop.set)
        while not self._stop.is_set():
            self._tick(opened, feeder, writer, observer)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._stop.wait()
        feeder.stop()
        opened.source.release()
        self._guard.close()
        if not writing.done():
            await self._drain(opened, feeder, writer, observer)
            writer.leave()
        await asyncio.wait([feeding, writing])

    def _start(self, work: Coroutine[Any, Any, None], then: Callable[[], None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                self._fail(done.exception())
            then()

        task.add_done_callback(ended)
        return task

    async def _drain(self, opened: Opened, feeder: Feeder, writer: Writer, observer: Observer) -> None:
        draining = asyncio.ensure_future(self._manager.node.drain())
        while not draining.done():
            self._tick(opened, feeder, writer, observer)
            await asyncio.wait([draining], timeout=TICK_SECONDS)
        draining.result()

    def _tick(self, opened: Opened, feeder: Feeder, writer: Writer, observer: Observer) -> None:
        node = self._manager.node
        if node.failure is not None:
            self._fail(node.failure)
        running = len(node.dispatcher.open)
        lonely = running > 0 and node.services.slots.taken == 0
        self._lonely_ticks = self._lonely_ticks + 1 if lonely else 0
        if self._lonely_ticks > 1:
            self._guard.settle(running)
        total = _total(opened, feeder, self._options)
        now = observer.look(writer.batch, writer.books, writer.counts, feeder.read_lines, total)
        stopping = self._stop.is_set()
        with contextlib.suppress(OSError) if stopping else contextlib.nullcontext():  # see _interrupt
            self._progress.show(replace(now, stopping=stopping))

    def _made_client(self) -> ModelClient:
        assert self._client is not None
        return self._client

    def _retry(self, batch: Any) -> int:
        return retry_failed(self._store, self._manager, batch, self._options.terms)

    def _heard(self, end: Finish, writer: Writer) -> None:
        if end.task.batch == writer.batch.id:
            writer.wake()

    def _interrupt(self) -> None:
        self._stopped = self._stopped or "interrupted"
        self._stop.set()
        with contextlib.suppress(OSError):  # the terminal may be what has gone
            self._progress.say(
                "stopping: no new calls start, those in flight finish; Ctrl-C again leaves at once"
            )

    def _tripped(self, error: CallFailed) -> None:
        self._manager.node.dispatcher.stop()
        keys = [one.api_key for one in self._served if one.api_key]
        text = advice(error, ", ".join(addresses(self._options)), self._options.key_name, keys)
        self._failure = self._failure or ConfigurationError(text)
        self._stop.set()

    def _fail(self, error: BaseException | None) -> None:
        self._failure = self._failure or error
        self._stop.set()


def _total(opened: Opened, feeder: Feeder, options: RunOptions) -> int | None:
    """Lines of the input; estimated from its size while it is being read."""
    if feeder.done:
        return feeder.read_lines
    size, offset = opened.source.size(), opened.lines.offset
    if size is None or not offset:
        return options.sample
    total = round(feeder.read_lines * size / offset) if feeder.read_lines else None
    return total if options.sample is None or total is None else min(total, options.sample)
