"""Waits that outlive their process, and events from other processes."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc

import pytest

from penstock import Manager, Settings, TaskFilter, TaskStatus
from penstock.manager.letters import Answer, Outgoing, approvals
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import Harness, SimulatedProvider, virtually

_SUSPENDED = TaskFilter(statuses=(TaskStatus.SUSPENDED,))

WORKER = """
import asyncio, sys
from penstock import Manager, Settings

async def handler(context):
    with open(sys.argv[2], "a") as log:
        log.write("began\\n")
    first = await context.wait_for_event("go")
    with open(sys.argv[2], "a") as log:
        log.write(f"took {first}\\n")
    await context.step("slow", asyncio.sleep, 0.3)
    decision = await context.approve("Sure?")
    return [first, decision.by]

async def main():
    manager = Manager(Settings(store=sys.argv[1], durability="normal", suspend_after=0.05))
    manager.register("listener", handler)
    async with manager:
        if len(sys.argv) > 3:
            print(await manager.submit("listener"), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


class Worker:
    """A process that dispatches a store; killed with `kill -9`."""

    def __init__(self, folder):
        self.store = str(folder / "work.db")
        self.log = folder / "log.txt"
        self.script = folder / "worker.py"
        self.script.write_text(textwrap.dedent(WORKER))
        self.process = None

    def start(self, *more):
        command = [sys.executable, str(self.script), self.store, str(self.log), *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self.process.stdout.readline().strip() if more else None

    def kill(self):
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def client(self, work):
        """What another process does, that only adds and reads."""
        with SqliteStore.open(self.store, durability="normal") as store:
            return work(store)

    def view(self, id):
        return self.client(lambda store: store.read(lambda reader: reader.task(id)))

    def until(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"not so within {seconds} s; the log says {self.log.read_text()}"
            time.sleep(0.01)
        return found


@pytest.fixture
def worker(tmp_path):
    made = Worker(tmp_path)
    yield made
    made.kill()


def test_kills_while_suspended_and_between(worker):
    """An event for a suspended task while nobody dispatches, an answer after a restart, kills in between:
    each is taken once."""
    id = worker.start("submit")
    worker.until(lambda: worker.view(id).status is TaskStatus.SUSPENDED)
    worker.kill()
    event = Outgoing("go", 1)
    worker.client(lambda store: store.run(lambda tx: event.deliver(tx, id, time.time())))
    worker.start()
    worker.until(lambda: "took 1" in worker.log.read_text())  # recorded; the step behind it is under way
    worker.kill()
    worker.start()
    worker.until(lambda: worker.client(lambda store: store.read(approvals)))
    worker.until(lambda: worker.view(id).status is TaskStatus.SUSPENDED)
    worker.kill()
    assert worker.view(id).status is TaskStatus.SUSPENDED
    worker.start()
    answer = Answer(True, by="Ada")
    worker.client(lambda store: store.run(lambda tx: answer.deliver(tx, id, None, time.time())))
    assert worker.until(lambda: worker.view(id).result) == [1, "Ada"]
    view = worker.view(id)
    assert (view.attempt, view.crashes) == (2, 0), "one kill hit it while it ran; it was suspended since"
    assert worker.log.read_text().count("took 1") == 3
    assert worker.client(lambda store: store.verify()) == []


async def noticed_after(manager, other):
    """Seconds until a suspended and an open listener both have an event that another process sends."""
    ids = [await manager.submit("listener", kind) for kind in ("suspended", "open")]
    seqs = [(await manager.get(id)).seq for id in ids]
    while not all([await manager.read(lambda reader, seq=seq: reader.awaits(seq)) for seq in seqs]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    sent = time.monotonic()
    for id in ids:
        await asyncio.to_thread(other.run, lambda tx, id=id: tx.deliver(id, "first", None, "", time.time()))
    return max([await manager.wait(id, timeout=20) for id in ids]) - sent


async def test_events_of_other_processes_are_noticed_at_once(tmp_path):
    manager = Manager(Settings(store=str(tmp_path / "work.db"), durability="normal"))

    async def handler(context):
        if context.data == "suspended":
            await context.wait_for_event("first", timeout=3600)
            return time.monotonic()
        return [await context.wait_for_event("first"), time.monotonic()][1]

    manager.register("listener", handler)
    async with manager:
        manager.adjust(manager.settings)
        with SqliteStore.open(str(tmp_path / "work.db"), durability="normal") as other:
            took = []
            while min(took, default=1.0) >= 1.0 and len(took) < 5:  # the machine may be busy for a while
                took.append(await noticed_after(manager, other))
        assert min(took) < 1.0


@virtually
async def test_a_crash_at_every_record_takes_the_same_branch():
    """Killed after each of its records: events are taken once, instants and timeouts stay."""
    with SimulatedProvider() as provider:
        results, records = [], 5
        for steps in range(1, records + 1):
            manager = provider.manager()

            async def handler(context):
                await context.sleep(1)
                first = await context.wait_for_event("go")
                try:
                    second = await context.wait_for_event("more", timeout=1.5)
                except Exception as error:
                    second = type(error).__name__
                await context.sleep(1)
                return [first, second]

            manager.register_type("listener", handler)
            async with Harness(manager) as harness:
                id = await manager.submit_task("listener")
                await manager.send_event(id, "go", 1)
                await harness.crash_and_restart(after_steps=steps)
                await manager.send_event(id, "go", 2)
                if records - steps > 1:
                    await harness.crash_and_restart(after_steps=(records - steps) // 2)
                await harness.run_out()
                results.append(manager.get_task(id).result)
        assert results == [[1, "EventTimeout"]] * records


@virtually
async def test_a_thousand_suspended_tasks_hold_no_memory():
    manager = Manager(Settings(store="memory", seed=1, suspend_after=0.0))

    async def handler(context):
        large = "x" * 100_000  # a handler in memory would hold it
        await context.wait_for_event("go")
        return len(large)

    manager.register("listener", handler)

    async def suspend(count):
        ids = [await manager.submit("listener", n) for n in range(count)]
        while len(await manager.read(lambda reader: reader.tasks(_SUSPENDED, limit=2000))) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        while manager.node.dispatcher.open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return ids

    async with manager:
        for id in await suspend(50):  # what is made once
            await manager.send_event(id, "go")
            await manager.wait(id)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            ids = await suspend(1000)
            await manager.read(lambda reader: None)  # the last answer goes
            gc.collect()
            held = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert len(manager.node.services.wakes) == 0
        assert manager.node.services.slots.taken == 0
        assert held < 200_000  # their ids, in a list of this test, are half of that
        await manager.send_event(ids[-1], "go")
        assert await manager.wait(ids[-1]) == 100_000
