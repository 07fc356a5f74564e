"""Bugs planted on purpose are found: the mutations, and the seeds below 500 that find them."""

from dataclasses import replace

import pytest

from penstock.admission.money import Ledger
from penstock.policies.fair import Fair
from penstock.runtime.heads import Look
from penstock.runtime.permit import Permit
from penstock.stores.contract import TaskFilter
from penstock.stores.sql.transaction import SqlTransaction
from penstock.testing.simulation import simulate


def lost_claims_still_finish(monkeypatch):
    """The fence of `finish` is gone: whoever asks last ends the task."""
    honest = SqlTransaction.finish

    def finish(self, ends):
        seqs = tuple(end.task.seq for end in ends)
        now = {view.seq: view.claim_no for view in self.tasks(TaskFilter(seqs=seqs))}
        return honest(
            self, [replace(end, task=replace(end.task, claim_no=now[end.task.seq])) for end in ends]
        )

    monkeypatch.setattr(SqlTransaction, "finish", finish)


def settlements_forget_the_release(monkeypatch):
    """Money that was held stays held when the true cost is booked."""
    monkeypatch.setattr(Ledger, "give_back", lambda self, tenant, cost: None)


def released_calls_stay_in_flight(monkeypatch):
    """A call that never left is given back in the store, and not at the gate."""
    honest = Permit.release

    def release(self):
        gate, self._admitter.gate = self._admitter.gate, Silent()
        try:
            return honest(self)
        finally:
            self._admitter.gate = gate

    monkeypatch.setattr(Permit, "release", release)


class Silent:
    def release(self, grant, now):
        """Nothing is given back."""


def ranks_ignore_the_flow(monkeypatch):
    """Fair shares without tenants: everybody stands in one line."""
    monkeypatch.setattr(Fair, "flow", lambda self, task: "everybody")


def rivals_ignore_the_flow(monkeypatch):
    """The head of a lane is its best-ranked task, whatever its tenant has had."""

    def read(self, store):
        return {lane: {flow: rank} for lane, (rank, flow) in store.heads(self.lanes).items()}

    monkeypatch.setattr(Look, "read", read)


# Seeds that find each of them, and what they say.
FOUND_BY = [
    (lost_claims_still_finish, 146, "7: finish of task"),
    (lost_claims_still_finish, 129, "7: finish of task"),
    (settlements_forget_the_release, 0, "progress:"),
    (settlements_forget_the_release, 4, "progress:"),
    (released_calls_stay_in_flight, 5, "gate:"),
    (released_calls_stay_in_flight, 17, "gate:"),
    (ranks_ignore_the_flow, 11, "shares: tenants that waited throughout drifted"),
    (ranks_ignore_the_flow, 15, "shares: tenants that waited throughout drifted"),
    (rivals_ignore_the_flow, 11, "shares: tenants that waited throughout drifted"),
    (rivals_ignore_the_flow, 31, "shares: tenants that waited throughout drifted"),
]


@pytest.mark.parametrize(
    ("plant", "seed", "breach"), FOUND_BY, ids=[f"{plant.__name__}-{seed}" for plant, seed, _ in FOUND_BY]
)
def test_a_planted_bug_is_found(monkeypatch, plant, seed, breach):
    assert simulate(seed).breaches == []
    plant(monkeypatch)
    found = simulate(seed).breaches
    assert found
    assert found[0].startswith(breach)
