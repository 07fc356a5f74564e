"""A restart, polite or by `kill -9`, forgets nothing of what the current windows have seen."""

import pytest
from rig import body, check_files

from penstock.simulator import Latency, Limits, Output, SimulatorConfig

CAP, TRUE_OUTPUT = 40, 20


def restarts(make_job, serve, lines: int, limits: Limits, options: list[str], stops: list[tuple[str, int]]):
    """Kill or interrupt each time so many lines more were answered; the simulator's books."""
    provider = serve(SimulatorConfig(limits=limits, latency=Latency(0.1), output=Output(TRUE_OUTPUT)))
    job = make_job(provider, [body(number, CAP) for number in range(lines)], *options)
    for how, more in stops:
        enough = provider.stats()["answered"] + more
        job.start()
        job.reach(lambda at=enough: (now := provider.stats())["answered"] >= at and now["in_flight"] > 0)
        if how == "kill":
            job.kill()
        else:
            assert job.interrupt() == 130
    code, said = job.run()
    assert code == 0, said
    good, bad = check_files(job)
    assert (len(good), bad) == (lines, [])
    stats = provider.quiet()
    books = stats["limits"]["default"]
    assert stats["refused"] == 0, stats["by_status"]
    for name in ("requests", "tokens"):
        limit = books[name]["limit"]
        assert limit is None or books[name]["peak_sliding"] <= limit
        assert books[name]["violations"] == 0
    return stats, books


def test_no_window_of_requests_is_passed_over_three_restarts(make_job, serve):
    limits = Limits(requests_per_window=30, window_seconds=2.0, kind="sliding")
    options = ["--limit", "requests:30/2s"]
    _, books = restarts(
        make_job, serve, 65, limits, options, [("interrupt", 8), ("kill", 8), ("interrupt", 8)]
    )
    assert books["requests"]["peak_sliding"] > 20


@pytest.mark.slow
@pytest.mark.timeout(360)
@pytest.mark.parametrize("kind", ["sliding", "fixed", "bucket"])
def test_no_window_of_ten_seconds_is_passed_over_three_restarts(make_job, serve, kind, figures):
    """Requests and tokens are both limited; a call of ours is 27 tokens, so either binds now and then."""
    limits = Limits(requests_per_window=200, tokens_per_window=5500, window_seconds=10.0, kind=kind)
    options = ["--limit", "requests:200/10s", "--limit", "tokens:5500/10s"]
    stats, books = restarts(
        make_job, serve, 1000, limits, options, [("kill", 120), ("interrupt", 150), ("kill", 170)]
    )
    figures(
        f"{stats['calls']} calls, {stats['refused']} refused; highest sliding window "
        f"{books['requests']['peak_sliding']} of 200 requests, "
        f"{books['tokens']['peak_sliding']} of 5500 tokens"
    )
