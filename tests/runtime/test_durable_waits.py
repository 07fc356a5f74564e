"""Sleep, events, approvals: recorded, suspended, resumed, in virtual time."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from penstock import Manager, Settings, TaskFailed, TaskFilter, TaskOptions, TaskStatus
from penstock.errors import ChildFailed, EventRefused, EventTimeout, StepError, TaskCancelled, TaskNotFound
from penstock.testing import virtually

DAY = 86_400.0


def make_manager(**settings):
    return Manager(Settings(store="memory", seed=1, **settings))


async def status(manager, id):
    return (await manager.get(id)).status


async def until(condition):
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def suspended(manager, *ids):
    """Once these tasks are suspended, and nothing of them is left in memory."""
    while any([await status(manager, id) is not TaskStatus.SUSPENDED for id in ids]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await until(lambda: not manager.node.dispatcher.open)


@virtually
async def test_a_sleep_of_thirty_days():
    runs, manager = [], make_manager()

    async def handler(context):
        runs.append(await context.now())
        await context.sleep(30 * DAY)
        return [await context.now(), runs]

    manager.register("sleeper", handler)
    async with manager:
        begin = manager.clock.wall()
        id = await manager.submit("sleeper")
        await suspended(manager, id)
        assert manager.node.services.slots.taken == 0
        assert manager.clock.wall() - begin < 10
        woke, runs = await manager.wait(id)
        assert 30 * DAY <= woke - begin < 30 * DAY + 10
        assert runs[0] == runs[1]
        assert (await manager.get(id)).claim_no == 2
        assert (await manager.read(lambda reader: reader.totals()))["run_seconds"] < 60


@virtually
async def test_short_sleeps_stay_in_memory_and_give_their_slot():
    manager = make_manager(max_concurrent=1)

    async def handler(context):
        await context.sleep(1.5)
        return context.data

    manager.register("nap", handler)
    async with manager:
        begin = manager.clock.wall()
        ids = [await manager.submit("nap", n) for n in range(20)]
        assert [await manager.wait(id) for id in ids] == list(range(20))
        assert manager.clock.wall() - begin < 2.5
        assert {(await manager.get(id)).claim_no for id in ids} == {1}


@virtually
async def test_a_sleep_until_an_instant_and_one_that_has_passed():
    manager = make_manager()

    async def handler(context):
        begin = context.data
        await context.sleep_until(begin - 5)
        await context.sleep_until(begin + DAY)
        await context.sleep(0)
        return await context.now()

    manager.register("sleeper", handler)
    async with manager:
        begin = manager.clock.wall()
        assert 0 <= await manager.wait(await manager.submit("sleeper", begin)) - begin - DAY < 10


@virtually
async def test_events_before_and_after_they_are_waited_for():
    manager = make_manager()

    async def handler(context):
        await context.sleep(100)
        early = await context.wait_for_event("go")
        later = await context.wait_for_event("go")
        return [early, later]

    manager.register("listener", handler)
    async with manager:
        id = await manager.submit("listener")
        await manager.send_event(id, "go", {"n": 1}, sender="me")
        await suspended(manager, id)
        await asyncio.sleep(200)
        assert await status(manager, id) is TaskStatus.SUSPENDED
        await manager.send_event(id, "other")
        await asyncio.sleep(10)
        assert await status(manager, id) is TaskStatus.SUSPENDED
        await manager.send_event(id, "go", "2")
        assert await manager.wait(id) == [{"n": 1}, "2"]
        with pytest.raises(EventRefused, match="completed"):
            await manager.send_event(id, "go")
        with pytest.raises(TaskNotFound):
            await manager.send_event("nobody", "go")


@virtually
async def test_a_timeout_is_recorded():
    seen, manager = [], make_manager()

    async def handler(context):
        try:
            await context.wait_for_event("go", timeout=60)
        except EventTimeout as error:
            seen.append(str(error))
        await context.sleep(100)
        return await context.wait_for_event("go")

    manager.register("listener", handler)
    async with manager:
        id = await manager.submit("listener")
        await asyncio.sleep(80)
        await manager.send_event(id, "go", "late")  # the branch taken before stays taken
        assert await manager.wait(id) == "late"
        assert seen == ["no event 'go' came in 60 seconds"] * 2


@virtually
async def test_an_approval():
    manager = make_manager()

    async def handler(context):
        decision = await context.approve("Publish?", details={"pages": 3})
        if not decision:
            return f"{decision.by}: {decision.comment}"
        with pytest.raises(EventTimeout, match=r"nobody answered 'More\?' in 5 seconds"):
            await context.approve("More?", name="more", timeout=5)
        return decision.data

    manager.register("report", handler)
    async with manager:
        yes, no = [await manager.submit("report", tenant=tenant) for tenant in ("red", "blue")]
        with pytest.raises(EventRefused, match="asks for no approval"):
            await manager.decide("" + yes, True, name="nothing")
        await suspended(manager, yes, no)
        (asked,) = await manager.approvals("red")
        assert (asked.task_id, asked.question, asked.details) == (yes, "Publish?", {"pages": 3})
        assert len(await manager.approvals()) == 2
        await manager.decide(no, False, by="Ada", comment="not yet")
        await manager.decide(yes, True, data=[1])
        assert [await manager.wait(no), await manager.wait(yes)] == ["Ada: not yet", [1]]
        assert await manager.approvals() == []
        with pytest.raises(EventRefused, match="completed"):
            await manager.decide(yes, True)


@virtually
async def test_branches_are_suspended_together():
    runs, manager = [], make_manager()

    async def handler(context):
        runs.append(1)

        async def branch(n):
            await context.sleep(n * 100)
            return await context.wait_for_event(f"go {n}")

        return await context.gather(branch(1), branch(2), context.sleep(50), context.wait_for_event("go"))

    manager.register("several", handler)
    async with manager:
        id = await manager.submit("several")
        for name in ("go 2", "go", "go 1"):
            await asyncio.sleep(300)
            await suspended(manager, id)
            await manager.send_event(id, name, name)
        assert await manager.wait(id) == ["go 1", "go 2", None, "go"]
        assert len(runs) <= 7


@virtually
async def test_nothing_is_suspended_while_a_branch_works():
    steps, manager = [], make_manager()

    async def work(n):
        await asyncio.sleep(30)
        steps.append(n)
        return n

    async def handler(context):
        async def works():
            return [await context.step("work", work, n) for n in range(3)]

        return await context.gather(works(), context.sleep(DAY), context.wait_for_event("go"))

    manager.register("both", handler)
    async with manager:
        id = await manager.submit("both")
        await asyncio.sleep(80)
        assert await status(manager, id) is TaskStatus.RUNNING
        await suspended(manager, id)
        await manager.send_event(id, "go")
        assert await manager.wait(id) == [[0, 1, 2], None, None]
        assert steps == [0, 1, 2]


@virtually
async def test_two_branches_wait_for_the_same_event():
    manager = make_manager()

    async def handler(context):
        return sorted(await context.gather(*[context.wait_for_event("go") for _ in range(3)]))

    manager.register("several", handler)
    async with manager:
        id = await manager.submit("several")
        for n in range(3):
            await manager.send_event(id, "go", n)
            await asyncio.sleep(60 * n)
        assert await manager.wait(id) == [0, 1, 2]


@virtually
async def test_a_wait_inside_a_step():
    manager = make_manager()

    async def handler(context):
        async def ask():
            first = await context.step("inner", lambda: 1)
            return first + await context.wait_for_event("go")

        return await context.step("outer", ask)

    manager.register("nested", handler)
    async with manager:
        id = await manager.submit("nested")
        await suspended(manager, id)
        await manager.send_event(id, "go", 41)
        assert await manager.wait(id) == 42


@virtually
async def test_synchronous_handlers():
    manager = make_manager(threads=2)

    def handler(context):
        context.sync.sleep(DAY)
        said = [context.sync.wait_for_event("go"), context.sync.approve("Sure?").approved]
        with pytest.raises(ChildFailed):
            context.sync.child("bad", options=TaskOptions(max_retries=0))
        context.sync.check_cancelled()
        return [*said, context.sync.child("kid", 7)]

    def bad(context):
        raise ValueError("no")

    manager.register("plain", handler)
    manager.register("bad", bad)
    manager.register("kid", lambda context: context.data)
    async with manager:
        ids = [await manager.submit("plain") for _ in range(5)]  # more than there are threads
        await suspended(manager, *ids)
        for id in ids:
            await manager.send_event(id, "go", "x")
        while len(asked := await manager.approvals()) < 5:  # noqa: ASYNC110
            await asyncio.sleep(DAY)
        for one in asked:
            await manager.decide(one.task_id, True)
        assert [await manager.wait(id) for id in ids] == [["x", True, 7]] * 5


@virtually
async def test_cancel_ends_waits_in_memory_and_suspended_ones():
    manager = make_manager(suspend_after=60)
    unwound = []

    async def handler(context):
        try:
            await context.wait_for_event("go")
        finally:
            unwound.append(context.data)

    def plain(context):
        try:
            context.sync.wait_for_event("go")
        finally:
            unwound.append(context.data)

    manager.register("listener", handler)
    manager.register("plain", plain)
    async with manager:
        ids = [await manager.submit(type, type) for type in ("listener", "plain")]
        later = await manager.submit("listener", "later")
        await asyncio.sleep(5)
        await manager.cancel(*ids)
        for id in ids:
            with pytest.raises(TaskCancelled):
                await manager.wait(id)
        await until(lambda: len(unwound) == 2)
        await suspended(manager, later)
        await manager.cancel(later)
        with pytest.raises(TaskCancelled):
            await manager.wait(later)
        assert manager._store.verify() == []


@virtually
async def test_a_wait_is_no_run_time():
    manager = make_manager(suspend_after=60)

    async def handler(context):
        await context.wait_for_event("go", timeout=50)

    manager.register("listener", handler, options=TaskOptions(timeout=2.0, max_retries=0))
    async with manager:
        with pytest.raises(TaskFailed, match="event_timeout"):
            await manager.wait(await manager.submit("listener"))


@virtually
async def test_a_resumed_task_keeps_its_rank():
    order, manager = [], make_manager(max_concurrent=1)

    async def old(context):
        await context.wait_for_event("go")
        order.append("old")

    async def young(context):
        await asyncio.sleep(1)
        order.append(context.data)

    manager.register("old", old)
    manager.register("young", young)
    async with manager:
        first = await manager.submit("old")
        await suspended(manager, first)
        ids = [await manager.submit("young", n) for n in range(4)]
        await asyncio.sleep(0.5)
        await manager.send_event(first, "go")
        for id in [first, *ids]:
            await manager.wait(id)
        assert order == [0, "old", 1, 2, 3]


@virtually
async def test_names_and_numbers_that_make_no_sense():
    manager = make_manager()
    odd = [
        lambda context: context.wait_for_event(""),
        lambda context: context.wait_for_event("x" * 201),
        lambda context: context.wait_for_event("approval:x"),
        lambda context: context.approve("?", name="\n"),
    ]
    wrong = [
        lambda context: context.sleep(-1),
        lambda context: context.sleep(float("nan")),
        lambda context: context.wait_for_event("x", timeout=-1),
        lambda context: context.wait_for_event("x", timeout="5"),
        lambda context: context.sleep("5"),
        lambda context: context.sleep(timedelta(seconds=1)),
        lambda context: context.sleep(Decimal(1)),
        lambda context: context.sleep(10**400),
    ]
    no_instant = [
        lambda context: context.sleep_until(math.inf),
        lambda context: context.sleep_until(datetime.now(UTC)),
    ]

    async def handler(context):
        for make in odd:
            with pytest.raises(StepError):
                await make(context)
        for make in wrong:
            with pytest.raises(ValueError, match="number of seconds"):
                await make(context)
        for make in no_instant:
            with pytest.raises(ValueError, match="seconds since the epoch"):
                await make(context)
        return "fine"

    manager.register("odd", handler)
    async with manager:
        id = await manager.submit("odd")
        for name in ("", "x" * 201, "approval:x", 7):
            with pytest.raises(EventRefused):
                await manager.send_event(id, name)
        for data in (object(), "x" * 10_000_001):
            with pytest.raises(EventRefused):
                await manager.send_event(id, "x", data)
        with pytest.raises(EventRefused):
            await manager.decide(id, "yes")
        assert await manager.wait(id) == "fine"


@virtually
async def test_what_comes_for_a_suspended_task_does_not_start_it_in_a_pause():
    manager = make_manager()

    async def handler(context):
        return await context.wait_for_event("go")

    manager.register("listener", handler)
    async with manager:
        id = await manager.submit("listener")
        await suspended(manager, id)
        await manager.pause()
        await manager.send_event(id, "go", 1)
        await asyncio.sleep(100)
        assert await status(manager, id) is TaskStatus.QUEUED
        await manager.resume()
        assert await manager.wait(id) == 1


@virtually
async def test_a_crowd_does_not_stand_in_the_way():
    """More tasks wait than may be open, for others that come later."""
    manager = make_manager(max_open=5, max_concurrent=5)

    async def handler(context):
        return await context.child("kid", context.data)

    async def kid(context):
        await context.sleep(1)
        return context.data

    manager.register("parent", handler)
    manager.register("kid", kid)
    async with manager:
        ids = [await manager.submit("parent", n, priority=40) for n in range(40)]
        assert [await manager.wait(id) for id in ids] == list(range(40))


@virtually
async def test_an_event_taken_by_a_wait_that_is_cancelled_meanwhile_is_not_lost():
    manager = make_manager()

    async def handler(context):
        got = []
        for turns in range(24):
            taken = asyncio.ensure_future(context.wait_for_event("one"))
            for _ in range(turns % 12):
                await asyncio.sleep(0)
            if turns >= 12:
                await asyncio.sleep(0.0003)
            taken.cancel()
            await asyncio.wait([taken])
            if not taken.cancelled():
                got.append(taken.result())
        while len(got) < 5:
            got.append(await context.wait_for_event("one", timeout=5))
        return got

    manager.register("impatient", handler)
    async with manager:
        id = await manager.submit("impatient")
        for n in range(5):
            await manager.send_event(id, "one", n)
        assert await manager.wait(id) == list(range(5))


@virtually
async def test_one_that_was_resumed_by_hand_and_paused_has_nothing_to_be_late_for():
    manager = make_manager()

    async def handler(context):
        return await context.wait_for_event("go", timeout=30 * DAY)

    manager.register("listener", handler)
    async with manager:
        id = await manager.submit("listener")
        await suspended(manager, id)
        where, now = TaskFilter(ids=(id,)), manager.clock.wall()

        def resume_and_pause(store):
            store.resume(where, now)
            store.pause(where, now)

        await manager.node.committer.run(resume_and_pause)
        await manager.send_event(id, "go", 1)
        await manager.resume(where)
        begin = manager.clock.wall()
        assert await manager.wait(id) == 1
        assert manager.clock.wall() - begin < 60


@virtually
async def test_a_wait_in_memory_sees_that_the_clock_was_set():
    manager = make_manager(suspend_after=1e6)

    async def handler(context):
        try:
            await context.wait_for_event("go", timeout=3000)
        except EventTimeout:
            return "late"

    manager.register("listener", handler)
    async with manager:
        id = await manager.submit("listener")
        await asyncio.sleep(2)
        asyncio.get_running_loop().clock.jump_wall(3001.0)
        for _ in range(4):  # the node looks at the clock once a second
            await asyncio.sleep(1)
        assert await status(manager, id) is TaskStatus.COMPLETED
