"""Every fault of the simulator on a tenth of the calls: each line is answered or fails for a named reason."""

from collections import Counter

import pytest
from rig import body, check_files

from penstock.llm.refusals import Refusal
from penstock.simulator import Faults, Latency, Output, SimulatorConfig

# What a line can fail of when its provider misbehaves.
NAMED = {*Refusal, "no_reply", "unreachable", "malformed_reply", "timeout"}
BILLED = ("hang", "cut", "malformed")
UNBILLED = ("error_500", "error_503", "overloaded", "burst_429")


def run_through(make_job, serve, lines: int, faults: Faults, timeout: float):
    """The job and its provider after a run; calls that hang are given up after `timeout` seconds."""
    provider = serve(SimulatorConfig(seed=89, latency=Latency(0.02), output=Output(10), faults=faults))
    job = make_job(provider, [body(number, 20) for number in range(lines)], "--timeout", str(timeout))
    code, said = job.run(340)
    return job, provider, code, said


def every_fault(make_job, serve, lines: int, each: float, burst: float, burst_seconds: float, timeout: float):
    faults = Faults(
        error_500=each, error_503=each, overloaded=each, hang=each, cut=each, malformed=each,
        burst_429=burst, burst_seconds=burst_seconds, slow_start_seconds=1.0, slow_start_factor=5.0,
    )  # fmt: skip
    job, provider, code, said = run_through(make_job, serve, lines, faults, timeout)
    good, bad = check_files(job)
    assert code == (3 if bad else 0), said
    reasons = Counter(one["error"]["code"] for one in bad)
    assert set(reasons) <= NAMED
    stats, paid = provider.quiet(), provider.paid()
    assert all(stats["faults"][name] for name in (*BILLED, *UNBILLED))
    assert stats["paid"]["answered_twice"] == 0
    assert all(paid[job.digests[one["line"] - 1]][0] == 1 for one in good)
    # Billed without a whole reply: only what the simulator itself broke; nothing was left by us.
    assert stats["abandoned"] == 0
    assert stats["paid"]["cut"] == sum(stats["faults"][name] for name in BILLED)
    assert stats["answered"] == len(good)
    share = sum(stats["faults"].values()) / stats["calls"]
    return (
        f"{stats['calls']} calls, faults {stats['faults']} = {share:.1%}; {len(good)} answered, "
        f"failed {dict(reasons)}; paid more than once {stats['paid']['twice']}, all after a broken reply; "
        f"answered twice {stats['paid']['answered_twice']}"
    )


def test_every_fault_at_a_tenth_of_300_calls(make_job, serve, figures):
    figures(every_fault(make_job, serve, 300, each=0.015, burst=0.01, burst_seconds=0.1, timeout=3.0))


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_every_fault_at_a_tenth_of_5000_calls(make_job, serve, figures):
    figures(every_fault(make_job, serve, 5000, each=0.015, burst=0.001, burst_seconds=0.3, timeout=5.0))


def test_an_empty_account_stops_the_job_and_nothing_is_tried_again(make_job, serve):
    job, provider, code, said = run_through(make_job, serve, 300, Faults(insufficient_quota=1.0), 10.0)
    assert code == 2
    assert "credit" in said
    assert "No line is lost" in said
    assert "Traceback" not in said
    stats = provider.stats()
    assert stats["faults"]["insufficient_quota"] == stats["calls"] <= 150
    assert job.results.read_text() == job.errors.read_text() == ""


def test_a_refusal_for_quota_among_successes_fails_its_line_at_once(make_job, serve):
    job, provider, code, said = run_through(make_job, serve, 200, Faults(insufficient_quota=0.05), 10.0)
    assert code == 3, said
    good, bad = check_files(job)
    assert {(one["error"]["code"], one["error"]["attempt"]) for one in bad} == {("quota_exhausted", 1)}
    stats = provider.stats()
    assert (stats["calls"], stats["answered"]) == (200, len(good))
    assert stats["faults"] == {"insufficient_quota": len(bad)}
