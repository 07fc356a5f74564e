"""A budget holds at every instant: with 200 calls at once, nothing learned yet, across kills and restarts.

The truth comes from two sides: the store's own rows, replayed event by event, and what the simulator billed.
"""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rig import (
    MODEL,
    Job,
    Provider,
    body,
    check_files,
    most_booked,
    penstock,
    read_store,
    reservations,
    snapshot,
)

from penstock.model.reservation import ReservationState
from penstock.model.states import TaskStatus
from penstock.simulator import Latency, Output, SimulatorConfig
from penstock.stores.contract import TaskFilter

TRUE_OUTPUT = 50
CAP = 4 * TRUE_OUTPUT
PROMPT_TOKENS = 7  # what the simulator counts for one of our lines
PRICE_IN, PRICE_OUT = 2, 10  # USD per million tokens, which is micro-dollars per token
MICRO = 1_000_000  # pico-dollars
TRUE_COST = (PROMPT_TOKENS * PRICE_IN + TRUE_OUTPUT * PRICE_OUT) * MICRO


def usd(pico: int) -> str:
    return f"{Decimal(pico) / 10**12:f}"


def billed(provider: Provider) -> int:
    """What the provider would charge, in pico-dollars."""
    tokens = provider.quiet()["tokens"]
    return (tokens["input"] * PRICE_IN + tokens["output"] * PRICE_OUT) * MICRO


def budget_job(make_job, provider: Provider, lines: int, *options: str) -> Job:
    bodies = [body(number, CAP) for number in range(lines)]
    price = f"{MODEL}={PRICE_IN},{PRICE_OUT}"
    return make_job(provider, bodies, "--price", price, "--concurrency", "200", *options)


def provider_of(serve, seconds: float) -> Provider:
    return serve(SimulatorConfig(latency=Latency(seconds), output=Output(TRUE_OUTPUT)))


def check_budget(job: Job, provider: Provider, budget: int) -> tuple[int, int, int]:
    """Never above the budget, all refusals named; results, uncertain money, the highest that was booked."""
    good, bad = check_files(job)
    assert Counter(one["error"]["code"] for one in bad) == {"budget_exhausted": len(bad)}
    assert all("budget" in one["error"]["message"] for one in bad)
    assert {one["cost_usd"] for one in good} >= {usd(TRUE_COST)}
    rows = reservations(job.store)
    highest = most_booked(rows)
    assert highest <= budget
    assert billed(provider) <= budget
    uncertain = sum(one.cost for one in rows if one.state is ReservationState.UNCERTAIN)
    assert not any(one.state is ReservationState.HELD for one in rows)
    return len(good), uncertain, highest


def test_200_calls_at_once_against_a_budget_for_50(make_job, serve, figures):
    provider, budget = provider_of(serve, 0.1), 50 * TRUE_COST
    job = budget_job(make_job, provider, 200, "--budget", usd(budget))
    code, said = job.run()
    assert code == 4, said
    good, uncertain, highest = check_budget(job, provider, budget)
    assert good >= 49
    assert uncertain == 0
    assert highest > 0.9 * budget
    assert provider.stats()["paid"]["twice"] == 0
    figures(f"{good} of 50 succeeded, highest booked {highest / budget:.4f} of the budget")


def test_a_budget_survives_kill_dash_nine(make_job, serve, figures):
    """Money of calls in flight at the kill stays booked as uncertain: nobody knows what they cost.

    So 49 cannot succeed, for the provider has billed the others: results and uncertain money together use the
    budget up, to what one more call would be held at: its cap, while fewer than 30 replies are known.
    """
    provider, budget = provider_of(serve, 0.3), 50 * TRUE_COST
    job = budget_job(make_job, provider, 200, "--budget", usd(budget))
    job.start()
    job.reach(lambda: (now := provider.stats())["answered"] >= 12 and now["in_flight"] >= 5)
    job.kill()
    open_intents = sum(snapshot(job.store).unsettled.values())
    code, said = job.run()
    assert code == 4, said
    good, uncertain, _ = check_budget(job, provider, budget)
    assert uncertain > 0
    assert budget - good * TRUE_COST - uncertain < 4.1 * TRUE_COST
    # A reply may have been on its way when the kill came.
    assert provider.stats()["paid"]["answered_twice"] <= open_intents
    figures(f"{good} succeeded, {uncertain / TRUE_COST:.2f} calls' worth are uncertain")


