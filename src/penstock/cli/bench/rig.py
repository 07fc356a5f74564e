"""What several measurements stand on: a scratch folder, a manager with a no-op handler, a count of ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from penstock.cli.bench.measurement import BenchOptions
from penstock.manager import Manager, Submission
from penstock.model.task import Finish
from penstock.runtime.context import TaskContext
from penstock.runtime.settings import Settings
from penstock.stores.sqlite.store import Durability
from penstock.stores.sqlite.yardstick import Yardstick, measure_yardstick

CHUNK = 1_000

# As large as a short chat request, for us and for the yardstick alike.
DATA = {"messages": [{"role": "user", "content": "x" * 300}]}
RESULT = {"ok": True}


@contextlib.contextmanager
def scratch(directory: Path | None) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=directory) as folder:
        yield Path(folder)


def raw(options: BenchOptions, durability: Durability, rows: int, batch: int = 100) -> Yardstick:
    """The yardstick with data and results as large as ours."""
    return measure_yardstick(
        options.directory,
        durability,
        rows=rows,
        batch=batch,
        payload=json.dumps(DATA),
        result=json.dumps(RESULT),
    )


async def nothing(context: TaskContext) -> dict[str, bool]:
    return RESULT


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    durability: Durability,
    function: Callable[[TaskContext], Awaitable[Any]] = nothing,
    max_concurrent: int = 512,
    paused: bool = True,
) -> AsyncIterator[Manager]:
    """A manager on a fresh store whose tasks of type `bench` run `function`."""
    manager = Manager(
        Settings(store=str(folder / "bench.db"), durability=durability, max_concurrent=max_concurrent)
    )
    manager.register("bench", function)
    async with manager:
        if paused:
            await manager.pause()
        yield manager


async def add_beforehand(manager: Manager, count: int, data: Any = DATA) -> None:
    """Put `count` tasks in the line, in bulk."""
    for begin in range(0, count, CHUNK):
        await manager.submit_many([Submission("bench", data) for _ in range(min(CHUNK, count - begin))])


class Ends:
    """Waits until so many tasks have ended and their ends are durable."""

    def __init__(self, manager: Manager, count: int) -> None:
        self._left = count
        self._all = asyncio.Event()
        manager.on_end.append(self._one)

    def _one(self, _: Finish) -> None:
        self._left -= 1
        if not self._left:
            self._all.set()

    async def wait(self) -> None:
        await self._all.wait()
