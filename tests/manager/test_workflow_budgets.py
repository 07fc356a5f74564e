"""The money, tokens and places of a workflow: whatever its tasks call, however often the process dies."""

import asyncio
from decimal import Decimal

import httpx2
import pytest
from openai import AsyncOpenAI

from penstock.cli.situation import look_at
from penstock.cli.why import explain
from penstock.errors import PriceUnknown, TaskFailed
from penstock.model.reservation import ReservationState
from penstock.model.states import TaskStatus
from penstock.model.usage import from_pico, to_pico
from penstock.runtime.budgets import BudgetDropper
from penstock.simulator.config import Latency, SimulatorConfig
from penstock.stores.asks import TaskFilter
from penstock.testing import Harness, SimulatedProvider, virtually

COMPLETED, FAILED = TaskStatus.COMPLETED, TaskStatus.FAILED
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


def call(id, model="m", **rest):
    data = {"prompt": f"hello {id}", "max_tokens": 50, "model": model}
    return {"id": id, "type": "llm_call", "data": data, "retry_delay": 0, **rest}


def parallel(count, name="flow", **terms):
    nodes = [call(f"n{number}") for number in range(count)]
    return {
        "name": name,
        "nodes": nodes,
        "on_failure": "continue",
        "output": [one["id"] for one in nodes],
        **terms,
    }


async def ended(run):
    """How it ended, whatever that is: its result, or the error."""
    try:
        return await run.result(20)
    except TaskFailed as error:
        return error


async def by_status(run):
    found = {COMPLETED: [], FAILED: []}
    for node in await run.nodes():
        found.setdefault(node.status, []).append(node)
    return found[COMPLETED], found[FAILED]


def booked(manager, run):
    [row] = manager.engine.peek(lambda reader: reader.program_budgets([run.id]))
    return row


def paid(manager):
    """What all reservations were settled to, in pico-dollars."""
    states = [ReservationState.SETTLED, ReservationState.UNCERTAIN]
    return sum(one.cost for one in manager.engine.peek(lambda reader: reader.reservations(states)))


async def test_parallel_nodes_never_spend_more_than_their_workflow_has(manager, provider):
    run = await manager.run(parallel(8, budget="0.0005"))
    await ended(run)
    done, refused = await by_status(run)
    assert (len(done), len(refused), len(provider.calls)) == (4, 4, 4)
    assert paid(manager) == booked(manager, run).spent == to_pico(4 * TRUE_COST) <= to_pico("0.0005")
    for node in refused:
        assert '"budget_exhausted"' in node.error
        assert "workflow 'flow'" in node.error
        assert '"attempt":1' in node.error  # refusals are not tried again


async def test_a_workflow_that_stops_says_whose_budget_it_was(manager):
    run = await manager.run({**parallel(8, budget=0.0005), "on_failure": "stop"})
    error = await ended(run)
    assert isinstance(error, TaskFailed)
    assert "failed (budget_exhausted): the budget of workflow 'flow'" in str(error)
    assert "larger `budget`" in str(error)
    told = run.spending()
    assert (told.budget, told.spent, told.uncertain) == (Decimal("0.0005"), 4 * TRUE_COST, 0)
    assert (told.max_tokens, told.tokens) == (None, 220)


async def test_tokens_are_capped_likewise(manager, provider):
    run = await manager.run(parallel(8, max_tokens=240))
    await ended(run)
    done, refused = await by_status(run)
    assert (len(done), len(refused), len(provider.calls)) == (4, 4, 4)
    assert booked(manager, run).tokens == 4 * 55
    assert all("the tokens of workflow 'flow'" in node.error for node in refused)


async def test_workflows_do_not_disturb_each_other(manager, provider):
    runs = [
        await manager.run(parallel(8, "poor", budget="0.0003")),
        await manager.run(parallel(8, "rich", budget=5)),
        await manager.run(parallel(8, "any")),
    ]
    for run in runs:
        await ended(run)
    assert [len((await by_status(run))[0]) for run in runs] == [2, 8, 8]
    assert [booked(manager, run).spent for run in runs[:2]] == [
        to_pico(2 * TRUE_COST),
        to_pico(8 * TRUE_COST),
    ]
    assert runs[2].spending() is None


