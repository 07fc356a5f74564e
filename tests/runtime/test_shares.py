"""Shares: claims are charged honestly, what waits at the gate counts for nothing, standings live on."""

import pytest

from penstock.runtime.keeper import Keeper
from penstock.runtime.shares import Shares


def shares_of(*flows, lane=1, weight=lambda flow: 1.0):
    shares = Shares(weight)
    for flow in flows:
        shares.arrive(lane, flow, 0.0)
    return shares


def claim(shares, count, sizes=0.0, lane=1):
    """Holds by flow of a claim that brings all it asked for."""
    return {
        flow: shares.claimed(holds, [sizes] * len(holds)) for flow, holds in shares.pick(lane, count).items()
    }


def test_claims_of_unknown_size_go_round():
    shares = shares_of("a", "b", "c")
    assert {flow: len(holds) for flow, holds in claim(shares, 9).items()} == {"a": 3, "b": 3, "c": 3}


def test_the_first_reservation_prices_all_claims_made_on_a_guess():
    """Of one tenant's claims the first is charged truly; the other may not claim 240 times for that."""
    shares = shares_of("a", "b")
    held = claim(shares, 4)
    shares.holds.reserved(held["a"][0], 240.0)
    shares.charge("a", 240.0)
    assert shares.flows.counter("a") == shares.flows.counter("b") == 480.0
    assert sorted(claim(shares, 2)) == ["a", "b"]


def test_claims_are_charged_what_was_learned_of_their_kind():
    shares = shares_of("a", "b")
    held = claim(shares, 2)
    shares.holds.reserved(held["a"][0], 100.0)
    shares.holds.reserved(held["b"][0], 300.0)
    expected = shares.holds.expected
    assert (expected(1, "a"), expected(1, "b")) == ((100.0, True), (300.0, True))
    assert expected(1, "new") == (200.0, True), "of a lane that is known"
    assert expected(2, "a") == (200.0, False), "of nothing but what was seen elsewhere"
    assert expected(1, "a", size=5_000.0) == (100.0, True), "a claim holds the first call, not the whole task"


def test_tasks_without_calls_take_what_they_are_said_to():
    shares = shares_of("a")
    [hold] = claim(shares, 1, sizes=7.0)["a"]
    shares.ended(hold, 6.0, completed=True)
    assert shares.counter("a") == 6.0
    assert shares.holds.expected(1, "a", 9.0) == (9.0, True)
    assert shares.holds.expected(1, "a") == (6.0, True)


def test_an_attempt_that_did_not_complete_teaches_nothing():
    shares = shares_of("a")
    [hold] = claim(shares, 1)["a"]
    shares.ended(hold, 6.0, completed=False)
    assert shares.counter("a") == 6.0
    assert shares.holds.expected(1, "a") == (1.0, False)


def test_what_waits_at_the_gate_counts_for_the_next_claim_only():
    shares = shares_of("a", "b")
    held = claim(shares, 2)["a"]
    shares.holds.comes_to_gate(held[0])
    assert shares.counter("a") == 0.0
    assert shares.flows.counter("a") == 1.0
    shares.holds.drop(held[0])
    assert shares.counter("a") == shares.flows.counter("a") == 0.0


def test_who_comes_does_not_stand_behind_what_others_have_not_got_yet():
    """All forty tasks of one tenant were claimed and wait at the gate, after it got 20: another one comes."""
    shares = shares_of("a")
    shares.charge("a", 20.0)
    held = claim(shares, 40)["a"]
    shares.ran_dry(1, "a")
    for hold in held:
        shares.holds.comes_to_gate(hold)
    shares.arrive(1, "b", 0.0)
    assert shares.counter("a") == shares.counter("b") == 20.0
    shares.holds.has_slot(held[0])
    assert shares.counter("a") == 21.0
    assert shares.flows.counter("a") == 60.0
    shares.holds.drop(held[0])
    assert shares.counter("a") == 20.0


def test_who_still_waits_at_the_gate_has_not_been_idle():
    shares = shares_of("a", "b")
    shares.charge("a", 100.0)
    [hold] = claim(shares, 1)["b"]
    shares.ran_dry(1, "b")
    shares.holds.comes_to_gate(hold)
    shares.arrive(1, "b", 0.0)
    assert shares.counter("b") == 0.0


def test_what_a_claim_did_not_bring_is_given_back():
    shares = shares_of("a", "b")
    picked = shares.pick(1, 6)
    assert len(shares.claimed(picked["a"], [0.0])) == 1
    assert shares.waiting == {1: {"b"}}
    assert shares.flows.counter("a") == 1.0
    assert shares.flows.view("a").waiting_since is None


def test_the_rival_is_picked_before_all():
    shares = shares_of("a", "b", "c")
    shares.charge("c", 50.0)
    assert {flow: len(holds) for flow, holds in shares.pick(1, 2, first="c").items()} == {"c": 1, "a": 1}
    assert shares.pick(1, 1, first="nobody")


@pytest.mark.parametrize("count", [3, 2_000])
def test_of_many_flows_the_lowest_are_looked_at(count):
    names = [f"t{number:04}" for number in range(count)]
    shares = shares_of(*names)
    for place, name in enumerate(names):
        shares.charge(name, float(count - place))
    lowest, beyond = shares.lowest(1, 2)
    assert (lowest, beyond) == (names[:-3:-1], 3.0)
    assert shares.flows.lowest(2, {names[0], names[-1]}) == [names[-1], names[0]]
    assert shares.flows.pick() == names[-1], "looking changes nothing"


class Kept:
    """A store that keeps flows and programs."""

    def __init__(self):
        self.flows, self.programs, self.writes = {}, {}, 0

    def keep_flows(self, flows):
        self.writes += 1
        self.flows.update((one.flow, one) for one in flows)

    def serve_program(self, program, amount):
        self.programs[program] = self.programs.get(program, 0.0) + amount


def test_flows_go_on_where_they_were():
    before, kept = shares_of("a", "b", "c"), Kept()
    claim(before, 5)  # the next life makes its claims anew
    for flow, amount in (("b", 70.0), ("a", 50.0), ("c", 50.0)):
        before.charge(flow, amount)
    before.keeper.write(kept)
    after = Shares(lambda flow: 1.0)
    after.restore(kept.flows.values(), [(1, flow) for flow in "abcd"], 9.0)
    assert after.flows.counters() == {"a": 50.0, "b": 70.0, "c": 50.0, "d": 50.0}
    assert after.flows.view("a").waiting_since == 0.0
    assert list(after.lowest(1, 4)[0]) == ["d", "a", "c", "b"]


def test_who_comes_back_while_nobody_dispatches_gains_no_credit():
    before, kept = shares_of("a", "b"), Kept()
    before.ran_dry(1, "a")
    before.charge("b", 500.0)
    before.keeper.write(kept)
    after = Shares(lambda flow: 1.0)
    after.restore(kept.flows.values(), [(1, "a"), (1, "b")], 9.0)
    assert after.counter("a") == 500.0


def test_what_was_not_durable_is_written_again():
    keeper, kept = Keeper(), Kept()
    keeper.served("p", 2.0)
    keeper.write(kept)  # this transaction is rolled back
    again = Kept()
    keeper.served("p", 3.0)
    keeper.write(again)
    keeper.kept()
    assert again.programs == {"p": 5.0}
    keeper.write(again)
    assert (again.programs, again.writes) == ({"p": 5.0}, 1), "nothing new, nothing written"
