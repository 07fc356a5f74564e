"""Child tasks: submitted once, waited for, cancelled with their parents."""

import asyncio

import pytest

from penstock import (
    InvalidTask,
    Manager,
    Settings,
    TaskCancelled,
    TaskFailed,
    TaskFilter,
    TaskOptions,
    TaskStatus,
)
from penstock.errors import ChildFailed
from penstock.testing import Harness, SimulatedProvider, virtually

DAY = 86_400.0
ONCE = TaskOptions(max_retries=0)


def make_manager(**settings):
    return Manager(Settings(store="memory", seed=1, **settings))


async def kid(context):
    await context.sleep(context.data["seconds"])
    if context.data.get("fails"):
        raise ValueError("no luck")
    return context.data["n"] * 2


@virtually
async def test_gather_over_children_and_what_they_inherit():
    manager = make_manager(max_concurrent=3)

    async def parent(context):
        kids = [await context.start_child("kid", {"n": n, "seconds": 600 * n}) for n in range(5)]
        results = await context.gather(*[one.result() for one in kids])
        return [context.deadline, results, [one.id for one in kids]]

    manager.register("parent", parent)
    manager.register("kid", kid)
    async with manager:
        id = await manager.submit("parent", tenant="red", priority=35, slo_seconds=DAY)
        deadline, results, ids = await manager.wait(id)
        assert results == [0, 2, 4, 6, 8]
        views = [await manager.get(one) for one in ids]
        assert {(v.tenant, v.priority, v.program, v.deadline) for v in views} == {("red", 35, id, deadline)}
        assert deadline is not None
        seq = (await manager.get(id)).seq
        assert await manager.read(lambda reader: reader.children(seq)) == [(one, False) for one in ids]
        assert (await manager.get(id)).claim_no <= 6


@virtually
async def test_failures_of_children():
    manager = make_manager()
    seen = []

    async def parent(context):
        try:
            await context.child("kid", {"n": 1, "seconds": 100, "fails": True}, options=ONCE)
        except ChildFailed as error:
            seen.append((error.error["code"], "no luck" in str(error)))
        await context.sleep(10)
        with pytest.raises(InvalidTask, match="unheard of"):
            await context.child("kid", {}, **{"unheard of": 1})
        with pytest.raises(InvalidTask, match="must be kept"):
            await context.start_child("kid", {}, options=TaskOptions(keep=False))
        return await context.child("kid", {"n": 1, "seconds": 100, "fails": True}, key="again", options=ONCE)

    manager.register("parent", parent)
    manager.register("kid", kid)
    async with manager:
        id = await manager.submit("parent")
        with pytest.raises(TaskFailed, match="child_failed"):
            await manager.wait(id)
        assert seen == [("handler_error", True)] * 3
        tasks = await manager.read(lambda reader: reader.tasks(TaskFilter(types=("kid",))))
        assert len(tasks) == 2

        # A retry starts again what came to nothing, and no more.
        with pytest.raises(TaskFailed):
            await manager.wait(await manager.retry(id))
        tasks = await manager.read(lambda reader: reader.tasks(TaskFilter(types=("kid",))))
        assert len(tasks) == 4


@virtually
async def test_children_go_with_their_parent():
    manager = make_manager()

    async def parent(context):
        await context.start_child("kid", {"n": 1, "seconds": DAY}, detached=True)
        await context.start_child("kid", {"n": 2, "seconds": DAY})  # suspended
        await context.start_child("busy")  # running
        await context.start_child("kid", {"n": 3, "seconds": 1}, delay=DAY)  # waiting
        await context.wait_for_event("go")

    async def busy(context):
        await asyncio.sleep(DAY)

    manager.register("parent", parent)
    manager.register("kid", kid)
    manager.register("busy", busy)
    async with manager:
        id = await manager.submit("parent")
        await asyncio.sleep(60)
        seq = (await manager.get(id)).seq
        detached, *ids = [one for one, _ in await manager.read(lambda reader: reader.children(seq))]
        await manager.cancel(id)
        for one in [id, *ids]:
            with pytest.raises(TaskCancelled):
                await manager.wait(one)
        assert (await manager.get(detached)).status is TaskStatus.SUSPENDED
        assert await manager.wait(detached) == 2
        assert manager._store.verify() == []


