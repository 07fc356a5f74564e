"""Code that no longer fits its journal fails with both sides shown; what runs side by side never does."""

import asyncio
import logging
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock import TaskOptions
from penstock.errors import JournalMismatch, TaskFailed
from penstock.runtime.portal import wait_for

QUICK = TaskOptions(retry_delay=0.01, max_retries=0)


async def refused(world, work, options=QUICK):
    with pytest.raises(TaskFailed) as caught:
        await world.run_twice(work, options=options)
    assert caught.value.reason == "journal_mismatch"
    return str(caught.value)


def same(value):
    return value


# What fails


async def test_both_sides_are_shown_and_what_to_do(world):
    async def work(context):
        await context.step("fetch", same, "all")
        await context.step("write" if world.life == 1 else "summarise", same, "text")
        await context.step("send", same, "mail")
        await world.crash()

    said = await refused(world, work)
    assert "step summarise (" in said
    assert "Recorded: 1. fetch (" in said
    assert ") used; 2. write (" in said
    assert ") NOT USED; 3. send (" in said
    assert "The code asks for: 1. fetch (" in said
    assert ") recorded; 2. summarise (" in said
    for way in ("version=", "penstock fork", "--fresh"):
        assert way in said


@pytest.mark.parametrize("change", ["argument", "inserted", "renamed behind"])
async def test_what_counts_as_changed(world, change):
    made = []

    async def work(context):
        new = world.life == 2
        await context.step("a", same, 2 if new and change == "argument" else 1)
        if new and change == "inserted":
            await context.step("new", made.append, 1)
        if not (new and change == "renamed behind"):
            await context.step("charge card", same, 5)
        await context.step("b", same, 1)
        await world.crash()
        await context.step("charge", made.append, 5)

    await refused(world, work)
    assert made == []


async def test_the_error_holds_both_sides(world):
    caught = []

    async def work(context):
        await context.step("a", same, 1)
        await world.crash()

    world.handle(work)
    await world.start()
    id = await world.manager.submit("work")
    async with asyncio.timeout(10):
        await world._crash.wait()
    await world.stop()

    async def asks_b(context):
        try:
            await context.step("b", same, 1)
        except JournalMismatch as error:
            caught.append(error)
            raise

    world.handle(asks_b)
    await world.start()
    with pytest.raises(TaskFailed):
        await world.manager.wait(id, timeout=10)
    (error,) = caught
    assert [(one.name, one.used) for one in error.recorded] == [("a", False)]
    assert [(one.name, one.used) for one in error.asked] == [("b", False)]


async def test_a_handler_that_swallows_it_fails_all_the_same(world):
    made = []

    async def work(context):
        try:
            await context.step(f"life {world.life}", same, 1)
        except Exception:
            made.append("swallowed")
        await world.crash()
        return "fine"

    await refused(world, work)
    assert made == ["swallowed"]


async def test_inside_of_a_step(world):
    async def work(context):
        async def outer():
            await context.step(f"inner {world.life}", same, 1)
            await world.crash()

        await context.step("outer", outer)

    assert "in scope '/outer:" in await refused(world, work)


async def test_in_a_thread_of_a_step(world):
    async def work(context):
        def outer():
            context.sync.step(f"inner {world.life}", same, 1)
            wait_for(context.services.loop, world.crash())

        await context.step("outer", outer)

    assert "in scope '/outer:" in await refused(world, work)


async def test_in_a_named_branch(world):
    async def work(context):
        async with context.branch("b"):
            await context.step(f"life {world.life}", same, 1)
        await world.crash()

    assert "in scope '/b'" in await refused(world, work)


async def test_in_a_branch_of_a_gather(world):
    async def work(context):
        async def branch(number):
            await context.step(f"n {number} life {world.life if number == 2 else 0}", same, number)

        await context.gather(*map(branch, range(4)))
        await world.crash()

    assert "in scope '/gather0.2'" in await refused(world, work)


async def test_in_a_synchronous_handler(world):
    def work(context):
        context.sync.step("a", same, world.life)
        wait_for(context.services.loop, world.crash())

    assert "step a (" in await refused(world, work)


# What does not


async def test_bare_branches_and_a_killed_fan_out(world):
    """The first life ends in the middle of a fan-out without scopes, behind a semaphore."""
    made = []

    async def work(context):
        places = asyncio.Semaphore(3)

        async def one(number):
            async with places:
                if world.life == 2:
                    await asyncio.sleep(0.002 * (8 - number))
                return await context.step("n", once, number)

        async def once(number):
            if world.life == 1 and number in (1, 4):
                await world.crash()
            made.append(number)
            return number

        async def enough():
            while len(made) < 5:  # noqa: ASYNC110 - no event of ours
                await asyncio.sleep(0.001)

        found = await asyncio.gather(*map(one, range(8)), *([enough()] if world.life == 1 else []))
        return [found[:8], await context.step("after", same, 1)]

    assert await world.run_twice(work) == [list(range(8)), 1]
    assert len(set(made)) == 8


