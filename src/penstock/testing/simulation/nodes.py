"""The nodes of a simulation: how they begin, crash, stop politely and come back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

from penstock.errors import StoreError
from penstock.manager import Manager
from penstock.testing.simulation.loop import Life, VirtualLoop

Say = Callable[[str, str], None]


@dataclass(slots=True)
class Node:
    """One life of the program. `up` once it dispatches; a `ghost` was replaced and does not know."""

    life: Life
    manager: Manager
    up: bool = False
    ghost: bool = False


class Nodes:
    """All that live now, the one in charge last. `make` gives a new manager on the store, `on_up` is run in
    each node that begins to dispatch."""

    def __init__(self, loop: VirtualLoop, chance: Random, say: Say, make: Callable[[], Manager]) -> None:
        self.living: list[Node] = []
        self.lives: list[Life] = []
        self.on_up: Callable[[Node], Coroutine[Any, Any, None]] | None = None
        self._loop, self._chance, self._say, self._make = loop, chance, say, make

    @property
    def current(self) -> Node | None:
        """The node that clients talk to, when it is up."""
        return self.living[-1] if self.living and self.living[-1].up else None

    def start(self) -> None:
        """A new node on the store."""
        life = Life(len(self.lives) + 1)
        self.lives.append(life)
        node = Node(life, self._make())
        self.living.append(node)
        self._say("start", f"life {life.number}")
        self._loop.start_in(life, self._begin(node))

    async def _begin(self, node: Node) -> None:
        try:
            await node.manager.start()
        except (StoreError, RuntimeError) as error:
            self._say("start failed", type(error).__name__)
            self._loop.in_world(0.0, self.crash, node)
            return
        node.up = True
        if self.on_up is not None:
            await self.on_up(node)

    def crash(self, node: Node) -> None:
        """Everything of this node is gone; another one starts when it was in charge."""
        if node in self.living:
            self._say("crash", f"life {node.life.number}")
            current = node is self.living[-1]
            self.living.remove(node)
            node.life.crash()
            if current:
                self._loop.in_world(self._chance.uniform(0.05, 3.0), self._start_again)

    def _start_again(self) -> None:
        if not self.living or self.living[-1].ghost:
            self.start()

    def stop(self, node: Node, now: bool) -> None:
        """The node ends politely; another one starts."""
        self._say("stop", f"life {node.life.number}{' now' if now else ''}")
        node.up = False

        async def stop() -> None:
            await node.manager.stop(now)
            self._say("stopped", f"life {node.life.number}")
            self._loop.in_world(0.0, self.crash, node)

        self._loop.start_in(node.life, stop())

    def bury(self) -> None:
        """All lives are over, and nothing of them is left."""
        for life in self.lives:
            life.dead = True
            life.bury()
