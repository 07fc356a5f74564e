"""What the replies in flight hold of a window: deviations, bias, surprises, and never more than the caps."""

import pytest

from penstock.admission import Admit, Ask, Gate, GateLimits, RateLimit
from penstock.admission.ask import load_of
from penstock.admission.holds import HoldPool
from penstock.model.usage import Usage

LIMIT = 100_000


def reply(mean=50.0, variance=100.0, cap=4000):
    return load_of(Ask("m", output_mean=mean, output_variance=variance, output_cap=cap), "tokens", "actual")


def held(pool):
    return pool.total(LIMIT)


def test_a_hundredth_of_the_limit_is_kept_for_a_long_reply():
    pool = HoldPool()
    assert pool.total_with(reply(), LIMIT) == 50 + LIMIT / 100
    pool.add(reply())
    assert held(pool) == 50 + LIMIT / 100
    pool.add(reply())
    assert held(pool) == 100 + LIMIT / 100


def test_many_replies_need_no_more_than_their_deviations():
    pool = HoldPool()
    for _ in range(100):
        pool.add(reply(mean=50.0, variance=2500.0))
    deviation = 500.0
    assert held(pool) == pytest.approx(5000 + max(3 * deviation, 100 * 50.0 + deviation))


def test_a_surprise_is_remembered_and_fades():
    pool = HoldPool()
    pool.learn(reply(), 2550)
    pool.add(reply())
    assert held(pool) == 50 + 2500
    for _ in range(300):
        pool.learn(reply(), 40)
    assert 50 + 1700 < held(pool) < 50 + 2000
    for _ in range(3000):
        pool.learn(reply(), 40)
    assert held(pool) == 50 + LIMIT / 100


def test_a_surprise_never_holds_more_than_the_caps_or_a_tenth_of_the_limit():
    pool = HoldPool()
    pool.learn(reply(), 30_000)
    pool.add(reply())
    assert held(pool) == 4000
    pool.add(reply(cap=None))
    assert held(pool) == 100 + LIMIT / 10


def test_replies_of_known_length_have_no_margin():
    pool = HoldPool()
    pool.learn(reply(), 3000)
    pool.add(reply(mean=400.0, variance=0.0, cap=400))
    assert held(pool) == 400


@pytest.mark.parametrize("told", [True, False])
def test_only_what_the_provider_told_teaches(told):
    """A call that was cut holds its full cap, which says nothing about how long replies are."""
    gate = Gate(GateLimits(rates=(RateLimit("tokens", LIMIT, 60.0),)))
    ask = Ask("m", input_tokens=10, output_mean=50.0, output_variance=100.0, output_cap=4000)

    def in_flight():
        assert isinstance(gate.consider(ask, 0.0), Admit)
        grant = gate.admit(ask, 0.0)
        return grant, gate.usage(0.0)[0].held

    first, before = in_flight()
    if told:
        gate.settle(first, Usage(10, 3000), 0, 0.0)
    else:
        gate.uncertain(first, 0.0)
    _, after = in_flight()
    assert before == 10 + 50 + LIMIT / 100
    assert after == (10 + 3000 if told else before)
