"""One simulation: a store, a provider, and the lives of the nodes that come and go on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from penstock.manager import Manager
from penstock.model.states import FINAL
from penstock.model.usage import to_pico
from penstock.stores.contract import Store
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.replacing import quiet
from penstock.testing.simulation.books import Books, WatchedStore
from penstock.testing.simulation.checks import idle_faults, last_faults, slot_fault, waiting_lines
from penstock.testing.simulation.fairness import DriftMeter, bound
from penstock.testing.simulation.faults import Faults
from penstock.testing.simulation.handlers import Handlers
from penstock.testing.simulation.loop import SimulatedClock, Stuck, VirtualLoop
from penstock.testing.simulation.nodes import Node, Nodes
from penstock.testing.simulation.provider import Flight, Provider, Window
from penstock.testing.simulation.scenario import Scenario, draw
from penstock.testing.simulation.trace import Trace
from penstock.testing.simulation.users import Users

CALM_AFTER = 15.0
PATIENCE = 4_000.0


@dataclass(slots=True)
class Outcome:
    """What a seed brought. `breaches` is empty when every invariant held; `seconds` are virtual."""

    seed: int
    breaches: list[str]
    digest: str
    lines: list[str] = field(repr=False)
    seconds: float = 0.0
    events: int = 0
    transactions: int = 0
    calls: int = 0


class World:
    """Plays one scenario. Whatever is random comes from its seed."""

    def __init__(self, scenario: Scenario, keep_trace: bool = False) -> None:
        self.scenario = scenario
        self.chance = Random(f"{scenario.seed}:world")
        self.clock = SimulatedClock(scenario.wall)
        self.loop = VirtualLoop(self.clock, self._thread_delays)
        self.loop.set_exception_handler(self._unhandled)
        self.begin = self.clock.now
        self.trace = Trace(self.clock, keep_trace)
        say, settings = self.trace.say, scenario.settings
        budget = settings.limits.budget
        self.books = Books(say, None if budget is None else to_pico(budget), scenario.capped)
        windows = {name: Window(*given) for name, given in scenario.windows.items()}
        chance = Random(f"{scenario.seed}:provider")
        self.provider = Provider(self.loop, chance, scenario.weather, windows, say)
        self.provider.on_arrival, self.provider.on_overrun = self._arrived, self._overrun
        self.provider.on_served = self._served
        self.nodes = Nodes(self.loop, self.chance, say, self._manager)
        self.nodes.on_up = self._up
        self.users = Users(self.loop, self.nodes, say)
        self.faults = Faults(self.loop, self.clock, self.nodes, self.users, self.books)
        store = SqliteStore.open(":memory:")
        self.store = WatchedStore(store, self.books, self.faults.of_commit, self._committed)
        self.drift = DriftMeter(self.books, bound(settings.max_concurrent)) if scenario.shares else None
        self._over = False

    # The course of things

    def play(self) -> Outcome:
        scenario, loop = self.scenario, self.loop
        try:
            self.nodes.start()
            for plan in scenario.plans:
                loop.in_world(plan.at, self.users.give, plan)
            for fault in scenario.faults:
                loop.in_world(fault.at, self.faults.happen, fault)
            last = max([one.at for one in scenario.faults] + [one.at for one in scenario.plans])
            loop.in_world(last + CALM_AFTER, self.faults.calm_down, self.provider)
            self._drive(self._all_done, "nothing more happens to tasks that wait")
            self._end()
        except Stuck as error:
            waiting = waiting_lines(self.store.inner, self.nodes.living)
            self.books.breach(f"progress: {error}; {waiting}")
        finally:
            self._over = True
            self.nodes.bury()
            self.loop.close()
            self.store.inner.close()
        return self._outcome()

    def _drive(self, done: Callable[[], bool], otherwise: str) -> None:
        until = self.clock.now + PATIENCE
        if not self.loop.drive(lambda: done() or bool(self.books.breaches), until, self._after_each):
            raise Stuck(f"{otherwise} for {PATIENCE:g} seconds")

    def _end(self) -> None:
        """Stop, start once more on what is there, stop again: nothing may be left."""
        for _ in range(2):
            if self.books.breaches:
                return
            node = self.nodes.living[-1]
            for fault in idle_faults(node.manager, self.clock):
                self.books.breach(fault)
            stopping = self.loop.start_in(node.life, node.manager.stop())
            self._drive(stopping.done, "the node does not stop")
            node.life.crash()
            self.nodes.living.clear()
            self.nodes.start()
            self._drive(self._all_done, "the node does not become idle again")
        for fault in last_faults(
            self.store.inner, self.books, self.provider, self.users.acknowledged, self.scenario.capped
        ):
            self.books.breach(fault)

    def _all_done(self) -> bool:
        node = self.nodes.current
        if not self.faults.calm or node is None or len(self.nodes.living) != 1:
            return False
        if len(self.users.acknowledged) < len(self.scenario.plans):
            return False
        if any(entry.status not in FINAL for entry in self.books.tasks.values()):
            return False
        return node.manager.node.dispatcher.idle

    def _outcome(self) -> Outcome:
        return Outcome(
            seed=self.scenario.seed,
            breaches=list(self.books.breaches),
            digest=self.trace.digest,
            lines=list(self.trace.lines),
            seconds=self.clock.now - self.begin,
            events=self.loop.events,
            transactions=self.books.transactions,
            calls=self.provider.bill.arrived.total(),
        )

    def _manager(self) -> Manager:
        self.faults.starting()
        manager = Manager(self.scenario.settings, clock=self.clock, store=cast(Store, self.store))
        Handlers(manager, self.provider)
        return manager

    async def _up(self, node: Node) -> None:
        if self.faults.calm:
            await self.users.resume(node.manager)
        self.users.submit_again()

    # Watching

    def _thread_delays(self) -> tuple[float, float]:
        drawn = self.chance.random()
        return (0.0, drawn * 0.004) if drawn < 0.5 else (drawn * 0.002, 0.0)

    def _committed(self) -> None:
        if self.drift is not None:
            self.drift.look()

    def _served(self, name: str, tokens: int) -> None:
        if self.drift is not None:
            plan = self.scenario.plans[int(name.partition("/")[0].removeprefix("t"))]
            self.drift.serve(plan.details["tenant"], tokens)

    def _arrived(self, flight: Flight) -> None:
        by_ghost = any(one.ghost and one.life is flight.life for one in self.nodes.living)
        if flight.digest in self.books.recorded and not by_ghost and flight.life and not flight.life.dead:
            self.books.breach(f"3: {flight.name} was recorded and is called again")

    def _overrun(self, key: str, excess: int) -> None:
        if self.faults.strict_windows and (key == "requests" or self.scenario.capped):
            self.books.breach(f"5: {key} of the window are {excess} above the limit")

    def _after_each(self) -> None:
        for node in self.nodes.living:
            if (fault := slot_fault(node.manager)) is not None:
                self.books.breach(fault)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._over:
            self.books.breach(f"unhandled: {context.get('message')} {context.get('exception')!r}")


def simulate(seed: int, keep_trace: bool = False) -> Outcome:
    """Play the scenario of a seed; the same again and again."""
    with quiet():
        return World(draw(seed), keep_trace).play()
