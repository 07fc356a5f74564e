"""A policy that fails for a task costs that task its place, and nothing else; it is said loudly, once."""

import logging
from dataclasses import replace
from decimal import Decimal

import pytest

from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies import Guarded, Strategy, policy_named
from penstock.policies.base import advanced
from penstock.testing.policy_suite_standings import NOW, standings

TASK = Standing(1_000.0, priority=30)


class Odd(Strategy):
    """Does in each place what it was told to."""

    name = "odd"
    preemptive = True

    def __init__(self, **answers):
        self.answers = answers

    def answer(self, place, usual):
        answer = self.answers.get(place, usual)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def rank(self, task, now):
        return self.answer("rank", Rank(7, 3.0))

    def stepped(self, task, service, seconds, now):
        return self.answer("stepped", super().stepped(task, service, seconds, now))

    def flow(self, task):
        return self.answer("flow", "ann")

    def weight(self, flow):
        return self.answer("weight", 2.0)


def test_a_sound_policy_is_itself(caplog):
    guarded = Guarded(Odd())
    assert (guarded.name, guarded.preemptive) == ("odd", True)
    assert guarded.rank(TASK, 1.0) == Rank(7, 3.0)
    assert guarded.stepped(TASK, 5.0, 1.0, 9.0) == advanced(TASK, 5.0, 1.0)
    assert (guarded.flow(TASK), guarded.weight("ann")) == ("ann", 2.0)
    assert (guarded.failures, caplog.records) == (0, [])


@pytest.mark.parametrize(
    "answer",
    [
        ZeroDivisionError("size"),
        Rank(0, float("nan")),
        Rank(0, float("inf")),
        Rank(0, -float("inf")),
        Rank(0, "soon"),
        Rank(0, None),
        Rank(0, True),
        Rank(0, 10**400),
        Rank(0.5, 1.0),
        Rank(True, 1.0),
        Rank(2**63, 1.0),
        (0, 1.0),
        None,
        3.0,
    ],
)
def test_a_bad_rank_becomes_arrival_order(answer, caplog):
    guarded = Guarded(Odd(rank=answer))
    assert [guarded.rank(task, 1.0) for task in (TASK, replace(TASK, entered_at=999.0))] == [
        Rank(0, 1_000.0),
        Rank(0, 999.0),
    ]
    assert guarded.failures == 2
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "strategy odd failed in rank" in record.getMessage()
    assert "arrival order" in record.getMessage()


def test_a_key_may_be_a_whole_number_of_any_size(caplog):
    """A store that counts in 64 bits is given a float."""
    rank = Guarded(Odd(rank=Rank(1, 2**70))).rank(TASK, 1.0)
    assert rank == Rank(1, 2.0**70)
    assert type(rank.key) is float
    assert not caplog.records


def test_it_is_said_once_for_each_reason(caplog):
    odd = Odd()
    guarded = Guarded(odd)
    for answer in (ValueError("a"), Rank(0, float("nan")), ValueError("b"), Rank(0, float("nan")), None):
        odd.answers["rank"] = answer
        for _ in range(50):
            guarded.rank(TASK, 1.0)
    assert [record.getMessage().split("; ")[0] for record in caplog.records] == [
        "strategy odd failed in rank: ValueError: a",
        "strategy odd failed in rank: the key is no finite number, got Rank(band=0, key=nan)",
        "strategy odd failed in rank: not a Rank, got None",
    ]
    assert caplog.records[0].exc_info, "a traceback shows where it was raised"
    assert guarded.failures == 250


@pytest.mark.parametrize(
    "answer",
    [
        KeyError("x"),
        None,
        replace(TASK, attained=float("nan")),
        replace(TASK, size=float("inf")),
        replace(TASK, attained=Decimal(1)),
        replace(TASK, turn_at=None),
        replace(TASK, level=Decimal(1)),
        replace(TASK, level=2**63),
        replace(TASK, level=None),
        replace(TASK, started="no"),
        replace(TASK, program="p"),
    ],
)
def test_a_bad_step_counts_its_service(answer, caplog):
    assert Guarded(Odd(stepped=answer)).stepped(TASK, 5.0, 1.0, 9.0) == advanced(TASK, 5.0, 1.0)
    assert "failed in stepped" in caplog.text


@pytest.mark.parametrize("answer", [KeyError("x"), 3, "\ud800"])
def test_a_bad_flow_is_none(answer, caplog):
    assert Guarded(Odd(flow=answer)).flow(TASK) is None
    assert "failed in flow" in caplog.text


@pytest.mark.parametrize("answer", [KeyError("x"), 0, -1, float("nan"), "much"])
def test_a_bad_weight_is_one(answer, caplog):
    assert Guarded(Odd(weight=answer)).weight("ann") == 1.0
    assert "failed in weight" in caplog.text


def test_a_policy_without_weights_weighs_all_alike():
    class Plain:
        name, preemptive = "plain", False

    assert Guarded(Plain()).weight("ann") == 1.0
    assert Guarded(policy_named("fair", weights={"ann": 3})).weight("ann") == 3.0


def test_what_ends_a_process_is_let_through():
    with pytest.raises(KeyboardInterrupt):
        Guarded(Odd(rank=KeyboardInterrupt())).rank(TASK, 1.0)


def test_a_policy_that_fails_for_some_leaves_the_others_alone(caplog):
    class Picky(Strategy):
        name = "picky"

        def rank(self, task, now):
            return Rank(0, task.entered_at - 1e6 / (task.priority - 20))

    guarded, tasks = Guarded(Picky()), standings()
    ranks = [guarded.rank(task, NOW) for task in tasks]
    for task, rank in zip(tasks, ranks, strict=True):
        assert rank == (Rank(0, task.entered_at) if task.priority == 20 else Picky().rank(task, NOW))
    assert guarded.failures == sum(task.priority == 20 for task in tasks) > 0
    assert len(caplog.records) == 1
