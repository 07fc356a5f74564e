"""The store suite asks for every verb of the contract, and a store that breaks a promise is found out."""

from dataclasses import replace

import pytest

from penstock.stores.contract import (
    Pruned,
    Reader,
    Rescued,
    ScheduleReader,
    ScheduleWriter,
    Store,
    Transaction,
)
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import StorePlace, run_store_suite, store_checks


class Proxy:
    """Stands before `target`; `faults` replace the outcome of a verb, `called` remembers the verbs."""

    def __init__(self, target, faults, called):
        self._target, self._faults, self._called = target, faults, called

    def __getattr__(self, name):
        verb = getattr(self._target, name)
        fault = self._faults.get(name)

        def call(*args, **kwargs):
            self._called.add(name)
            return verb(*args, **kwargs) if fault is None else fault(verb, *args, **kwargs)

        return call


class ProxyStore(Proxy):
    """A store whose transactions go through proxies."""

    def run(self, work):
        self._called.add("run")
        return self._target.run(lambda tx: work(Proxy(tx, self._faults, self._called)))

    def read(self, work):
        self._called.add("read")
        return self._target.read(lambda reader: work(Proxy(reader, self._faults, self._called)))


def places_with(folder, faults, called):
    """Makes places of a SQLite store with these faults; `called` gets the verbs it is asked for."""
    numbers = iter(range(1000))

    def open_at(path):
        return ProxyStore(SqliteStore.open(path, durability="normal"), faults, called)

    def make_place():
        path = str(folder / f"{next(numbers)}.db")
        return StorePlace(lambda: open_at(path), beside=path + ".backup", open_copy=open_at)

    return make_place


def verbs_of(*protocols):
    return {name for one in protocols for name in vars(one) if not name.startswith("_")}


def test_every_verb_of_the_contract_is_asked_for(tmp_path):
    called = set()
    report = run_store_suite(places_with(tmp_path, {}, called))
    report.demand()
    assert verbs_of(Store, Reader, Transaction, ScheduleReader, ScheduleWriter) - called == set()
    assert report.skipped == {}


def test_what_cannot_be_opened_twice_is_skipped():
    report = run_store_suite(lambda: StorePlace(lambda: SqliteStore.open(":memory:"), shared=False))
    report.demand()
    assert {"commits_are_seen", "changed_by_others"} <= set(report.skipped)


def claims_worst_first(verb, *args):
    return sorted(verb(*args), key=lambda task: task.rank, reverse=True)


def flows_worst_first(verb, *args):
    return sorted(verb(*args), key=lambda task: (task.flow, task.rank), reverse=True)


def rescues_without_telling(verb, *args, **kwargs):
    verb(*args, **kwargs)
    return Rescued()


def books_double(verb):
    return [replace(row, cost=2 * row.cost) for row in verb()]


def always(value):
    return lambda verb, *args, **kwargs: value


def done_without_doing(verb, items, *args, **kwargs):
    return [True] * len(items)


def says_yes(verb, items, *args, **kwargs):
    verb(items, *args, **kwargs)
    return [True] * len(items)


FAULTS = {
    "claim": (claims_worst_first, "claim_order"),
    "claim_flows": (flows_worst_first, "claim_of_flows"),
    "heads": (always({}), "heads"),
    "waiting_flows": (lambda verb: [*verb(), *verb()], "waiting_flows"),
    "waiting_of_program": (lambda verb, program, after, limit: verb(program, 0, limit), "waiting_of_program"),
    "keep_standings": (always(None), "standings_of_running_tasks"),
    "flow_heads": (always({}), "flow_heads"),
    "flow_standings": (always([]), "flow_standings"),
    "keep_flows": (always(None), "flow_standings"),
    "latest_programs": (lambda verb, limit: verb(99), "latest_programs"),
    "waiting_seqs": (lambda verb: verb()[1:], "waiting"),
    "waiting": (lambda verb, seqs: verb(seqs)[1:], "rerank_in_chunks"),
    "program": (always((0.0, 0.0, 0.0)), "programs_go_with_their_tasks"),
    "serve_program": (always(None), "programs"),
    "finish": (says_yes, "finish_only_once"),
    "put_back": (says_yes, "fence_after_put_back"),
    "record": (done_without_doing, "journal"),
    "settle": (says_yes, "settle_once"),
    "release_uncertain": (done_without_doing, "uncertain"),
    "add": (lambda verb, tasks, capacity: verb(tasks), "capacity"),
    "promote": (rescues_without_telling, "delayed_task"),
    "rescue": (rescues_without_telling, "poison"),
    "rerank": (always(None), "rerank"),
    "renew": (always(True), "nodes"),
    "spend": (books_double, "spend_by_slice_tenant_and_model"),
    "cached": (lambda verb, tenant, digest, now: verb(tenant, digest, 0.0), "cache"),
    "shift_stamps": (always(None), "shift_stamps"),
    "drop_written": (always(None), "batch_line_waits_for_its_file"),
    "prune": (always(Pruned()), "prune_by_age"),
    "cancel": (always({}), "cancel"),
    "changed_by_others": (always(True), "changed_by_others_without_others"),
    "lock_dispatch": (always(None), "one_dispatcher"),
    "recent_reservations": (lambda verb, since: verb(since + 1), "recent_reservations"),
    "verify": (always(["bad page"]), "upkeep"),
    "dependencies": (lambda verb, seq: sorted(verb(seq)), "dependencies_in_one_batch"),
    "results_of": (always({}), "results_of_dependencies"),
    "tell": (says_yes, "tell"),
    "events": (lambda verb, *args: verb(*args[:3]), "tell"),
    "next_due": (always(None), "expiry"),
    "schedule": (always(None), "schedules"),
    "schedules": (lambda verb, tenant=None: verb(), "schedules"),
    "due_schedules": (lambda verb, now, limit=100: verb(now + 9, limit), "due_schedules"),
    "next_firing": (always(None), "due_schedules"),
    "put_schedule": (always(None), "schedules"),
    "move_schedule": (lambda verb, *args: verb(*args) or True, "move_schedule"),
    "drop_schedule": (always(True), "schedules"),
    "open_budget": (always(None), "budget_is_booked"),
    "program_budgets": (lambda verb, programs: verb(programs)[::-1], "budgets_within_budgets"),
    "programs_over": (lambda verb, programs: list(programs), "budget_goes_with_its_program"),
}


@pytest.mark.parametrize("verb", FAULTS)
def test_a_broken_promise_is_found_out(verb, tmp_path):
    fault, name = FAULTS[verb]
    [check] = [check for check in store_checks() if check.name == name]
    check.run(places_with(tmp_path, {}, set())())
    with pytest.raises(AssertionError):
        check.run(places_with(tmp_path / "broken", {verb: fault}, set())())


def test_the_report_names_what_failed(tmp_path):
    report = run_store_suite(places_with(tmp_path, {"promote": rescues_without_telling}, set()))
    assert not report.ok
    with pytest.raises(
        AssertionError, match=r"(?s)FAILED delayed_task: AssertionError: promote .*check_delayed_task"
    ):
        report.demand()
