"""What goes wrong in a simulation, and when it ends."""

from __future__ import annotations

from random import Random

from penstock.errors import StoreBusy
from penstock.stores.contract import TaskFilter
from penstock.testing.simulation.books import Books
from penstock.testing.simulation.loop import SimulatedClock, VirtualLoop
from penstock.testing.simulation.nodes import Node, Nodes
from penstock.testing.simulation.provider import Provider
from penstock.testing.simulation.scenario import Fault, any_strategy
from penstock.testing.simulation.users import Users

# A node sees within a second that the wall clock jumped.
JUMP_SEEN_AFTER = 1.1


class Faults:
    """Makes faults happen. `strict_windows`: none has made it impossible to know the provider's windows."""

    def __init__(
        self, loop: VirtualLoop, clock: SimulatedClock, nodes: Nodes, users: Users, books: Books
    ) -> None:
        self.strict_windows = True
        self.calm = False
        self._loop, self._clock, self._nodes, self._users, self._books = loop, clock, nodes, users, books
        self._of_commits: list[Exception] = []
        self._unseen_jumps = 0
        self._lossy = False

    def happen(self, fault: Fault) -> None:
        node, living = self._nodes.current, self._nodes.living
        self._books.say("fault", fault.kind)
        if fault.kind == "jump":
            self._jump(fault.size)
        elif fault.kind == "busy":
            self._of_commits.append(StoreBusy("simulated"))
        elif fault.kind == "replay":
            self._of_commits.append(RuntimeError("simulated"))
        elif fault.kind == "crash" and living:
            self._nodes.crash(living[-1])  # even one that only begins, or is about to stop
        elif node is not None:
            getattr(self, f"_{fault.kind}")(node, fault.size)

    def _stop(self, node: Node, size: float) -> None:
        self._nodes.stop(node, now=size < 0.5)

    def _lost_lease(self, node: Node, size: float) -> None:
        """Another node takes over while this one goes on for a while: two gates, only the fence between."""
        self.strict_windows = self._books.strict_money = False
        node.ghost, node.up = True, False
        self._loop.in_world(1.0 + 20.0 * size, self._nodes.crash, node)
        self._nodes.start()

    def _cancel(self, node: Node, size: float) -> None:
        ids = list(self._users.acknowledged.values())
        if ids:
            self._users.ask(node, node.manager.cancel(ids[int(size * len(ids))]))

    def _pause(self, node: Node, size: float) -> None:
        where = None if size < 0.5 else TaskFilter(tenant="red")
        self._users.ask(node, node.manager.pause(where))
        self._loop.in_world(1.0 + 8.0 * size, self._users.resume_all)

    def _switch(self, node: Node, size: float) -> None:
        name, settings = any_strategy(Random(size))
        self._books.say("switch", name)
        self._users.ask(node, node.manager.switch_strategy(name, **settings))

    def _jump(self, size: float) -> None:
        self._clock.jump_wall((size - 0.5) * 120.0)
        self._unseen_jumps += 1
        node = self._nodes.current
        if node is None:
            self.strict_windows = False

        def seen() -> None:
            if node is not None and not node.life.dead:
                self._unseen_jumps -= 1

        self._loop.in_world(JUMP_SEEN_AFTER, seen)

    def starting(self) -> None:
        """A node starts: nobody could tell it of a jump that nobody saw."""
        if self._unseen_jumps:
            self.strict_windows = False

    def of_commit(self) -> None:
        """Raises in place of a commit when one is to fail."""
        if self._of_commits:
            error = self._of_commits.pop()
            if not isinstance(error, StoreBusy):
                # What the store could not be told it goes on to count as held, until the next start.
                self._lossy, self._books.strict_money = True, False
            self._books.say("commit failed", type(error).__name__)
            raise error

    def calm_down(self, provider: Provider) -> None:
        """No more faults from here on: everything has to come to its end."""
        self.calm = provider.calm = True
        self._of_commits.clear()
        for ghost in [one for one in self._nodes.living if one.ghost]:
            self._nodes.crash(ghost)
        self._books.say("calm", "")
        self._users.resume_all()
        node = self._nodes.current
        if self._lossy and node is not None:
            self._nodes.stop(node, now=True)  # the end of a task may be stuck in a commit that failed
