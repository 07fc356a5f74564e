"""Budgets of workflows that are changed while they run, before they begin and before they are tried again."""

import asyncio
from decimal import Decimal

import pytest

from penstock import SyncTaskManager
from penstock.errors import InvalidTask, TaskFailed, TaskNotFound
from penstock.manager.store_client import StoreClient
from penstock.model.states import TaskStatus
from penstock.simulator.config import Latency, SimulatorConfig
from penstock.testing import Harness, SimulatedProvider, virtually

PRICES = {"m": "1,2", "free": "0,0"}
# 5 tokens of prompt (the first estimate is a little higher) and 50 of output, in USD.
TRUE_COST = Decimal("0.000105")


@pytest.fixture
def provider():
    with SimulatedProvider() as running:
        yield running


@pytest.fixture
async def manager(provider):
    async with provider.manager(prices=PRICES) as made:
        yield made


def call(id, **rest):
    data = {"prompt": f"hello {id}", "max_tokens": 50, "model": "m"}
    return {"id": id, "type": "llm_call", "data": data, "retry_delay": 0, **rest}


def parallel(count, **terms):
    nodes = [call(f"n{number}") for number in range(count)]
    return {"name": "flow", "nodes": nodes, "output": [one["id"] for one in nodes], **terms}


async def until(condition, patience=20.0):
    for _ in range(int(patience / 0.05)):
        if found := condition():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


async def ended(run):
    try:
        return await run.result(30)
    except TaskFailed as error:
        return error


def waiting(manager):
    return [wait.key for wait in manager.engine.peek(lambda reader: reader.waits())]


@virtually
async def test_calls_that_wait_for_a_budget_go_on_when_it_is_raised():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=20.0))) as provider:
        async with provider.manager(prices=PRICES, requests_per_minute=600) as manager:
            run = await manager.run(parallel(3, budget="0.00033", max_tokens=10_000))
            await until(lambda: waiting(manager) == [f"budget of workflow {run.id}"])
            assert len(provider.calls) == 2
            told = await run.adjust_budget(budget=Decimal("0.5"))
            assert (told.budget, told.spent, told.max_tokens) == (Decimal("0.5"), 0, 10_000)
            await until(lambda: len(provider.calls) == 3)  # long before the others have ended
            assert run.progress().completed == 0
            await run.result(300)
            assert run.spending().spent == 3 * TRUE_COST


@virtually
async def test_tokens_likewise_and_no_limit_at_all():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=20.0))) as provider:
        async with provider.manager(prices=PRICES, requests_per_minute=600, max_concurrent=9) as manager:
            run = await manager.run(parallel(6, max_tokens=230))
            await until(lambda: f"max_tokens of workflow {run.id}" in waiting(manager))
            assert len(provider.calls) == 3
            await run.adjust_budget(max_tokens=290)
            await until(lambda: len(provider.calls) == 4)
            await run.adjust_budget(max_tokens=None)
            await until(lambda: len(provider.calls) == 6)
            assert run.spending().max_tokens is None


@virtually
async def test_a_budget_is_lowered_to_what_is_spent_and_held_at_most():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=20.0))) as provider:
        async with provider.manager(prices=PRICES, requests_per_minute=600, max_concurrent=2) as manager:
            flow = parallel(4, budget=1, max_tokens=10_000, on_failure="continue")
            run = await manager.run(flow)
            await until(lambda: len(provider.calls) == 2)
            with pytest.raises(InvalidTask, match=r"0 USD are spent and 0\.00022\d USD held .* at least 0"):
                await run.adjust_budget(budget="0.0002")
            with pytest.raises(
                InvalidTask, match=r"0 are used and (1\d\d) held .* at least \1, or cancel it"
            ):
                await run.adjust_budget(max_tokens=110)
            assert run.spending().budget == 1
            await run.adjust_budget(budget="0.00023")
            await ended(run)
            assert len(provider.calls) == 2  # the others fit no more when the first two had ended
            assert (run.progress().completed, run.progress().failed) == (2, 2)
            assert run.spending().spent == 2 * TRUE_COST


async def test_nothing_goes_past_a_budget_that_is_lowered_among_calls():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=0.01))) as provider:
        async with provider.manager(prices=PRICES, max_concurrent=4) as manager:
            run = await manager.run(parallel(120, budget=1, on_failure="continue"))

            def counted():
                told = run.spending()  # first: what is held meanwhile and settled then counts once
                held, _ = manager.engine.peek(lambda reader: reader.held_of_budget(run.id))
                return told.spent + told.uncertain + Decimal(held) / 10**12

            await until(lambda: len(provider.calls) > 4)
            while run.progress().open > 20:
                lowered = counted() + Decimal("0.00012")
                try:
                    await run.adjust_budget(budget=lowered)
                except InvalidTask:  # more was spent meanwhile
                    continue
                for _ in range(5):
                    assert counted() <= lowered
                    await asyncio.sleep(0)
                await run.adjust_budget(budget=1)
            await ended(run)


