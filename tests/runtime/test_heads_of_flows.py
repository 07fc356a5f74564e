"""Where shares are measured the rival is the head of the lowest flow, whatever the ranks of the others."""

import pytest

from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.runtime.heads import FLOWS_LOOKED_AT, Heads
from penstock.runtime.shares import Shares
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import Probe

OTHER = Lane("echo", "other")


class Line:
    """A store with tasks of flows, and the heads that a dispatcher knows of it."""

    def __init__(self, has_flows=True):
        self.store = SqliteStore.open(":memory:")
        self.probe = Probe(self.store)
        self.shares = Shares(lambda flow: 1.0)
        self.heads = Heads(None, self.shares, lambda: has_flows, lambda: None)
        self.asked_for = []
        self.heads.look_soon = self.asked_for.extend
        self.lanes = set()

    def add(self, flow, key, **more):
        added = self.probe.add(flow=flow, rank=Rank(0, key), **more)
        self.lanes.add(added.lane)
        if flow is not None:
            self.shares.arrive(added.lane, flow, 0.0)
        return added

    def look(self):
        look = self.heads.look_at(sorted(self.lanes))
        self.heads.found(look, self.store.read(look.read))
        return look

    def best(self):
        return self.heads.best(lambda lane: True, 0)


@pytest.fixture
def line():
    made = Line()
    yield made
    made.store.close()


def test_the_lowest_flow_goes_first(line):
    line.add("much", 1.0)
    line.add("little", 5.0)
    line.add("little", 4.0)
    line.shares.charge("much", 100.0)
    line.look()
    assert (line.best().flow, line.best().place.rank) == ("little", Rank(0, 4.0))
    line.shares.charge("little", 150.0)
    assert line.best().flow == "much", "as counters are now, not as they were at the look"
    assert line.asked_for == []


def test_ranks_decide_inside_a_flow_and_counters_between_lanes(line):
    line.add("a", 1.0)
    far = line.add("b", 9.0, lane=OTHER)
    line.shares.charge("a", 1.0)
    line.look()
    assert (line.best().lane, line.best().flow) == (far.lane, "b")


def test_without_shares_the_best_rank_goes_first():
    line = Line(has_flows=False)
    line.add("much", 1.0)
    line.add(None, 2.0)
    line.look()
    best = line.best()
    assert (best.flow, best.place.rank, best.place.counter) == (None, Rank(0, 1.0), 0.0)
    line.store.close()


def test_of_many_flows_few_are_looked_at(line):
    for number in range(100):
        line.add(f"t{number:02}", 100.0 - number)
        line.shares.charge(f"t{number:02}", float(number))
    look = line.look()
    [flows] = look.flows.values()
    assert len(flows) == FLOWS_LOOKED_AT
    assert line.best().flow == "t00"
    for number in range(FLOWS_LOOKED_AT):
        assert line.asked_for == []
        assert line.best().flow == f"t{number:02}"
        line.shares.charge(f"t{number:02}", 500.0)
    line.best()
    assert line.asked_for, "all that were looked at have had their turns"
    line.look()
    assert line.best().flow == f"t{FLOWS_LOOKED_AT:02}"


def test_flows_that_ran_dry_are_passed_over(line):
    for number in range(30):
        line.add(f"t{number:02}", 1.0)
        line.shares.charge(f"t{number:02}", float(number))
    line.probe.store.run(
        lambda tx: tx.claim_flows({lane: {f"t{n:02}": 1 for n in range(20)} for lane in line.lanes}, 1, 0.0)
    )
    for _ in range(4):
        line.asked_for.clear()
        line.look()
        if not line.asked_for:
            break
    assert line.best().flow == "t20"


def test_what_came_during_a_look_is_not_forgotten(line):
    lane = line.add("a", 1.0).lane
    line.probe.claim(lane)
    look = line.heads.look_at([lane])
    found = line.store.read(look.read)
    line.add("a", 2.0)
    line.heads.found(look, found)
    assert line.shares.waiting == {lane: {"a"}}
