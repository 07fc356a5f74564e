"""What the demo claims, each held against the provider's own books, the store and the files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.cli.demo.crash import Crash
from penstock.cli.demo.plan import Plan
from penstock.cli.show_text import money
from penstock.manager import open_store
from penstock.model.usage import to_pico
from penstock.runtime.settings import Settings
from penstock.simulator import SimulatorThread


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence and whether it is true."""

    about: str
    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the claims are made of. `repaid_recorded`: recorded replies that were paid for again."""

    plan: Plan
    crash: Crash
    stats: dict[str, Any]
    repaid_recorded: int
    ids: frozenset[str]
    found: Counter[str]
    failed: int
    spent: int
    uncertain: int


def gather(plan: Plan, folder: Path, simulator: SimulatorThread, crash: Crash) -> Evidence:
    """Read provider, store and files."""
    repaid = sum(1 for one in crash.recorded if sum(simulator.paid_for(one)) != 1)
    results, errors = _ids(folder / plan.results), _ids(folder / plan.errors)
    spent, uncertain = _money(folder / plan.store)
    return Evidence(
        plan,
        crash,
        simulator.stats(),
        repaid,
        frozenset(_ids(folder / plan.input)),
        Counter(results + errors),
        len(errors),
        spent,
        uncertain,
    )


def claims(seen: Evidence) -> list[Claim]:
    return [_complete(seen), _refused(seen), _use(seen), _paid(seen), _cost(seen)]


def windows(seen: Evidence) -> list[float]:
    """The share of the request limit that each window of the provider held."""
    return [float(share) for share in seen.stats["limits"]["default"]["requests"]["utilisation"]]


def _complete(seen: Evidence) -> Claim:
    exactly_once = set(seen.found) == seen.ids and set(seen.found.values()) == {1}
    answered = seen.found.total() - seen.failed
    text = f"{answered:,} of {len(seen.ids):,} requests answered; each line is in exactly one file, once"
    if not exactly_once:
        lost, double = len(seen.ids - set(seen.found)), sum(n > 1 for n in seen.found.values())
        text = f"{lost} lines are in no file, {double} more than once"
    return Claim("complete", text, exactly_once and not seen.failed)


def _refused(seen: Evidence) -> Claim:
    refused, over = seen.stats["refused"], seen.stats["violations"]
    calls = seen.stats["calls"]
    text = f"{refused} of {calls:,} calls refused by the provider; {over} windows above a limit"
    return Claim("refused", text, refused == 0 and over == 0)


def _use(seen: Evidence) -> Claim:
    books = seen.stats["limits"]["default"]["requests"]
    limit, peak = books["limit"], books["peak_sliding"]
    text = (
        f"at most {peak:,} of {limit:,} requests in any {seen.plan.window_seconds:g} s: "
        f"{peak / limit:.0%} of the limit at the peak"
    )
    return Claim("limit use", text, 0 < peak <= limit)


def _paid(seen: Evidence) -> Claim:
    """A repeated call counts as paid twice when the provider had billed it before the crash cut it."""
    intents, recorded = seen.crash.intents, len(seen.crash.recorded)
    twice = seen.stats["billed"] - seen.stats["paid"]["requests"]
    text = (
        f"{intents} calls were in flight at the crash and were repeated, {twice} of them billed before; "
        f"of the {recorded:,} recorded replies {seen.repaid_recorded or 'none'} was paid again"
    )
    return Claim("paid twice", text, seen.repaid_recorded == 0 and 0 <= twice <= intents)


def _cost(seen: Evidence) -> Claim:
    budget = to_pico(seen.plan.budget)
    text = (
        f"{money(seen.spent)} spent and {money(seen.uncertain)} booked for the calls that the crash cut, "
        f"of a budget of {money(budget)}"
    )
    return Claim("cost", text, 0 < seen.spent + seen.uncertain <= budget)


def _ids(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [str(json.loads(line)["custom_id"]) for line in file]


def _money(path: Path) -> tuple[int, int]:
    """Settled and uncertain money of the store, in pico-dollars."""
    store = open_store(Settings(store=str(path)), read_only=True)
    try:
        rows = store.read(lambda reader: reader.spend())
        return sum(row.cost for row in rows), sum(row.uncertain for row in rows)
    finally:
        store.close()
