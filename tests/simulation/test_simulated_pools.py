"""Scenarios in which tasks need units of pools: never more than there are, and nobody waits for ever."""

import random
from dataclasses import replace

import pytest

from penstock.testing.simulation import draw
from penstock.testing.simulation import world as world_module
from penstock.testing.simulation.handlers import Handlers
from penstock.testing.simulation.world import World

POOLS = {"gpu": 3, "memory": 10}
NEEDS = [(), (("gpu", 1),), (("gpu", 3),), (("memory", 4),), (("gpu", 2), ("memory", 7)), (("memory", 1),)]

# Seeds that found something once.
FOUND = {
    5_000: (6_398, 6_457),  # a claim without pools made it seem that nothing had changed for those that wait
    5_020: (7_519,),  # a task was claimed again while its old attempt, of a lost lease, still held units
}


class NeedyWorld(World):
    """A world whose task types need units; every instant no pool gives more than it has."""

    def __init__(self, seed):
        scenario = draw(seed)
        limits = replace(scenario.settings.limits, pools=POOLS)
        super().__init__(replace(scenario, settings=replace(scenario.settings, limits=limits)))
        self.most_used = dict.fromkeys(POOLS, 0)

    def _after_each(self):
        super()._after_each()
        for node in self.nodes.living:
            if not node.life.dead and node.manager.is_running:
                self._look_at(node.manager.node)

    def _look_at(self, node):
        used = node.gate.pools.used
        for pool, count in used.items():
            self.most_used[pool] = max(self.most_used[pool], count)
            if not 0 <= count <= POOLS[pool]:
                self.books.breach(f"pools: {count} units of {pool} are used, it has {POOLS[pool]}")
        if used and node.dispatcher.idle and not node.services.slots.taken:
            self.books.breach(f"pools: {used} are used while nothing runs")


@pytest.fixture
def play(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")

    def run(seed):
        chance = random.Random(f"{seed}:pools")
        # Where shares are measured, nothing but shares decides.
        needs = [() if draw(seed).shares else chance.choice(NEEDS) for _ in range(20)]

        class Needy(Handlers):
            def __init__(self, manager, provider):
                super().__init__(manager, provider)
                known = manager.handlers._by_type
                for (type, handler), units in zip(list(known.items()), needs, strict=False):
                    known[type] = replace(handler, pools=units)

        monkeypatch.setattr(world_module, "Handlers", Needy)
        world = NeedyWorld(seed)
        return world.play().breaches, world.most_used

    return run


@pytest.mark.parametrize("first", range(5_000, 5_100, 20))
def test_every_invariant_holds_with_pools(play, first):
    outcomes = {seed: play(seed) for seed in [*range(first, first + 20), *FOUND.get(first, ())]}
    assert not {seed: breaches for seed, (breaches, _) in outcomes.items() if breaches}
    assert max(used["gpu"] for _, used in outcomes.values()) == POOLS["gpu"]
