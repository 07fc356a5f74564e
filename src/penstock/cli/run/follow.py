"""A job on a store that another process dispatches: add the lines, wait, write the files."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any

from penstock.cli.run.desk import ClientDesk
from penstock.cli.run.feeder import Feeder
from penstock.cli.run.interruption import interruptible
from penstock.cli.run.opening import open_job
from penstock.cli.run.options import RunOptions
from penstock.cli.run.progress import Progress
from penstock.cli.run.retrying import retry_failed
from penstock.cli.run.settlement import Settlement
from penstock.cli.run.snapshot import Observer
from penstock.cli.run.summary import Outcome
from penstock.cli.run.wiring import make_manager
from penstock.cli.run.writer import Writer
from penstock.errors import StoreBusy
from penstock.runtime.settings import Settings
from penstock.stores.contract import Store

LOOK_SECONDS = 0.5


async def follow(options: RunOptions, settings: Settings, store: Store, progress: Progress) -> Outcome | None:
    """The outcome; `None` when the dispatching process went away, so that this one can take its place. Closes
    the store either way."""
    if options.strategy is not None:
        progress.say(f"its strategy holds too; `penstock strategy {options.strategy}` switches it")
    theirs = replace(settings, strategy=None, strategy_settings={})
    manager = make_manager(options, theirs, store, _never_called)
    try:
        opened = open_job(
            store,
            options,
            progress.say,
            lambda batch: retry_failed(store, manager, batch, options.terms),
        )
    except BaseException:
        store.close()
        raise
    began, stop = time.monotonic(), asyncio.Event()
    desk = ClientDesk(manager, store)
    writer = Writer(desk, opened.batch, opened.outputs)
    feeder = Feeder(desk, opened.batch.id, opened.lines, options.feed_rules, writer.wake)
    observer = Observer(None)
    feeding = asyncio.ensure_future(feeder.run())
    writing = asyncio.ensure_future(writer.run(lambda: feeder.done))
    alone = False
    try:
        with interruptible(stop.set, stop.set):
            while not (writing.done() or stop.is_set() or alone or _failed(feeding)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await stop.wait()
                alone = not writing.done() and _dispatcher_gone(store)
                progress.show(
                    observer.look(writer.batch, writer.books, writer.counts, feeder.read_lines, None)
                )
        feeder.stop()
        opened.source.release()
        writer.leave()
        await asyncio.gather(feeding, writing)
        if alone:
            return None
        settlement = await Settlement.read(desk, None, opened.batch.id)
        stopped = "interrupted" if stop.is_set() else None
        return settlement.outcome(options, writer, feeder, stopped, time.monotonic() - began)
    finally:
        opened.close()
        store.close()


def _failed(task: asyncio.Future[None]) -> bool:
    return task.done() and task.exception() is not None


def _dispatcher_gone(store: Store) -> bool:
    try:
        store.lock_dispatch()
    except StoreBusy:
        return False
    return True


async def _never_called(context: Any) -> None:
    raise AssertionError("a client runs no handlers")
