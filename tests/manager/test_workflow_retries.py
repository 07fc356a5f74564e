"""Workflows that are tried again or forked: what was done stays done, and nothing of it is paid again."""

import asyncio
import contextlib
import threading
from decimal import Decimal

import pytest

from penstock.errors import InvalidTask, TaskCancelled, TaskFailed
from penstock.model.states import TaskStatus
from penstock.stores.contract import TaskFilter
from penstock.testing import Harness, SimulatedProvider

PRICES = {"m": "1,2"}
# 5 tokens of prompt and 50 of output, in USD.
TRUE_COST = Decimal("0.000105")


@pytest.fixture
def provider():
    with SimulatedProvider() as running:
        yield running


@pytest.fixture
async def manager(provider):
    async with provider.manager(prices=PRICES) as made:
        made.done = []
        made.broken = {"broken"}

        async def work(context):
            """Fails where its name says so; a step of it is recorded all the same."""
            name = context.metadata["node"]
            await context.step("part", lambda: made.done.append(f"{name} part"))
            if name in made.broken:
                raise InvalidTask(f"{name} is broken")
            made.done.append(name)
            return {"by": name, "of": context.data}

        async def undo(context):
            made.done.append(f"undo {context.data}")

        made.register_type("work", work)
        made.register_type("undo", undo)
        yield made


def node(id, *after, type="work", **rest):
    return {"id": id, "type": type, "data": {one: {"$result": one} for one in after}, **rest}


async def ended(run):
    try:
        return await run.result(20)
    except (TaskFailed, TaskCancelled) as error:
        return error


async def again(manager, run, **how):
    manager.done.clear()
    return manager.workflow(await manager.retry_task(run.id, **how))


def verified(manager):
    assert manager.engine.node.store.verify() == []


async def test_what_completed_is_taken_over_with_its_result(manager):
    nodes = [node("a"), node("b", "a"), node("broken", "b"), node("last", "a", "broken")]
    run = await manager.run({"nodes": nodes})
    assert "node 'broken' failed (invalid_task)" in str(await ended(run))
    manager.broken.clear()
    second = await again(manager, run)
    result = await second.result(20)
    assert manager.done == ["broken", "last part", "last"]  # the step of `broken` was recorded
    a = {"by": "a", "of": {}}
    broken = {"by": "broken", "of": {"b": {"by": "b", "of": {"a": a}}}}
    assert result == {"by": "last", "of": {"a": a, "broken": broken}}
    told = second.progress()
    assert (told.total, told.completed, told.fraction) == (4, 4, 1.0)
    old = {one.node: one.id for one in await run.nodes()}
    new = {one.node: manager.get_task(one.id) for one in await second.nodes()}
    assert new["a"].result == a
    assert new["a"].task_id != old["a"]
    assert "critical path" in (await second.analysis()).as_text()
    verified(manager)


async def test_fresh_runs_everything_and_a_retry_of_that_takes_over_again(manager):
    run = await manager.run({"nodes": [node("a"), node("broken", "a")]})
    await ended(run)
    second = await again(manager, run, fresh=True)
    await ended(second)
    assert manager.done == ["a part", "a", "broken part"]
    manager.broken.clear()
    third = await again(manager, second)
    await third.result(20)
    assert manager.done == ["broken"]


async def test_a_retry_that_never_began_is_passed_over(manager):
    run = await manager.run({"nodes": [node("a"), node("broken", "a")], "budget": 1})
    await ended(run)
    manager.pause()
    second = await again(manager, run)
    await second.cancel()
    manager.resume()
    manager.broken.clear()
    third = await again(manager, second)
    await third.result(20)
    assert manager.done == ["broken"]


async def test_cancelled_workflows_too(manager):
    async def hold(context):
        await context.step("asked", manager.done.append, "asked")
        return await context.wait_for_event("go")

    manager.register_type("hold", hold)
    run = await manager.run({"nodes": [node("a"), node("held", "a", type="hold"), node("c", "held")]})
    await until(lambda: "asked" in manager.done)
    await run.cancel()
    assert isinstance(await ended(run), TaskCancelled)
    second = await again(manager, run)
    held = (await _nodes(second, 3))["held"]
    await manager.send_event(held.id, "go", 7)
    assert (await second.result(20))["of"] == {"held": 7}
    assert manager.done == ["c part", "c"]


