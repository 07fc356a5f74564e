"""The same limits in the lab and live: gate, transport and store against the simulator's server."""

from concurrent.futures import ProcessPoolExecutor
from math import exp, sqrt
from statistics import fmean

import pytest

from penstock.cli.bench import limit_cases as cases
from penstock.cli.bench.limit_use import limit_use
from penstock.cli.bench.measurement import BenchOptions
from penstock.cli.bench.processes import SPAWN
from penstock.lab import RateSetup, Recipe, ServiceModel, Setup, generate, limited_replay, saturated
from penstock.policies import policy_named

# The first windows are for learning how long replies are; the last is not over.
WINDOW, WINDOWS, LEARNING = 10.0, 12, 3
KINDS = ("sliding", "fixed", "bucket")
CASES = {kind: cases.LimitCase(kind, "actual", "tokens", learned=False) for kind in KINDS}


def variation(sigma):
    """Coefficient of variation of a lognormal quantity."""
    return sqrt(exp(sigma**2) - 1)


def in_the_lab(kind):
    recipe = Recipe(
        requests=3000,
        prompt=exp(cases.PROMPT_MU + cases.PROMPT_SIGMA**2 / 2),
        prompt_cv=variation(cases.PROMPT_SIGMA),
        output=cases.OUTPUT_MEAN,
        output_cv=variation(cases.OUTPUT_SIGMA),
        most_tokens=8000,
    )
    rates = RateSetup(
        tokens=CASES[kind].limit(WINDOW),
        window_seconds=WINDOW,
        kind=kind,
        phase=0.0,
        output_cap=cases.CAPS["actual"],
        warmup=WINDOW * (LEARNING + 1),
        until=WINDOW * (WINDOWS - 1),
    )
    service = ServiceModel(0.8, 0.0, 0.001)
    done = limited_replay(saturated(generate(recipe)), policy_named("fifo"), Setup(300, service), rates)
    assert done.worst["tokens"] <= 1.01
    return done.use["tokens"]


@pytest.fixture(scope="module")
def live():
    """Use of the limit, live, by kind; all at once, for each takes two minutes."""
    options = BenchOptions(windows=WINDOWS, window_seconds=WINDOW)
    with ProcessPoolExecutor(len(KINDS), mp_context=SPAWN) as pool:
        runs = {kind: pool.submit(limit_use, options, CASES[kind]) for kind in KINDS}
        return {kind: fmean(run.result().windows[LEARNING:]) for kind, run in runs.items()}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_lab_and_server_agree(live, kind):
    assert live[kind] == pytest.approx(in_the_lab(kind), abs=0.02)