@virtually
async def test_a_change_is_whole_though_its_caller_is_cancelled():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=20.0))) as provider:
        async with provider.manager(prices=PRICES, requests_per_minute=600) as manager:
            run = await manager.run(parallel(3, budget="0.00033"))
            await until(lambda: waiting(manager) == [f"budget of workflow {run.id}"])
            change = asyncio.create_task(run.adjust_budget(budget=1))
            await asyncio.sleep(0)
            change.cancel()
            with pytest.raises(asyncio.CancelledError):
                await change
            assert run.spending().budget == 1
            await until(lambda: len(provider.calls) == 3)  # long before the others have ended
            assert run.progress().completed == 0


async def test_what_cannot_be_changed_says_why(manager):
    run = await manager.run(parallel(1, budget=1))
    for amounts, why in (
        ({}, "give budget, max_tokens or both"),
        ({"budget": -1}, "budget must be US dollars from 0"),
        ({"budget": "much"}, "budget: 'much' is no amount of money"),
        ({"budget": True}, "budget: True is no amount of money"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1"),
        ({"max_tokens": 1.5}, "max_tokens must be a whole number"),
        ({"max_tokens": "9"}, "max_tokens must be a whole number"),
    ):
        with pytest.raises(InvalidTask, match=why):
            await run.adjust_budget(**amounts)
    await run.result(20)
    with pytest.raises(InvalidTask, match="is completed: no budget binds it"):
        await run.adjust_budget(budget=2)
    with pytest.raises(TaskNotFound):
        await manager.workflow("f" * 32).adjust_budget(budget=2)

    async def hold(context):
        await context.wait_for_event("go")

    manager.register_type("hold", hold)
    free = await manager.run({"nodes": [{"id": "a", "type": "hold"}]})
    await until(lambda: _began(manager, free))
    with pytest.raises(InvalidTask, match=r"began without a budget, .* cancel it and run it again"):
        await free.adjust_budget(budget=2)
    await free.cancel()


def _began(manager, run):
    view = manager.engine.peek(lambda reader: reader.task(run.id))
    return manager.engine.peek(lambda reader: reader.group(view.seq)) is not None


@pytest.mark.parametrize(
    ("given", "change", "calls"),
    [
        ({}, {"budget": "0.00025"}, 2),
        ({"budget": "0.00025"}, {"budget": "0.5"}, 4),
        ({"budget": "0.00025"}, {"budget": None}, 4),
        ({"budget": 1}, {"max_tokens": 120}, 2),
    ],
)
async def test_before_it_begins(manager, provider, given, change, calls):
    manager.pause()
    run = await manager.run(parallel(4, on_failure="continue", **given))
    await run.adjust_budget(**change)
    manager.resume()
    await ended(run)
    assert len(provider.calls) == calls


async def test_a_change_survives_a_crash(provider):
    async with Harness(provider.manager(prices=PRICES, max_concurrent=2)) as harness:
        run = await harness.manager.run(parallel(8, budget="0.00033", on_failure="continue"))
        await run.adjust_budget(budget=1)
        await harness.crash_and_restart(after_steps=2)
        await harness.drain()
        assert run.progress().completed == 8
        assert run.spending().budget == 1


async def test_from_outside_it_is_noticed_at_once(provider, tmp_path):
    store = str(tmp_path / "work.db")
    gate = asyncio.Event()

    async def hold(context):
        await gate.wait()

    async with provider.manager(prices=PRICES, store=store) as manager:
        manager.register_type("hold", hold)
        first, *rest = parallel(6)["nodes"]
        nodes = [{"id": "hold", "type": "hold"}, first, *({**one, "after": ["hold"]} for one in rest)]
        run = await manager.run({"nodes": nodes, "budget": "0.00025"})
        await until(lambda: run.spending() and run.spending().spent)
        with StoreClient(store) as client:
            told = await asyncio.to_thread(client.adjust_budget, run.id, budget=3, max_tokens=5_000)
            assert (told.budget, told.max_tokens, told.spent) == (3, 5_000, TRUE_COST)
            with pytest.raises(InvalidTask, match=r"at least 0\.000105 USD"):
                client.adjust_budget(run.id, budget="0.0001")
        key = f"budget of workflow {run.id}"
        programs = manager.engine.node.gate.programs
        await until(lambda: [one.limit for one in programs.use([key])] == [3 * 10**12])
        gate.set()
        await run.result(20)
        assert len(provider.calls) == 6


def test_without_await(provider):
    with SyncTaskManager(provider.client(), prices=PRICES, store="memory") as manager:
        run = manager.run(parallel(2, budget=1))
        run.result(20)
        assert run.spending().budget == 1
        failed = manager.run(parallel(2, budget="0.00001"))
        with pytest.raises(TaskFailed, match=r"run\.adjust_budget\(budget=\.\.\.\)"):
            failed.result(20)
        assert failed.adjust_budget(budget=1).budget == 1
        assert manager.get_task_status(failed.id)["status"] == TaskStatus.FAILED
