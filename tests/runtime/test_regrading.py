"""What waits of a program is ranked anew as it is served: little by little, and only when it matters."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from penstock import Manager, Settings, Submission
from penstock.model.rank import Rank
from penstock.model.standing import Program
from penstock.policies import policy_named
from penstock.runtime.programs import Programs
from penstock.runtime.ranking import Ranker
from penstock.runtime.regrading import MOST_AT_ONCE, ROWS_A_SECOND, Regrader
from penstock.stores.contract import TaskFilter
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import VirtualClock, virtually
from penstock.testing.store_probe import LANE, task_named


def part(name, program, size, **more):
    return Submission("work", name, program=program, size=size, **more)


async def order_of(tmp_path, strategy, *others):
    """The order in which tasks start when the `others` come while p1, of 0.35 seconds, is in its first step
    of 0.3 seconds."""
    settings = Settings(
        store=str(tmp_path / "p.db"),
        durability="normal",
        strategy=strategy,
        size_in="seconds",
        max_concurrent=1,
    )
    manager, log, begun = Manager(settings), [], asyncio.Event()

    async def work(context):
        log.append(context.data)
        if context.data == "p1":
            begun.set()
            await context.step("work", asyncio.sleep, 0.3)

    manager.register("work", work)
    async with manager, asyncio.timeout(15):
        [first] = await manager.submit_many([part("p1", "p", 0.35)])
        await begun.wait()
        await manager.submit_many([one(first) if callable(one) else one for one in others])
        await manager.idle()
    return log


@virtually
async def test_what_waits_of_a_program_gets_better_as_it_is_served(tmp_path):
    others = part("p2", "p", 0.3), part("q1", "q", 0.5)
    # p had 0.65 to go when p2 came, and 0.35 when p1 has ended.
    assert await order_of(tmp_path, "shortest_program", *others) == ["p1", "p2", "q1"]


@virtually
async def test_a_task_that_waits_for_others_gets_better_too(tmp_path):
    def waits(first):
        return part("p2", "p", 0.3, after=(first,))

    assert await order_of(tmp_path, "shortest_program", waits, part("q1", "q", 0.5)) == ["p1", "p2", "q1"]


@virtually
async def test_a_program_that_was_served_goes_behind_those_that_were_not(tmp_path):
    others = part("p2", "p", 0.3), part("q1", "q", 0.5)
    assert await order_of(tmp_path, "least_attained", *others) == ["p1", "q1", "p2"]


@virtually
async def test_what_waits_at_the_gate_gets_better_too(tmp_path):
    """Two tasks of p and one of q want a slot for their next step, one of p has it."""
    settings = Settings(
        store=str(tmp_path / "g.db"), strategy="shortest_program", size_in="seconds", max_concurrent=1
    )
    manager, log, together = Manager(settings), [], asyncio.Event()

    async def step(name, seconds):
        log.append(name)
        await asyncio.sleep(seconds)

    async def work(context):
        name = context.data
        if name != "p1":
            async with context.off_slot():
                await together.wait()
            await context.step("last", step, name, 0.0)
            return
        async with context.off_slot():
            while len(manager.node.dispatcher.open) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        together.set()
        for number in range(4):
            await context.step(f"{number}", step, name, 0.15)

    manager.register("work", work)
    async with manager, asyncio.timeout(15):
        await manager.submit_many([part("p1", "p", 0.3), part("p2", "p", 0.4), part("q1", "q", 0.62)])
        await manager.idle()
    assert log.index("p2") < log.index("q1")


# The regrader alone


class World:
    """A store with one large program, and a regrader that rides on its transactions."""

    def __init__(self, count, strategy="shortest_program"):
        self.store = SqliteStore.open(":memory:")
        self.clock = VirtualClock()
        self.ranker = Ranker(policy_named(strategy), "seconds")
        self.regrader = Regrader(self.ranker, self.clock, lambda programs: None)
        tasks = [task_named(program="p", standing='{"size":1}', rank=Rank(0, 1e9)) for _ in range(count)]
        self.store.run(lambda tx: (tx.lane(LANE), tx.add(tasks)))

    def serve(self, amount):
        self.store.run(lambda tx: tx.serve_program("p", amount))
        self.regrader._news.append("p")

    def commit(self, kept=True):
        def work(tx):
            self.regrader.write(tx)
            if not kept:
                raise RuntimeError("rolled back")

        try:
            self.store.run(work)
        except RuntimeError:
            return
        self.regrader.kept()

    def ranks(self):
        views = self.store.read(lambda reader: reader.tasks(TaskFilter(), limit=10_000))
        return sorted(view.rank.key for view in views)


def test_a_large_program_is_ranked_a_little_with_each_transaction():
    world = World(1_000)
    world.serve(100.0)
    world.commit()
    assert world.ranks().count(900.0) <= MOST_AT_ONCE
    world.commit()
    assert world.ranks().count(900.0) <= MOST_AT_ONCE, "no time has passed"
    for _ in range(20):
        world.clock.advance(MOST_AT_ONCE / ROWS_A_SECOND)
        world.commit()
    assert world.ranks() == [900.0] * 1_000


def test_what_is_served_on_the_way_reaches_all_in_the_end():
    world = World(1_000)
    for _ in range(10):
        world.serve(50.0)
        world.clock.advance(0.05)
        world.commit()
    for _ in range(30):
        world.clock.advance(0.1)
        world.commit()
    assert world.ranks() == [500.0] * 1_000


def test_little_changes_and_rolled_back_ones():
    world = World(50)
    world.serve(10.0)
    world.commit(kept=False)
    assert world.ranks() == [1e9] * 50
    world.commit()
    assert world.ranks() == [40.0] * 50
    world.serve(0.1)
    world.clock.advance(1.0)
    world.commit()
    assert world.ranks() == [40.0] * 50, "less than a hundredth"
    for _ in range(10):
        world.serve(0.1)
        world.clock.advance(1.0)
        world.commit()
    assert world.ranks()[0] < 39.5, "many little ones add up"


@pytest.mark.parametrize(
    ("strategy", "follows"),
    [
        ("shortest_program", True),
        ("least_attained", True),
        ("program_fifo", False),
        ("priority", False),
        ("mlfq", False),
    ],
)
def test_only_strategies_that_look_at_it_pay_for_it(strategy, follows):
    assert Ranker(policy_named(strategy)).follows_programs is follows
    assert Ranker(policy_named("fair", inside=strategy)).follows_programs is follows


# What is remembered of programs


def test_programs_are_forgotten_and_read_again():
    store, programs = SqliteStore.open(":memory:"), Programs(most=3)
    for number in range(5):
        task = task_named(program=f"p{number}", standing='{"size":4}')
        store.run(lambda tx, task=task: (tx.lane(LANE), tx.add([task])))
        programs.join(f"p{number}", 1.0, 4.0)
    assert len(programs) == 3
    assert programs.get("p0") is None
    store.run(lambda tx: tx.serve_program("p0", 3.0))
    assert programs.join("p0", 9.0, 1.0) == Program("p0", 9.0, 1.0), "as far as is known here"
    store.read(lambda reader: programs.learn(reader, ["p0", "p4"]))
    assert programs.get("p0").attained == 3.0
    programs.put(Program("p0", 1.0, 4.0, 3.5))
    store.read(lambda reader: programs.learn(reader, ["p0"]))
    assert programs.get("p0").attained == 3.5, "what is known here is newer than the store"


def test_the_latest_programs_are_recalled():
    store, programs = SqliteStore.open(":memory:"), Programs(most=2)
    for number in range(3):
        task = task_named(program=f"p{number}", standing='{"size":4}', at=100.0 + number)
        store.run(lambda tx, task=task: (tx.lane(LANE), tx.add([task])))
    store.read(programs.recall)
    assert [programs.get(f"p{number}") is None for number in range(3)] == [True, False, False]


# What running tasks were served, after a crash


async def test_levels_and_service_outlive_a_crash(tmp_path):
    path = tmp_path / "m.db"
    settings = Settings(
        store=str(path),
        durability="normal",
        strategy="mlfq",
        strategy_settings={"levels": [0.01, 0.05, 10.0], "boost_seconds": 0},
        size_in="seconds",
        max_concurrent=1,
    )
    manager, stopped = Manager(settings), asyncio.Event()

    async def work(context):
        for number in range(3):
            await context.step(f"{number}", asyncio.sleep, 0.03)
        stopped.set()
        await asyncio.sleep(60)

    manager.register("work", work)
    async with manager:
        await manager.submit("work")
        await stopped.wait()
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "c.db")) as copy:
            source.backup(copy)
        await manager.stop(now=True)
    store = SqliteStore.open(str(tmp_path / "c.db"))
    try:
        store.run(lambda tx: tx.rescue(1e12, 1e12, 9, [node.id for node in tx.nodes()]))
        [task] = store.run(lambda tx: tx.claim({lane.id: 1 for lane in tx.lanes()}, 1, 2e9))
    finally:
        store.close()
    standing = Ranker(policy_named("mlfq"), "seconds").standing(task)
    assert (standing.level, standing.started) == (2, True)
    assert standing.attained >= 0.085
    assert task.rank.band == 2