@virtually
async def test_a_child_is_submitted_once_wherever_the_process_dies():
    """Killed after each record in turn, and once more in the middle of the rest."""
    records = 9  # three starts, three naps and three results
    with SimulatedProvider() as provider:
        for steps in range(1, records + 1):
            manager = provider.manager()

            async def parent(context):
                first = await context.child("kid", {"n": 1, "seconds": 0})
                others = [context.child("kid", {"n": n, "seconds": 0.5}) for n in (2, 3)]
                return [first, *await context.gather(*others)]

            manager.register_type("parent", parent)
            manager.register_type("kid", kid)
            async with Harness(manager) as harness:
                id = await manager.submit_task("parent")
                await harness.crash_and_restart(after_steps=steps)
                if records - steps > 1:
                    await harness.crash_and_restart(after_steps=(records - steps) // 2)
                await harness.run_out()
                assert manager.get_task(id).result == [2, 4, 6]
                kids = manager.engine.peek(lambda reader: reader.tasks(TaskFilter(types=("kid",))))
                assert len(kids) == 3


@virtually
async def test_a_start_that_is_cancelled_half_way_is_no_second_child():
    manager = make_manager()

    async def parent(context):
        for turns in range(8):
            start = asyncio.ensure_future(context.start_child("kid", {"n": 1, "seconds": 0}))
            for _ in range(turns):
                await asyncio.sleep(0)
            start.cancel()
            await asyncio.wait([start])
            if not start.cancelled():
                break
        return await context.child("kid", {"n": 1, "seconds": 0}) if start.cancelled() else 2

    manager.register("parent", parent)
    manager.register("kid", kid)
    async with manager:
        assert await manager.wait(await manager.submit("parent")) == 2
        kids = await manager.read(lambda reader: reader.tasks(TaskFilter(types=("kid",))))
        assert len(kids) == 1


@virtually
async def test_a_family_of_any_depth_is_cancelled():
    manager = make_manager(suspend_after=0.0)
    depth = 500

    async def parent(context):
        if context.data == 0:
            await context.wait_for_event("never")
        await context.child("parent", context.data - 1)

    manager.register("parent", parent)
    async with manager:
        id = await manager.submit("parent", depth)
        where = TaskFilter(types=("parent",), statuses=(TaskStatus.SUSPENDED,))
        while len(await manager.read(lambda reader: reader.tasks(where, limit=depth + 1))) <= depth:  # noqa: ASYNC110
            await asyncio.sleep(1)
        assert (await manager.cancel(id))[id]
        assert await manager.read(lambda reader: reader.tasks(where)) == []
        assert manager._store.verify() == []


@virtually
async def test_parents_that_wait_in_bare_tasks_leave_when_no_more_may_be_open():
    manager = make_manager(max_open=2)

    async def parent(context):
        kids = (context.child("kid", {"n": n, "seconds": 0}) for n in (1, 2))
        return await asyncio.gather(*kids)

    manager.register("parent", parent)
    manager.register("kid", kid)
    async with manager:
        ids = [await manager.submit("parent") for _ in range(4)]
        async with asyncio.timeout(600):
            assert [await manager.wait(id) for id in ids] == [[2, 4]] * 4
        assert len(await manager.read(lambda reader: reader.tasks(TaskFilter(types=("kid",))))) == 8


@virtually
async def test_a_child_that_there_was_already_has_a_result():
    manager = make_manager()

    async def parent(context):
        return await context.child("echo", 7, idempotency_key=context.data)

    manager.register("parent", parent, options=ONCE)
    manager.register("echo", lambda context: context.data)
    async with manager:
        await manager.wait(await manager.submit("echo", 7, idempotency_key="kept"))
        assert await manager.wait(await manager.submit("parent", "kept")) == 7
        options = TaskOptions(keep=False)
        await manager.wait(await manager.submit("echo", 7, idempotency_key="lost", options=options))
        with pytest.raises(TaskFailed, match="whose result is not kept"):
            await manager.wait(await manager.submit("parent", "lost"))


@virtually
async def test_what_was_not_kept_is_not_tried_again_without_its_data():
    manager = make_manager()

    async def fail(context):
        raise ValueError(context.data)

    manager.register("fail", fail, options=TaskOptions(max_retries=0, keep=False))
    async with manager:
        id = await manager.submit("fail", 7)
        with pytest.raises(TaskFailed):
            await manager.wait(id)
        with pytest.raises(InvalidTask, match="were not kept"):
            await manager.retry(id)


@virtually
async def test_a_task_is_not_its_own_child():
    manager = make_manager()

    async def parent(context):
        await context.child("parent", unique_key="one")

    manager.register("parent", parent, options=ONCE)
    async with manager:
        with pytest.raises(TaskFailed, match="its own child"):
            await manager.wait(await manager.submit("parent", unique_key="one"))


@virtually
async def test_a_child_that_there_was_already_is_kept_for_who_waits():
    manager = make_manager()

    async def parent(context):
        child = await context.start_child("echo", 7, idempotency_key="one")
        await context.wait_for_event("go")
        return await child.result()

    manager.register("parent", parent)
    manager.register("echo", lambda context: context.data)
    async with manager:
        await manager.wait(await manager.submit("echo", 7, idempotency_key="one"))
        id = await manager.submit("parent")
        while (await manager.get(id)).status is not TaskStatus.SUSPENDED:  # noqa: ASYNC110
            await asyncio.sleep(1)
        assert await manager.clean_up(-DAY) == 0
        await manager.send_event(id, "go")
        assert await manager.wait(id) == 7
        assert await manager.clean_up(-DAY) == 2


async def test_a_list_given_to_gather_is_refused_in_words(world):
    async def work(context):
        await context.gather([1, 2])

    with pytest.raises(TaskFailed, match=r"gather\(\*branches\), not \[1, 2\]"):
        await world.run(work, options=TaskOptions(max_retries=0))


def _shared(manager, ran):
    """Two parents that want the same child; its id."""

    async def child(context):
        ran.append(await context.wait_for_event("go"))
        if ran[-1] == "fail":
            raise ValueError("no luck")
        return ran[-1]

    async def parent(context):
        started = await context.start_child("child", unique_key="one", detached=context.data == "detached")
        return await started.result()

    manager.register("child", child, options=ONCE)
    manager.register("parent", parent, options=ONCE)


async def _suspended(manager, id):
    while (await manager.get(id)).status is not TaskStatus.SUSPENDED:  # noqa: ASYNC110
        await asyncio.sleep(1)


async def _kin(manager, *data):
    """The parents, one after the other, and the child that they have together."""
    parents = []
    for one in data:
        parents.append(await manager.submit("parent", one))
        await _suspended(manager, parents[-1])
    [child] = await manager.read(lambda reader: reader.tasks(TaskFilter(types=("child",))))
    await _suspended(manager, child.id)
    return [*parents, child.id]


@virtually
@pytest.mark.parametrize("second", ["attached", "detached"])
async def test_a_child_of_two_lives_as_long_as_one_of_them(second):
    manager, ran = make_manager(), []
    _shared(manager, ran)
    async with manager:
        first, other, child = await _kin(manager, "attached", second)
        await manager.cancel(first)
        assert (await manager.get(child)).status is TaskStatus.SUSPENDED
        await manager.send_event(child, "go", 7)
        assert await manager.wait(other) == 7
        assert manager.node.store.verify() == []
        assert await manager.clean_up(-DAY) == 3
        assert manager.node.store.verify() == []


@virtually
@pytest.mark.parametrize(("kinds", "ended"), [("aaa", True), ("aad", False), ("da", False)])
async def test_and_is_cancelled_with_the_last_that_did_not_detach_it(kinds, ended):
    manager, ran = make_manager(), []
    _shared(manager, ran)
    async with manager:
        *parents, child = await _kin(manager, *[{"a": "attached", "d": "detached"}[one] for one in kinds])
        for parent in parents:
            assert (await manager.get(child)).status is TaskStatus.SUSPENDED
            await manager.cancel(parent)
        assert ((await manager.get(child)).status is TaskStatus.CANCELLED) is ended
        assert manager.node.store.verify() == []


@virtually
async def test_parents_that_are_cancelled_together_take_it_along():
    manager, ran = make_manager(), []
    _shared(manager, ran)
    async with manager:
        first, second, child = await _kin(manager, "attached", "attached")
        await manager.cancel(first, second)
        assert (await manager.get(child)).status is TaskStatus.CANCELLED


@virtually
async def test_a_retry_of_the_second_parent_starts_the_failed_child_again():
    manager, ran = make_manager(), []
    _shared(manager, ran)
    async with manager:
        first, second, child = await _kin(manager, "attached", "attached")
        await manager.send_event(child, "go", "fail")
        for parent in (first, second):
            with pytest.raises(TaskFailed):
                await manager.wait(parent)
        again = await manager.retry(second)
        await _suspended(manager, again)
        children = await manager.read(lambda reader: reader.tasks(TaskFilter(types=("child",))))
        assert len(children) == 2
        await manager.send_event(children[0].id, "go", 8)
        assert await manager.wait(again) == 8
