"""`kill -9` of a job under full load: nothing is lost, nothing is written twice, nothing recorded is paid again.

`penstock run` is killed again and again with at least ten calls in flight, and the same command goes on each time.
"""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from rig import Job, body, check_files, read_store, snapshot, wait_until

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


def kill_again_and_again(job: Job, provider, kills: int, progress: int) -> tuple[Account, dict[str, list[int]]]:
    """Kill with ten calls in flight and about `progress` new replies, `kills` times, then let the job end."""
    account, seen = Account([], Counter(), []), {}
    chance = random.Random(7)
    for _ in range(kills):
        enough = provider.stats()["answered"] + chance.randint(progress // 2, progress)

        def ripe(enough=enough):
            assert job.running, job.end()
            now = provider.stats()
            return now["in_flight"] >= IN_FLIGHT and now["answered"] >= enough and now

        job.start()
        account.in_flight.append(wait_until(ripe)["in_flight"])
        job.kill()
        account.enter(job, provider, seen)
    code, said = job.run()
    assert code == 0, said
    return account, seen


def check_payments(job: Job, provider, account: Account, seen: dict[str, list[int]]) -> int:
    """No line paid again but for intents that a kill left open, nothing recorded paid again; how many were."""
    paid = provider.paid()
    assert set(paid) == set(job.digests)
    repaid = {line: sum(paid[digest]) - 1 for line, digest in enumerate(job.digests, 1)}
    over = {line: times for line, times in repaid.items() if times > account.forgivable[line]}
    assert over == {}, "paid again without an intent that a kill left open"
    assert sum(repaid.values()) <= sum(account.intents)
    assert {digest: paid[digest] for digest in seen} == seen, "a recorded reply was paid again"
    return sum(repaid.values())


def kills(tmp_path, serve, prompts: int, kills: int, concurrency: int, seconds: float) -> str:
    provider = serve(SimulatorConfig(latency=Latency(seconds), output=Output(20)))
    job = Job(tmp_path, provider.base_url, ["--concurrency", str(concurrency), "--quiet"])
    job.write(body(number, 40) for number in range(prompts))
    account, seen = kill_again_and_again(job, provider, kills, progress=prompts // (kills + 2))
    good, bad = check_files(job)
    assert (len(good), bad) == (prompts, [])
    repaid = check_payments(job, provider, account, seen)
    assert min(account.in_flight) >= IN_FLIGHT
    return (
        f"{kills} kills with {min(account.in_flight)}..{max(account.in_flight)} calls in flight; unsettled intents "
        f"{account.intents} = {sum(account.intents)}; paid again {repaid}; recorded before a kill {len(seen)}, none paid again"
    )


def test_a_job_killed_four_times_loses_and_repays_nothing(tmp_path, serve):
    kills(tmp_path, serve, prompts=200, kills=4, concurrency=16, seconds=0.1)


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_a_job_of_2000_prompts_killed_twenty_times(tmp_path, serve, capsys):
    figures = kills(tmp_path, serve, prompts=2000, kills=20, concurrency=32, seconds=0.2)
    with capsys.disabled():
        print(f"\n{figures}")


def torn_tails(tmp_path, serve, prompts: int, kills: int) -> int:
    """Kill while many short replies are being written; how often the files were longer than the store says."""
    provider = serve(SimulatorConfig(output=Output(4), latency=Latency(0.02)))
    job = Job(tmp_path, provider.base_url, ["--concurrency", "64", "--quiet", "--durability", "normal"])
    job.write(body(number, 8) for number in range(prompts))
    torn = 0
    for turn in range(kills):
        before = job.results.stat().st_size if job.results.exists() else 0
        job.start()

        def grown(before=before):
            assert job.running, job.end()
            # So much that nobody dies three times: who was there at three crashes is taken for their cause.
            return job.results.exists() and job.results.stat().st_size > before + 120_000

        wait_until(grown, every=0.0005)
        job.kill()
        batch = read_store(job.store, lambda reader: reader.batch_named(str(job.results)))
        size = job.results.stat().st_size
        assert size >= batch.results_bytes
        torn += size > batch.results_bytes
        # What a killed write can leave at worst: half a record, with no line end.
        with job.results.open("ab") as file:
            file.write(b'{"id":"batch_req_half a rec' if turn % 2 else b'{"line":1,"response":{}}\n{"to')
    code, said = job.run()
    assert code == 0, said
    good, bad = check_files(job)
    assert (len(good), bad) == (prompts, [])
    return torn


def test_a_torn_tail_of_the_results_is_cut(tmp_path, serve):
    torn_tails(tmp_path, serve, prompts=1000, kills=3)


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_ten_torn_tails_are_cut(tmp_path, serve, capsys):
    torn = torn_tails(tmp_path, serve, prompts=8000, kills=10)
    with capsys.disabled():
        print(f"\nthe files held records the store did not know of at {torn} of 10 kills; all were cut")