@pytest.mark.parametrize("limits", [{"budget_limit": 0.0003}, {"tenant_budgets": {"acme": 0.0003}}])
async def test_other_budgets_bind_as_well(provider, limits):
    async with provider.manager(prices=PRICES, **limits) as manager:
        run = await manager.run(parallel(8, budget=5, tenant="acme"))
        await ended(run)
        done, refused = await by_status(run)
        assert len(done) == len(provider.calls) == 2
        assert all("total budget" in node.error for node in refused)


async def test_what_nodes_start_and_add_is_bound_too(manager, provider):
    async def starts(context):
        children = [
            await context.start_child("llm_call", call("child")["data"], key=str(n)) for n in range(3)
        ]
        return len([await child.result() for child in children])

    async def adds(context):
        await context.grow([call("x"), {"id": "bad", "type": "fails", "after": ["x"], "max_retries": 0}])

    async def fails(context):
        raise ValueError("no luck")

    for function in (starts, adds, fails):
        manager.register_type(function.__name__, function)
    undo = {"type": "llm_call", "data": call("undo")["data"]}
    nodes = [
        {"id": "starts", "type": "starts", "compensate": undo},
        {"id": "adds", "type": "adds", "after": ["starts"]},
    ]
    run = await manager.run({"nodes": nodes, "budget": "0.1"})
    assert "no luck" in str(await ended(run))
    assert len(provider.calls) == 5  # three children, a node that was added, one to undo
    assert booked(manager, run).spent == paid(manager)


async def test_calls_by_an_sdk_are_bound_without_change(manager, provider):
    async def asks(context):
        http = httpx2.AsyncClient(transport=manager.engine.transport())
        async with AsyncOpenAI(base_url=provider.base_url, api_key="none", http_client=http) as client:
            for number in range(8):
                messages = [{"role": "user", "content": f"hello {number}"}]
                await client.chat.completions.create(model="m", max_tokens=50, messages=messages)

    manager.register_type("asks", asks)
    node = {"id": "a", "type": "asks", "max_retries": 3, "retry_delay": 0}
    run = await manager.run({"name": "flow", "nodes": [node], "budget": "0.0005"})
    assert "failed (budget_exhausted)" in str(await ended(run))
    assert len(provider.calls) == 4


async def test_a_workflow_within_another_has_no_more_than_that(manager, provider):
    inner = {"id": "inner", "type": "workflow", "data": parallel(8, "inner")}
    rich = {"id": "rich", "type": "workflow", "data": parallel(8, "rich", budget=9)}
    outer = await manager.run(
        {"name": "outer", "nodes": [inner, rich], "budget": "0.0005", "on_failure": "continue"}
    )
    await ended(outer)
    assert len(provider.calls) == 4
    assert booked(manager, outer).spent == to_pico(4 * TRUE_COST)
    views = manager.engine.peek(lambda reader: reader.tasks(TaskFilter(statuses=(FAILED,)), limit=99))
    assert any("the budget of workflow 'outer'" in view.error["message"] for view in views)


async def test_an_unknown_price_is_refused_with_a_budget_only(manager, provider):
    nodes = [call("a", "who-knows"), call("b", "free", on_failure="continue")]
    for terms, done in (({"budget": 1}, ["b"]), ({"max_tokens": 500}, ["a", "b"])):
        run = await manager.run({"nodes": nodes, "on_failure": "continue", **terms})
        await ended(run)
        completed, failed = await by_status(run)
        assert [node.node for node in completed] == done
        assert all(f'"{PriceUnknown.code}"' in node.error for node in failed)


@virtually
async def test_why_a_call_waits_for_the_money_of_its_workflow():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=5.0))) as provider:
        async with provider.manager(prices=PRICES, requests_per_minute=600) as manager:
            # Room for two estimates of 0.000111 and not for three; three calls really cost 0.000315.
            run = await manager.run(parallel(3, budget="0.00033"))
            other = await manager.run(parallel(3, "other", budget=1))
            await _until_waiting(manager, 1)
            [wait] = manager.engine.peek(lambda reader: reader.waits())
            assert (wait.reason, wait.key) == ("money", f"budget of workflow {run.id}")
            [id] = [node.id for node in await run.nodes() if node.seq == wait.task]
            now = manager.engine.clock.wall()
            seen = manager.engine.peek(lambda reader: look_at(reader, id, now, "here"))
            told = "\n".join(explain(seen).lines)
            assert f"it waits for money of its workflow: the budget of workflow {run.id} has no room" in told
            assert f"penstock workflow budget {run.id} --budget USD" in told
            assert "held of" in told
            assert await ended(run)
            assert await ended(other)
            assert len((await by_status(run))[0]) == 3


