"""What a claim over two levels costs: a hundred picks over thousands of tenants, as the backlog grows."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.cli.bench.rig import DATA, RESULT, scratch
from penstock.model.ids import new_id
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.states import TaskStatus
from penstock.model.task import Claimed, Finish, NewTask
from penstock.stores.contract import Transaction
from penstock.stores.sqlite.store import Durability, SqliteStore

BATCH, CLAIMS, CHUNK, TENANTS = 100, 61, 5_000, 10_000
LANE = Lane("bench", "model")
_PAYLOAD = json.dumps(DATA)
_SMALL = 1_000

Claim = Callable[[Transaction, int, int], list[Claimed]]


def _flows(options: BenchOptions) -> Iterator[Figure]:
    tenants = options.size(TENANTS, 1_000)
    backlogs = (_SMALL, 5_000) if options.quick else (_SMALL, 100_000, 1_000_000)
    for durability in options.durable("normal"):
        with scratch(options.directory) as folder, SqliteStore.open(folder / "plain.db", durability) as plain:
            fill(plain, _SMALL)
            with SqliteStore.open(folder / "flows.db", durability) as store:
                waiting = 0
                for backlog in backlogs:
                    fill(store, backlog - waiting, tenants)
                    waiting = backlog
                    yield from _compared(plain, store, backlog, min(tenants, backlog), durability)


def _compared(
    plain: SqliteStore, store: SqliteStore, backlog: int, tenants: int, durability: Durability
) -> Iterator[Figure]:
    """Both by turns, so that whatever else the machine does hits both."""
    chance = random.Random(backlog)

    def picks() -> Claim:
        wanted = {f"tenant-{name}": 1 for name in chance.sample(range(tenants), BATCH)}
        return lambda transaction, lane, node: transaction.claim_flows({lane: wanted}, node, time.time())

    small, flows = _turns(plain, lambda: _best), _turns(store, picks)
    costs = [(next(small), next(flows)) for _ in range(CLAIMS)]
    of_small, of_flows = (1e3 * median(column) for column in zip(*costs, strict=True))
    name = f"{BATCH} picks over {tenants:,} tenants, {backlog:,} waiting, {durability}"
    yield Figure(name, of_flows, "ms")
    note = f"one line: a claim of {BATCH} at {_SMALL:,} waiting, by turns"
    yield Figure(f"against {of_small:.2f} ms of one line", of_flows / of_small, "x", None, at_most(3), note)
    begun = time.perf_counter()
    found = len(store.read(lambda reader: reader.waiting_flows()))
    yield Figure(f"telling {found:,} flows, {backlog:,} waiting", 1e3 * (time.perf_counter() - begun), "ms")


def _best(transaction: Transaction, lane: int, node: int) -> list[Claimed]:
    return transaction.claim({lane: BATCH}, node, time.time())


def _turns(store: SqliteStore, next_claim: Callable[[], Claim]) -> Iterator[float]:
    """Seconds of one claim after another, commits included; after each the backlog is made up again."""
    node = store.run(lambda transaction: transaction.join("bench", 0, "bench", time.time(), 3e9))
    lane = store.run(lambda transaction: transaction.lane(LANE))
    while True:
        claim = next_claim()
        begun = time.perf_counter()
        claimed = store.run(lambda transaction: claim(transaction, lane, node))  # noqa: B023
        cost = time.perf_counter() - begun
        if len(claimed) != BATCH:
            raise AssertionError(f"a claim of {BATCH} gave {len(claimed)} tasks")
        ends = [Finish(task, TaskStatus.COMPLETED, time.time(), json.dumps(RESULT)) for task in claimed]
        store.run(lambda transaction, ends=ends: transaction.finish(ends))  # type: ignore[misc]
        again = [new_task(task.flow) for task in claimed]
        store.run(lambda transaction, again=again: transaction.add(again))  # type: ignore[misc]
        yield cost


def fill(store: SqliteStore, count: int, tenants: int = 0) -> None:
    """Add `count` tasks: in one line, or by turns of so many tenants, each a flow."""
    for begin in range(0, count, CHUNK):
        places: Sequence[int] = range(begin, min(begin + CHUNK, count))
        tasks = [new_task(f"tenant-{place % tenants}" if tenants else None) for place in places]
        store.run(lambda transaction, tasks=tasks: transaction.add(tasks))  # type: ignore[misc]


def new_task(flow: str | None, standing: str | None = None) -> NewTask:
    """A task of the tenant `flow`, ranked by arrival."""
    now = time.time()
    return NewTask(
        new_id(), LANE.type, LANE, Rank(0, now), now, _PAYLOAD,
        entered_at=now, tenant=flow or "", flow=flow, standing=standing,
    )  # fmt: skip


FLOWS = Measurement("flows", "the cost of a claim of 100 over 10,000 tenants as the backlog grows", _flows)
