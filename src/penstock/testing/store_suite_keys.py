"""What a store promises about API keys, the terms of tenants, and the figures a monitor asks for."""

from __future__ import annotations

from dataclasses import replace

from penstock.model.api_key import ApiKey, TenantTerms
from penstock.model.reservation import ReservationState
from penstock.stores.contract import Transaction
from penstock.testing.store_probe import NOW, Probe, same, settled

KEY = ApiKey("ci", "ab" * 32, "pk_abcd…", ("submit", "read"), "acme", NOW)


def check_keys_are_kept(probe: Probe) -> None:
    """A key reads back as it was put, in the place of the one of its name, and goes with `drop_key`."""
    full = replace(KEY, expires_at=NOW + 1, revoked_at=NOW + 2, old_digest="cd" * 32, old_until=NOW + 3)
    probe.store.run(lambda tx: tx.put_key(KEY))
    probe.store.run(lambda tx: tx.put_key(replace(KEY, name="ad", digest="ef" * 32)))
    probe.store.run(lambda tx: tx.put_key(full))
    found = probe.store.read(lambda reader: reader.api_keys())
    same([one.name for one in found], ["ad", "ci"], "names in order")
    same(found[1], full, "the later of one name")
    same(probe.store.run(lambda tx: (tx.drop_key("ci"), tx.drop_key("ci"))), (True, False), "dropped once")


def check_terms_are_kept(probe: Probe) -> None:
    """A tenant's terms read back, and are forgotten when they say nothing."""
    terms = TenantTerms("acme", 60, 600, 9_000, 4, 2_500_000_000_000, 0.5)
    probe.store.run(lambda tx: tx.put_terms(replace(terms, weight=3.0)))
    probe.store.run(lambda tx: tx.put_terms(terms))
    same(probe.store.read(lambda reader: reader.tenant_terms()), [terms], "terms")
    probe.store.run(lambda tx: tx.put_terms(TenantTerms("acme")))
    same(probe.store.read(lambda reader: reader.tenant_terms()), [], "terms that say nothing")


def check_changes_of_keys_are_counted(probe: Probe) -> None:
    """`keys_version` rises with every change of keys and terms, also twice in one transaction."""
    seen = [probe.store.read(lambda reader: reader.keys_version())]

    def twice(tx: Transaction) -> None:
        tx.put_key(KEY)
        tx.put_terms(TenantTerms("acme", weight=2.0))

    probe.store.run(twice)
    seen.append(probe.store.read(lambda reader: reader.keys_version()))
    probe.store.run(lambda tx: tx.drop_key("ci"))
    seen.append(probe.store.read(lambda reader: reader.keys_version()))
    same(seen, [0, 2, 3], "versions")


def check_figures_of_a_monitor(probe: Probe) -> None:
    """`spend_sums` adds up settled money by tenant and model; `longest_waiting` tells the earliest entry."""
    same(probe.store.read(lambda reader: reader.longest_waiting()), None, "nothing waits")
    probe.add(at=NOW - 50, flow="a")
    probe.add(at=NOW - 90)
    same(probe.store.read(lambda reader: reader.longest_waiting()), NOW - 90, "the earliest")
    ids = [probe.reserve(tenant=tenant, model="m") for tenant in ("acme", "acme", "beta")]
    ends = [
        settled(id, ReservationState.SETTLED, input_tokens=3, output_tokens=4, cost=cost)
        for id, cost in zip(ids, (5, 6, 7), strict=True)
    ]
    probe.store.run(lambda tx: tx.settle(ends))
    sums = probe.store.read(lambda reader: reader.spend_sums())
    told = [(one.tenant, one.model, one.cost, one.calls, one.input_tokens) for one in sums]
    same(told, [("acme", "m", 11, 2, 6), ("beta", "m", 7, 1, 3)], "sums")


CHECKS = (
    check_keys_are_kept,
    check_terms_are_kept,
    check_changes_of_keys_are_counted,
    check_figures_of_a_monitor,
)