@pytest.mark.parametrize("how", ["gather", "create_task", "wait_for", "group", "as_completed", "shield"])
async def test_bare_concurrency_of_every_kind(world, how):  # noqa: C901 - one branch for each
    async def late(context, number, wait):
        await asyncio.sleep(wait)  # not a step: replays do not skip it
        return await context.step("n", same, number)

    async def work(context):
        waits = [0.03, 0.001] if world.life == 1 else [0.001, 0.2]
        coroutines = [late(context, number, wait) for number, wait in enumerate(waits)]
        if how == "gather":
            await asyncio.gather(*coroutines)
        elif how == "create_task":
            tasks = [asyncio.create_task(one) for one in coroutines]
            if world.life == 1:
                await asyncio.wait(tasks)
                await world.crash()
            await context.step("meanwhile", same, 1)  # new, and nobody has used the others
            await asyncio.wait(tasks)
        elif how == "wait_for":
            for one in coroutines:
                await asyncio.wait_for(one, 5)
        elif how == "shield":
            for one in coroutines:
                await asyncio.shield(one)
        elif how == "group":
            async with asyncio.TaskGroup() as group:
                for one in coroutines:
                    group.create_task(one)
        else:
            for one in asyncio.as_completed(coroutines):
                number = await one
                await context.step("use", same, number)
                if world.life == 1:
                    await world.crash()
        await world.crash()
        return await context.step("last", same, 1)

    assert await world.run_twice(work) == 1


async def test_branches_that_start_late_and_wait_for_what_is_no_step(world):
    async def work(context):
        ready = asyncio.Event()

        async def behind():
            await ready.wait()
            if world.life == 2:
                await asyncio.sleep(0.7)  # longer than anybody waits before judging
            return await context.step("behind", same, 1)

        task = asyncio.create_task(behind())
        ready.set()
        if world.life == 1:
            await task
            await world.crash()
        first = await context.step("first", same, 2)
        return [first, await task]

    assert await world.run_twice(work) == [2, 1]


async def test_tasks_that_enter_a_branch_of_the_same_name(world):
    async def work(context):
        places = asyncio.Semaphore(1)

        async def one(number):
            async with places, context.branch("same"):
                if world.life == 1 and number == 0:
                    return None
                return await context.step("n", same, number)

        found = await asyncio.gather(*map(one, range(3)))
        await world.crash()
        return found

    assert await world.run_twice(work) == [0, 1, 2]


async def test_a_step_that_failed_and_what_came_instead(world):
    """The failure was not recorded, what the handler did instead was."""
    tries = []

    async def flaky():
        tries.append(world.life)
        if world.life == 1:
            raise ConnectionError("not today")
        return "fresh"

    async def work(context):
        try:
            found = await context.step("flaky", flaky)
        except ConnectionError:
            found = await context.step("instead", same, "stale")
        await world.crash()
        return [found, await context.step("go on", same, 1)]

    assert await world.run_twice(work) == ["fresh", 1]
    assert tries == [1, 2]
    kinds = [(step.key.name, step.kind, step.occurrence) for step in await world.steps()]
    assert ("flaky", "unfinished", -1) in kinds


async def test_a_step_that_was_too_slow(world):
    async def slow():
        await asyncio.sleep(30 if world.life == 1 else 0)
        return "in time"

    async def work(context):
        try:
            async with asyncio.timeout(0.05 if world.life == 1 else 30):
                found = await context.step("slow", slow)
        except TimeoutError:
            found = await context.step("instead", same, "late")
        await world.crash()
        return [found, await context.step("go on", same, 1)]

    assert await world.run_twice(work) == ["in time", 1]


async def test_a_step_that_failed_once_and_is_made_again_later(world):
    tries = []

    def fetch():
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")
        return len(tries)

    async def work(context):
        found = []
        for _ in range(2):
            try:
                found.append(await context.step("fetch", fetch))
            except ValueError:
                found.append(None)
        await context.step("store", same, 1)
        await world.crash()
        return found

    assert await world.run_twice(work, options=QUICK) == [2, 3]


async def test_tries_again_that_were_not_needed_this_time(world):
    connects = []

    async def work(context):
        for _ in range(3):
            await context.step("ask", same, 1)
            connects.append(1)
            if len(connects) > 1:  # what is no step may go otherwise
                break
        await context.step("then", same, 1)
        await world.crash()
        return await context.step("last", same, 1)

    assert await world.run_twice(work) == 1


async def test_a_handler_that_looks_at_its_attempt_may_go_another_way(world):
    async def work(context):
        await context.step(f"attempt {context.attempt}", same, 1)
        if context.attempt < 3:
            raise RuntimeError("again")
        return "done"

    assert await world.run(work, options=TaskOptions(retry_delay=0.001, max_retries=3)) == "done"


async def test_calls_of_libraries_only_warn(world, caplog):
    async def work(context):
        if world.life == 1:
            await world.say("models?")  # asked once in a process, and cached there
        await context.step("a", same, 1)
        await world.crash()
        return await context.step("b", same, 1)

    with caplog.at_level(logging.WARNING, "penstock.journal"):
        assert await world.run_twice(work) == 1
    assert "POST /v1/chat/completions" in caplog.text


async def test_threads_of_a_synchronous_handler(world):
    def work(context):
        def one(number):
            return context.sync.step("n", same, number)

        with ThreadPoolExecutor(4) as threads:
            numbers = list(range(6))
            random.Random(world.life).shuffle(numbers)
            found = sorted(threads.map(one, numbers[: 3 if world.life == 1 else 6]))
        wait_for(context.services.loop, world.crash())
        return [found, context.sync.step("last", same, 1)]

    assert await world.run_twice(work) == [[0, 1, 2, 3, 4, 5], 1]


async def test_more_steps_than_before_are_no_change(world):
    async def work(context):
        await context.step("a", same, 1)
        await world.crash()
        return [await context.step("b", same, number) for number in range(3)]

    assert await world.run_twice(work) == [0, 1, 2]