async def _until_waiting(manager, count):
    for _ in range(100):
        await asyncio.sleep(0.1)
        if len(manager.engine.peek(lambda reader: reader.waits())) == count:
            return
    raise AssertionError("nobody waits")


@virtually
async def test_what_comes_late_is_booked_and_nothing_stays_in_memory():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=5.0))) as provider:
        async with provider.manager(prices=PRICES, requests_per_minute=600) as manager:
            node = manager.engine.node
            dropper = BudgetDropper(node.committer, node.gate.programs)
            run = await manager.run(parallel(2, budget=1))
            await asyncio.sleep(1.0)
            assert len(provider.calls) == 2
            await dropper.tick()
            assert len(node.gate.programs) == 1
            await run.cancel()
            await manager.engine.idle()
            row = booked(manager, run)
            assert (row.spent, row.uncertain) == (0, paid(manager))
            assert row.uncertain >= to_pico(2 * TRUE_COST)
            assert row.uncertain_tokens >= 2 * 55
            await dropper.tick()
            assert len(node.gate.programs) == 0


# Crashes


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
async def test_a_crash_forgets_no_money(provider, steps):
    """Whatever was in flight stays booked as uncertain, and the next life has no more than what is left."""
    budget = to_pico("0.0009")
    async with Harness(provider.manager(prices=PRICES, max_concurrent=4)) as harness:
        manager = harness.manager
        run = await manager.run(parallel(12, budget=str(from_pico(budget))))
        await harness.crash_and_restart(after_steps=steps)
        before = booked(manager, run)
        assert before.spent + before.uncertain == paid(manager) <= budget
        await harness.drain()
        row = booked(manager, run)
        assert row.spent >= before.spent
        assert row.spent + row.uncertain == paid(manager) <= budget
        done, refused = await by_status(run)
        assert len(done) + len(refused) == 12
        assert refused
        assert to_pico(TRUE_COST) * len(provider.calls) <= budget
        # Not a call less than there was money for.
        assert row.spent + row.uncertain + to_pico("0.00012") > budget
        assert harness.manager.engine.node.gate.programs.use()[0].held == 0


async def test_tokens_survive_a_crash_too(provider):
    async with Harness(provider.manager(prices=PRICES, max_concurrent=4)) as harness:
        run = await harness.manager.run(parallel(12, max_tokens=500))
        await harness.crash_and_restart(after_steps=3)
        await harness.drain()
        row = booked(harness.manager, run)
        assert 55 * len(provider.calls) <= row.tokens + row.uncertain_tokens <= 500
        assert row.tokens == 55 * len((await by_status(run))[0])


# Places


@pytest.mark.parametrize("crash", [False, True])
async def test_so_many_nodes_at_once_over_a_restart_and_with_grown_ones(provider, crash):
    running, most, seen = set(), [], set()

    async def work(context):
        node = context.metadata["node"]
        running.add(node)
        most.append(len(running))
        seen.add(node)
        try:
            if node == "n1":
                await context.grow([{"id": f"g{n}", "type": "work"} for n in range(4)])
            await context.sleep(0.002)
            for number in range(3):
                await context.step("count", int, number)
        finally:
            running.discard(node)

    async with Harness(provider.manager(max_concurrent=20)) as harness:
        harness.manager.register_type("work", work)
        nodes = [{"id": f"n{n}", "type": "work"} for n in range(7)]
        run = await harness.manager.run({"nodes": nodes, "max_concurrent": 3})
        if crash:
            for steps in (2, 7):
                await harness.crash_and_restart(after_steps=steps)
                running.clear()
        await harness.drain()
        while run.progress().fraction != 1.0:
            await harness.drain()
        assert len(seen) == 11
        assert max(most) == 3
        assert run.progress().completed == 11