def test_first_calls_of_which_nothing_is_known_hold_their_caps(make_job, serve):
    provider, budget = provider_of(serve, 0.3), 10 * TRUE_COST
    job = budget_job(make_job, provider, 40, "--budget", usd(budget))
    job.start()
    job.reach(lambda: provider.stats()["in_flight"] >= 2)
    held = read_store(job.store, lambda reader: reader.reservations(("held",)))
    assert {one.output_held for one in held} == {CAP}
    code, said = job.end()
    assert code == 4, said
    good, _, _ = check_budget(job, provider, budget)
    assert good == 7  # the eighth and later ones could cost four times as much as they do: three are left
    assert provider.stats()["max_in_flight"] == 2


def zone_with_a_long_day() -> str:
    """A zone in which it is about ten in the morning, so that no midnight comes while we look."""
    return f"Etc/GMT{(datetime.now(UTC).hour - 10 + 12) % 24 - 12:+d}"


def test_a_daily_budget_lets_calls_wait_and_says_so(make_job, serve):
    provider, budget = provider_of(serve, 0.05), 6 * TRUE_COST
    job = budget_job(make_job, provider, 20, "--daily-budget", usd(budget), "--zone", zone_with_a_long_day())
    job.start()
    job.reach(lambda: provider.stats()["answered"])

    def waiting():
        found = read_store(job.store, lambda reader: reader.waits())
        return [one for one in found if one.reason == "period"]

    (first, *_) = job.reach(waiting, every=0.05)
    tasks = read_store(job.store, lambda reader: reader.tasks(TaskFilter()))
    id = next(task.id for task in tasks if task.seq == first.task)
    told = json.loads(penstock("why", id, "--store", str(job.store), "--json").stdout)
    assert told["reason"] == "period"
    assert "day" in told["key"] or "daily" in told["key"]
    assert 3600 < told["expected_seconds"] < 24 * 3600
    assert job.interrupt() == 130
    states = Counter(task.status for task in read_store(job.store, lambda r: r.tasks(TaskFilter())))
    assert set(states) == {TaskStatus.COMPLETED, TaskStatus.QUEUED}  # nothing failed for want of money
    assert states[TaskStatus.COMPLETED] >= 3
    assert most_booked(reservations(job.store)) <= budget
    assert billed(provider) <= budget


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_a_budget_over_many_kills_and_polite_restarts(make_job, serve, figures):
    """Stopped six times, in turns by Ctrl-C and by `kill -9`, each with calls in flight."""
    provider, budget = provider_of(serve, 0.5), 900 * TRUE_COST
    job = budget_job(make_job, provider, 1200, "--budget", usd(budget), "--concurrency", "40")
    codes = []
    for turn in range(6):
        enough = provider.stats()["answered"] + 35
        job.start()
        job.reach(lambda at=enough: (now := provider.stats())["answered"] >= at and now["in_flight"] >= 10)
        if turn % 2:
            job.kill()
        else:
            codes.append(job.interrupt())
    code, said = job.run()
    assert code == 4, said
    assert codes == [130] * 3
    good, uncertain, highest = check_budget(job, provider, budget)
    assert budget - good * TRUE_COST - uncertain < 1.1 * TRUE_COST
    figures(
        f"{good} of at most 900 affordable succeeded, {uncertain / TRUE_COST:.1f} more are uncertain; "
        f"highest booked {highest / budget:.4f} and billed {billed(provider) / budget:.4f} of the budget"
    )
