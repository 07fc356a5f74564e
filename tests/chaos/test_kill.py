"""`kill -9` of a job under full load: nothing is lost or written twice, nothing recorded is paid again.

The job is killed again and again with at least ten calls in flight, and the same command goes on each time.
"""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from rig import Job, body, check_files, read_store, snapshot

from penstock.simulator import Latency, Output, SimulatorConfig

IN_FLIGHT = 10


@dataclass
class Account:
    """What was read after each kill."""

    intents: list[int]
    forgivable: Counter[int]
    in_flight: list[int]

    def enter(self, job: Job, provider, seen: dict[str, list[int]]) -> None:
        """Take in one kill; `seen` becomes what the recorded lines had been paid by then."""
        provider.quiet()
        paid, left = provider.paid(), snapshot(job.store)
        self.intents.append(sum(left.unsettled.values()))
        self.forgivable += Counter(left.unsettled.keys())
        for line in left.recorded:
            digest = job.digests[line - 1]
            seen.setdefault(digest, paid[digest])


def kill_again_and_again(job: Job, provider, kills: int, progress: int):
    """Kill with ten calls in flight and up to `progress` new replies, `kills` times, then let the job end."""
    account, seen = Account([], Counter(), []), {}
    chance = random.Random(7)
    for _ in range(kills):
        enough = provider.stats()["answered"] + chance.randint(progress // 2, progress)
        job.start()
        account.in_flight.append(job.reach(lambda at=enough: ripe(provider, at))["in_flight"])
        job.kill()
        account.enter(job, provider, seen)
    code, said = job.run()
    assert code in (0, 3), said
    return account, seen


def ripe(provider, answered: int):
    """The statistics once so many calls were answered while ten are in flight."""
    now = provider.stats()
    return now["answered"] >= answered and now["in_flight"] >= IN_FLIGHT and now


def check_payments(job: Job, provider, account: Account, seen: dict[str, list[int]]) -> int:
    """Nothing is paid again but for intents that a kill left open, and nothing recorded; how many were."""
    paid = provider.paid()
    assert set(paid) == set(job.digests)
    repaid = {line: sum(paid[digest]) - 1 for line, digest in enumerate(job.digests, 1)}
    over = {line: times for line, times in repaid.items() if times > account.forgivable[line]}
    assert over == {}, "paid again without an intent that a kill left open"
    assert sum(repaid.values()) <= sum(account.intents)
    assert {digest: paid[digest] for digest in seen} == seen, "a recorded reply was paid again"
    return sum(repaid.values())


def kills(make_job, serve, prompts: int, kills: int, concurrency: int, seconds: float, progress: int) -> str:
    provider = serve(SimulatorConfig(latency=Latency(seconds), output=Output(20)))
    bodies = [body(number, 40) for number in range(prompts)]
    job = make_job(provider, bodies, "--concurrency", str(concurrency))
    account, seen = kill_again_and_again(job, provider, kills, progress)
    _, bad = check_files(job)
    # Who died twice runs with no other such line beside it: a third kill can blame one, and no other.
    assert {one["error"]["code"] for one in bad} <= {"poison"}
    assert len(bad) <= kills
    repaid = check_payments(job, provider, account, seen)
    assert min(account.in_flight) >= IN_FLIGHT
    return (
        f"{kills} kills with {min(account.in_flight)} to {max(account.in_flight)} calls in flight; "
        f"unsettled intents {account.intents}, {sum(account.intents)} in all, paid again {repaid}; "
        f"{len(seen)} of {prompts} recorded before some kill, none of them paid again; "
        f"{len(bad)} blamed for three kills"
    )


def test_a_job_killed_four_times_loses_and_repays_nothing(make_job, serve, figures):
    # Many more prompts than the kills need: a slow machine sees late that it is time to kill.
    figures(kills(make_job, serve, prompts=400, kills=4, concurrency=16, seconds=0.1, progress=30))


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_a_job_of_2000_prompts_killed_twenty_times(make_job, serve, figures):
    figures(kills(make_job, serve, prompts=2000, kills=20, concurrency=32, seconds=0.2, progress=90))


def test_of_those_who_were_there_at_three_kills_at_most_one_is_blamed(make_job, serve):
    """With no progress between the kills the same lines are in flight each time; suspects run singly."""
    provider = serve(SimulatorConfig(latency=Latency(0.2), output=Output(20)))
    bodies = [body(number, 40) for number in range(100)]
    # With a limit that somebody set, all start at once; without, calls would begin one by one.
    job = make_job(provider, bodies, "--concurrency", "12", "--rpm", "100000")
    for _ in range(3):
        job.start()
        job.reach(lambda: ripe(provider, 0))
        job.kill()
        provider.quiet()
    code, said = job.run()
    _, bad = check_files(job)
    assert code == (3 if bad else 0), said
    assert len(bad) <= 1
    assert {one["error"]["code"] for one in bad} <= {"poison"}


def torn_tails(make_job, serve, prompts: int, kills: int) -> str:
    """Kill while many short replies are being written, and tear the files in the worst way."""
    provider = serve(SimulatorConfig(output=Output(4), latency=Latency(0.02)))
    bodies = [body(number, 8) for number in range(prompts)]
    job = make_job(provider, bodies, "--concurrency", "32", "--durability", "normal")
    torn = 0
    for turn in range(kills):
        before = size_of(job.results)
        job.start()
        job.reach(lambda at=before: size_of(job.results) > at + 100_000, every=0.0005)
        job.kill()
        batch = read_store(job.store, lambda reader: reader.batch_named(str(job.results)))
        assert size_of(job.results) >= batch.results_bytes
        torn += size_of(job.results) > batch.results_bytes
        # What a killed write can leave at worst: half a record, with no line end.
        with job.results.open("ab") as file:
            file.write(b'{"id":"batch_req_half a rec' if turn % 2 else b'{"line":1,"response":{}}\n{"to')
    code, said = job.run()
    assert code == 0, said
    good, bad = check_files(job)
    assert (len(good), bad) == (prompts, [])
    return f"the results held more than the store knew of at {torn} of {kills} kills; all of it was cut"


def size_of(path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_a_torn_tail_of_the_results_is_cut(make_job, serve, figures):
    figures(torn_tails(make_job, serve, prompts=1000, kills=2))


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_ten_torn_tails_are_cut(make_job, serve, figures):
    figures(torn_tails(make_job, serve, prompts=4000, kills=10))