async def _nodes(run, count):
    def begun():
        view = run._engine.peek(lambda reader: reader.task(run.id))
        group = run._engine.peek(lambda reader: reader.group(view.seq))
        return group is not None and group.total >= count

    await until(begun)
    return {one.node: one for one in await run.nodes()}


async def until(condition):
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def test_what_was_undone_is_done_again_with_all_that_needs_it(manager):
    undo = {"type": "undo", "data": "a"}
    nodes = [
        node("a", compensate=undo),
        node("b", "a"),
        node("c", on_failure="continue"),
        node("broken", "b", "c"),
    ]
    run = await manager.run({"nodes": nodes})
    await ended(run)
    assert "undo a" in manager.done
    manager.broken.clear()
    second = await again(manager, run)
    await second.result(20)
    assert sorted(manager.done) == sorted(["a part", "a", "b part", "b", "broken part", "broken"])


async def test_a_second_failure_undoes_what_was_taken_over_in_the_order_of_its_ends(manager):
    def undone(id):
        return {"type": "undo", "data": id}

    # Cancelled: nothing was undone. In the definition b stands before a, but it ended after it.
    nodes = [
        node("b", "a", compensate=undone("b")),
        node("a", compensate=undone("a")),
        node("held", "b", type="hold"),
        node("broken", "held"),
    ]

    async def hold(context):
        return await context.wait_for_event("go")

    manager.register_type("hold", hold)
    run = await manager.run({"nodes": nodes})
    await _until_suspended(manager, run, "held")
    await run.cancel()
    await ended(run)
    second = await again(manager, run)
    await manager.send_event((await _nodes(second, 4))["held"].id, "go")
    await ended(second)
    assert manager.done == ["broken part", "undo b", "undo a"]


async def _until_suspended(manager, run, name):
    held = (await _nodes(run, 1))[name]
    late = (TaskStatus.SUSPENDED, TaskStatus.RUNNING)
    await until(lambda: manager.engine.peek(lambda reader: reader.task(held.id)).status in late)


async def test_who_made_the_workflow_grow_does_it_again(manager):
    async def adds(context):
        manager.done.append("adds")
        await context.grow([{"id": "x", "type": "work"}, {"id": "broken", "type": "work", "after": ["x"]}])
        return "added"

    manager.register_type("adds", adds)
    run = await manager.run({"nodes": [node("a"), node("adds", "a", type="adds"), node("z", "a")]})
    await ended(run)
    manager.broken.clear()
    second = await again(manager, run)
    await second.result(20)
    assert [one for one in manager.done if not one.endswith("part")] == ["adds", "x", "broken"]
    assert second.progress().total == 5
    verified(manager)


async def test_workflows_within_it_go_on_too(manager):
    within = {"$literal": {"nodes": [node("i"), node("broken", "i")]}}
    inner = {"id": "inner", "type": "workflow", "data": within, "after": ["a"]}
    run = await manager.run({"nodes": [node("a"), inner]})
    await ended(run)
    manager.broken.clear()
    second = await again(manager, run)
    await second.result(20)
    assert manager.done == ["broken"]


async def test_with_places_and_large_results(manager):
    async def large(context):
        return "x" * 50_000

    manager.register_type("large", large)
    nodes = [node(f"l{number}", type="large") for number in range(4)]
    run = await manager.run({"nodes": [*nodes, node("broken", "l0", "l3")], "max_concurrent": 2})
    await ended(run)
    manager.broken.clear()
    second = await again(manager, run)
    assert (await second.result(20))["broken"]["of"]["l3"] == "x" * 50_000
    assert manager.done == ["broken"]
    verified(manager)
    await manager.cleanup_old_tasks(0)
    verified(manager)


# Money


def call(id, **rest):
    data = {"prompt": f"hello {id}", "max_tokens": 50, "model": "m"}
    return {"id": id, "type": "llm_call", "data": data, "retry_delay": 0, **rest}


def chain(count, **terms):
    nodes = [call(f"n{number}", after=[f"n{number - 1}"] if number else []) for number in range(count)]
    return {"name": "flow", "nodes": nodes, **terms}


