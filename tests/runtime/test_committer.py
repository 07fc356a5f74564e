"""The committer: coalescing, outcomes per operation, replay of a batch with a culprit."""

import asyncio

import pytest

from penstock.errors import StoreError, StoreFull
from penstock.runtime.committer import Committer


class Recording:
    """A store whose transactions note what they were asked; `bad` items fail, `broken` fails everything."""

    def __init__(self):
        self.transactions = []
        self.broken = None

    def run(self, work):
        if self.broken is not None:
            raise self.broken
        verbs = Verbs()
        outcome = work(verbs)
        self.transactions.append(verbs.asked)
        return outcome


class Verbs:
    def __init__(self):
        self.asked = []

    def add(self, items, capacity):
        return self._do("add", items)

    def settle(self, items):
        return self._do("settle", items)

    def record(self, items):
        return self._do("record", items)

    def finish(self, items):
        return self._do("finish", items)

    def _do(self, verb, items):
        if "bad" in items:
            raise ValueError("a bad item")
        self.asked.append((verb, list(items)))
        return [f"{verb} {item}" for item in items]


@pytest.fixture
async def committer():
    made = Committer(Recording())
    await made.start()
    yield made
    await made.stop()


async def test_what_arrives_together_is_one_transaction_in_the_order_of_the_verbs(committer):
    answers = await asyncio.gather(
        committer.do("add", [1, 2]),
        committer.do("finish", [3]),
        committer.run(lambda store: "ran"),
        committer.do("settle", [4]),
        committer.do("finish", [5]),
    )
    assert answers == [["add 1", "add 2"], ["finish 3"], "ran", ["settle 4"], ["finish 5"]]
    assert committer._store.transactions == [[("settle", [4]), ("finish", [3, 5]), ("add", [1, 2])]]


async def test_only_the_culprit_of_a_failed_batch_fails(committer):
    answers = await asyncio.gather(
        committer.do("record", [1]),
        committer.do("record", ["bad"]),
        committer.do("finish", [2]),
        return_exceptions=True,
    )
    assert answers[0] == ["record 1"]
    assert isinstance(answers[1], ValueError)
    assert answers[2] == ["finish 2"]


async def test_a_store_that_fails_fails_all_and_is_reported():
    reported = []
    committer = Committer(Recording(), on_store_error=reported.append)
    await committer.start()
    committer._store.broken = StoreFull("the disk is full")
    answers = await asyncio.gather(
        committer.do("record", [1]), committer.do("finish", [2]), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreFull, StoreFull]
    assert reported
    committer._store.broken = None
    assert await committer.do("record", [3]) == ["record 3"]
    await committer.stop()
    with pytest.raises(StoreError, match="closed"):
        await committer.run(lambda store: None)


async def test_what_is_pending_at_the_stop_is_committed():
    committer = Committer(Recording())
    await committer.start()
    outcomes = []
    committer.send("add", [1], outcomes.extend, outcomes.append)
    await committer.stop()
    assert outcomes == ["add 1"]


class Moody(Recording):
    """Fails the next `left` transactions for a reason nobody knows."""

    left = 0

    def run(self, work):
        if self.left:
            self.left -= 1
            raise RuntimeError("out of a clear sky")
        return super().run(work)


@pytest.mark.parametrize("verb", ["finish", "settle", "record"])
async def test_what_happened_already_is_tried_again_after_an_unknown_error(verb):
    committer = Committer(Moody())
    await committer.start()
    committer._store.left = 2
    assert await committer.do(verb, [1]) == [f"{verb} 1"]
    committer._store.left = 3
    with pytest.raises(RuntimeError):
        await committer.do(verb, [2])
    committer._store.left = 1
    with pytest.raises(RuntimeError):
        await committer.do("add", [3])
    await committer.stop()
