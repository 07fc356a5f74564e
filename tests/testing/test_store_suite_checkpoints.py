"""A store that breaks a promise about checkpoints of graphs is found out by the suite."""

from dataclasses import replace

import pytest

from penstock.stores.contract_checkpoints import CheckpointReader, CheckpointWriter
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import StorePlace, store_checks


class Faulty:
    """Stands before a store or a transaction; `faults` replace the outcomes of verbs."""

    def __init__(self, target, faults):
        self._target, self._faults = target, faults

    def __getattr__(self, name):
        verb = getattr(self._target, name)
        if name in ("run", "read"):
            return lambda work: verb(lambda inner: work(Faulty(inner, self._faults)))
        fault = self._faults.get(name)
        return verb if fault is None else lambda *args, **kwargs: fault(verb, *args, **kwargs)


def always(value):
    return lambda verb, *args, **kwargs: value


def without_writes(verb, at):
    found = verb(at)
    return None if found is None else replace(found, writes=())


def without_seeds(verb, at, channels):
    return {channel: replace(past, seed=None) for channel, past in verb(at, channels).items()}


FAULTS = {
    "checkpoint": (without_writes, "pending_writes"),
    "checkpoints": (lambda verb, where, *rest: verb(where), "checkpoints_are_listed"),
    "channel_pasts": (without_seeds, "channel_pasts"),
    "threads": (lambda verb, *args: verb(), "threads_are_listed"),
    "put_checkpoint": (lambda verb, new, *rest: verb(replace(new, parent=None), *rest), "channel_pasts"),
    "put_channel_writes": (
        lambda verb, at, writes, *rest: verb(at, [replace(one, path="") for one in writes], *rest),
        "pending_writes",
    ),
    "drop_threads": (always(1), "threads_are_dropped"),
    "drop_runs": (lambda verb, runs: verb(runs) and [], "runs_are_dropped"),
    "copy_thread": (always(None), "threads_are_copied"),
    "keep_newest": (always(5), "keep_newest"),
    "drop_idle_threads": (lambda verb, now, limit=20: verb(now + 60), "threads_expire"),
}


def test_there_is_a_fault_for_every_verb():
    verbs = {name for one in (CheckpointReader, CheckpointWriter) for name in vars(one) if name[0] != "_"}
    assert verbs == set(FAULTS)


@pytest.mark.parametrize("verb", FAULTS)
def test_a_broken_promise_is_found_out(verb):
    fault, name = FAULTS[verb]
    [check] = [check for check in store_checks() if check.name == name]
    check.run(StorePlace(lambda: SqliteStore.open(":memory:"), shared=False))
    with pytest.raises(AssertionError):
        check.run(StorePlace(lambda: Faulty(SqliteStore.open(":memory:"), {verb: fault}), shared=False))