async def test_a_used_up_budget_is_raised_and_nothing_is_paid_again(manager, provider):
    run = await manager.run(chain(5, budget="0.00025"))
    error = str(await ended(run))
    assert "budget_exhausted" in error
    assert f"penstock workflow budget {run.id} --budget USD" in error
    assert f"penstock retry {run.id}" in error
    assert len(provider.calls) == 2
    # What was spent counts: without more money it goes no further.
    second = await again(manager, run)
    assert "budget_exhausted" in str(await ended(second))
    assert (len(provider.calls), second.spending().spent) == (2, 2 * TRUE_COST)
    # The failed one is raised, as is said, or the new one.
    await second.adjust_budget(budget="0.00045")
    third = await again(manager, second)
    assert "budget_exhausted" in str(await ended(third))
    assert len(provider.calls) == 4
    manager.pause()
    fourth = await again(manager, third)
    await fourth.adjust_budget(budget=1)
    manager.resume()
    await fourth.result(20)
    assert len(provider.calls) == 5
    assert fourth.spending().spent == 5 * TRUE_COST
    # Anew, all of it is paid again, out of a whole budget.
    with pytest.raises(InvalidTask, match="only failed and cancelled"):
        await manager.retry_task(fourth.id, fresh=True)
    fifth = await again(manager, third, fresh=True)
    await ended(fifth)
    assert (len(provider.calls), fifth.spending().spent) == (9, 4 * TRUE_COST)
    verified(manager)


async def test_over_a_crash_and_the_budget_of_a_workflow_around(provider):
    async with Harness(provider.manager(prices=PRICES, max_concurrent=2)) as harness:
        inner = {"id": "inner", "type": "workflow", "data": chain(4)}
        run = await harness.manager.run({"nodes": [call("first"), inner], "budget": "0.00036"})
        await harness.drain()
        assert len(provider.calls) == 3
        await run.adjust_budget(budget=1)
        second = harness.manager.workflow(await harness.manager.retry_task(run.id))
        await harness.crash_and_restart(after_steps=1)
        await harness.drain()
        assert second.progress().completed == 2
        assert second.spending().spent == 5 * TRUE_COST + Decimal("0.000001")  # `first` is a token longer
        assert 5 <= len(provider.calls) <= 6  # what was in flight at the crash


# Forks


async def test_a_fork_takes_over_what_stands_before_a_node(manager):
    nodes = [
        node("a", compensate={"type": "undo", "data": "a"}),
        node("b", "a"),
        node("c", "b"),
        node("d", "a"),
    ]
    run = await manager.run({"nodes": nodes, "output": ["c", "d"]})
    first = await run.result(20)
    manager.done.clear()
    fork = manager.workflow(await manager.fork_task(run.id, "b"))
    assert await fork.result(20) == first
    assert manager.done == ["b part", "b", "c part", "c"]
    manager.done.clear()
    manager.broken.add("c")
    failing = manager.workflow(await manager.fork_task(run.id, "c"))
    await ended(failing)
    assert manager.done == ["c part"]  # it is not for a fork to undo what another run did
    manager.broken.clear()
    third = await again(manager, failing)
    await third.result(20)
    assert manager.done == ["c"]
    verified(manager)


async def test_forks_that_make_no_sense_are_refused(manager):
    run = await manager.run({"nodes": [node("a"), node("b", "a")]})
    await run.result(20)
    for step, why in (("c", "has no node 'c'; name the node .*: a, b"), (1, "name the node from which on")):
        with pytest.raises(InvalidTask, match=why):
            await manager.fork_task(run.id, step)
    with pytest.raises(InvalidTask, match="other data"):
        await manager.fork_task(run.id, "a", {"nodes": []})
    assert len(manager.list_tasks(TaskFilter(types=("workflow",)))) == 1


async def test_nodes_of_a_cancelled_run_end_before_it_is_tried_again(manager):
    go = threading.Event()

    async def slow(context):
        await context.step("paid", manager.done.append, "paid")
        while not go.is_set():  # it does not hear of the cancel at once
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return await context.step("more", lambda: manager.done.append("more"))

    manager.register_type("slow", slow)
    inner = {"id": "inner", "type": "workflow", "data": {"$literal": {"nodes": [node("i", type="slow")]}}}
    run = await manager.run({"nodes": [node("a"), node("slow", "a", type="slow"), inner]})
    await until(lambda: manager.done.count("paid") == 2)
    await run.cancel()
    assert isinstance(await ended(run), TaskCancelled)
    second = await again(manager, run)
    await until(lambda: manager.get_task(second.id).status is TaskStatus.SUSPENDED)
    go.set()
    await second.result(20)
    assert sorted(manager.done) == ["more", "more"]  # what was paid before the cancel is not paid again
    verified(manager)


