"""No task is left claimed for ever because its end could not be written."""

import asyncio

import pytest

from penstock import Manager, Settings, TaskOptions
from penstock.errors import Parked, TaskFailed


class Unwilling:
    """Lets the store refuse a verb `times` for a reason that nobody knows."""

    def __init__(self, store, verb, times):
        self._run, self.verb, self.left = store.run, verb, times
        store.run = self.run

    def run(self, work):
        def watched(transaction):
            return work(Watched(transaction, self))

        return self._run(watched)


class Watched:
    def __init__(self, inner, unwilling):
        self._inner, self._unwilling = inner, unwilling

    def __getattr__(self, name):
        if name == self._unwilling.verb and self._unwilling.left:

            def refuse(*args):
                self._unwilling.left -= 1
                raise RuntimeError("out of a clear sky")

            return refuse
        return getattr(self._inner, name)


async def ended(tmp_path, verb, times, function, **options):
    manager = Manager(Settings(store=str(tmp_path / "e.db"), durability="normal"))
    manager.register("work", function, options=TaskOptions(**options))
    async with manager, asyncio.timeout(10):
        Unwilling(manager.node.store, verb, times)
        id = await manager.submit("work")
        try:
            return await manager.wait(id)
        finally:
            await manager.idle()


async def fine(context):
    return 42


async def broken(context):
    raise ValueError("no")


async def leaves(context):
    raise Parked


async def test_an_end_is_tried_again(tmp_path):
    assert await ended(tmp_path, "finish", 2, fine) == 42


async def test_what_never_ends_well_fails(tmp_path):
    with pytest.raises(TaskFailed, match="its result cannot be stored"):
        await ended(tmp_path, "finish", 3, fine)


async def test_a_failure_that_cannot_be_told_fails_in_fewer_words(tmp_path):
    with pytest.raises(TaskFailed, match="its end cannot be stored"):
        await ended(tmp_path, "finish", 3, broken, max_retries=0)


async def test_a_task_that_cannot_be_put_back_fails(tmp_path):
    with pytest.raises(TaskFailed, match="could not be put back"):
        await ended(tmp_path, "put_back", 3, leaves)