async def test_a_retry_of_a_fork_does_not_undo_what_another_run_did(manager):
    nodes = [
        node("a", compensate={"type": "undo", "data": "a"}),
        node("b", "a", compensate={"type": "undo", "data": "b"}),
        node("broken", "b"),
    ]
    manager.broken.clear()
    run = await manager.run({"nodes": nodes})
    await run.result(20)
    manager.broken.add("broken")
    fork = manager.workflow(await manager.fork_task(run.id, "b"))
    await ended(fork)
    second = await again(manager, fork)
    await ended(second)
    assert manager.done == ["b part", "b", "broken part", "undo b"]


async def test_a_fork_of_a_fork_that_never_began_runs_both_anew(manager):
    manager.broken.clear()
    run = await manager.run({"nodes": [node("a"), node("b"), node("broken", "b"), node("c")]})
    await run.result(20)
    manager.done.clear()
    manager.pause()
    first = manager.workflow(await manager.fork_task(run.id, "b"))
    second = manager.workflow(await manager.fork_task(first.id, "c"))
    await first.cancel()
    manager.resume()
    await second.result(20)
    assert sorted(manager.done) == ["b", "b part", "broken", "broken part", "c", "c part"]


async def test_a_child_that_is_still_being_cancelled_is_started_again(manager):
    go = asyncio.Event()

    async def child(context):
        manager.done.append("child")
        try:
            await go.wait()
        except asyncio.CancelledError:
            await go.wait()  # the cancel takes its time
            raise
        return "by the child"

    async def parent(context):
        return await context.child("child")

    manager.register_type("child", child)
    manager.register_type("parent", parent)
    run = await manager.run({"nodes": [node("p", type="parent")]})
    await until(lambda: "child" in manager.done)
    await _until_suspended(manager, run, "p")
    await run.cancel()
    await ended(run)
    second = await again(manager, run)
    await until(lambda: "child" in manager.done)
    go.set()
    assert await second.result(20) == "by the child"
    verified(manager)


async def test_what_one_retry_undid_another_does_not_take_over(manager):
    nodes = [
        node("a", compensate={"type": "undo", "data": "a"}),
        node("held", "a", type="hold"),
        node("b", "held"),
    ]

    async def hold(context):
        return await context.wait_for_event("go")

    manager.register_type("hold", hold)
    run = await manager.run({"nodes": nodes})
    await _until_suspended(manager, run, "held")
    await run.cancel()
    await ended(run)
    manager.broken.add("b")
    second = await again(manager, run)
    await manager.send_event((await _nodes(second, 3))["held"].id, "go")
    await ended(second)
    assert manager.done == ["b part", "undo a"]
    manager.broken.clear()
    third = await again(manager, run)  # the first once more, not the second
    await _until_suspended(manager, third, "held")
    await manager.send_event((await _nodes(third, 3))["held"].id, "go")
    await third.result(20)
    assert manager.done == ["a part", "a", "b part", "b"]


async def test_what_undoes_a_node_ends_before_the_node_runs_again(manager):
    go = asyncio.Event()

    async def slow_undo(context):
        manager.done.append("undoing")
        while not go.is_set():  # it does not hear of the cancel at once
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()
        manager.done.append("undone")

    manager.register_type("slow undo", slow_undo)
    nodes = [node("a", compensate={"type": "slow undo", "data": None}), node("broken", "a")]
    run = await manager.run({"nodes": nodes})
    await until(lambda: "undoing" in manager.done)
    await manager.cancel_task(run.id)
    assert isinstance(await ended(run), TaskCancelled)
    manager.broken.clear()
    second = await again(manager, run)
    await until(lambda: manager.get_task(second.id).status is TaskStatus.SUSPENDED)
    go.set()
    await second.result(20)
    assert manager.done == ["undone", "a part", "a", "broken part", "broken"]
