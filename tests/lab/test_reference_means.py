"""The lab against an independent simulator: the means of real traces; one per cent is asked, a tenth met."""

from dataclasses import replace

import pytest

from penstock.lab import ServiceModel, Setup, at_load, measure, replay
from penstock.lab.bounds import lower_bound
from penstock.lab.service import stretched
from penstock.policies import policy_named

MODEL = ServiceModel()
WHOLE = Setup(service=replace(MODEL, step_tokens=None))
AT_ENQUEUE = replace(WHOLE, program_rerank=False)

LOADS = (0.7, 0.9, 1.1)
# azure_conv, K = 8: mean completion in seconds at each load.
CONV = {
    "fcfs": (policy_named("fifo"), "seconds", (5.314, 11.790, 766.277)),
    "sjf": (policy_named("shortest_job_first", ageing=0), "seconds", (5.150, 8.395, 304.623)),
    "srpt": (policy_named("shortest_remaining", ageing=0), "seconds", (5.098, 8.177, 304.318)),
    "mlfq": (policy_named("mlfq", boost_seconds=0), "output_tokens", (5.651, 15.613, 1017.062)),
    "rr": (policy_named("round_robin"), "seconds", (5.533, 14.336, 989.961)),
}
CONV_BOUNDS = (4.654, 4.654, 301.033)

# Mean completion of programs in seconds: chains at 0.9 and 1.1, DAGs at 0.9 and 1.1.
PROGRAMS = {
    "by call": ("fifo", WHOLE, (48.40, 225.99, 41.21, 541.78)),
    "by program arrival": ("program_fifo", WHOLE, (50.19, 271.47, 35.06, 366.43)),
    "least attained": ("least_attained", AT_ENQUEUE, (46.32, 177.58, 81.26, 2224.94)),
    "noisy size": (
        "shortest_program",
        replace(AT_ENQUEUE, program_progress=False),
        (44.75, 115.44, 36.00, 310.63),
    ),
    "true remaining": ("shortest_program", replace(AT_ENQUEUE, exact=True), (43.07, 82.73, 30.91, 215.50)),
}
PROGRAM_CASES = (("agent_chains", 0.9), ("agent_chains", 1.1), ("agent_dags", 0.9), ("agent_dags", 1.1))
PROGRAM_BOUNDS = (35.86, 44.35, 17.69, 198.15)


# The lightest load is the least telling one: it is left to the slow runs.
AT_LOADS = [
    pytest.param(0, id="0.7", marks=pytest.mark.slow),
    pytest.param(1, id="0.9"),
    pytest.param(2, id="1.1"),
]
AT_PROGRAM_LOADS = [
    pytest.param(place, id=f"{name}-{load}", marks=[pytest.mark.slow] if load < 1 else [])
    for place, (name, load) in enumerate(PROGRAM_CASES)
]


@pytest.mark.parametrize("case", CONV)
@pytest.mark.parametrize("place", AT_LOADS)
def test_azure_conv(real_trace, case, place):
    policy, unit, means = CONV[case]
    trace = at_load(real_trace("azure_conv_2023"), LOADS[place], 8, MODEL)
    done = replay(trace, policy, Setup(unit=unit))
    # Our turns end a slice after they began, those of the reference at the end of the step.
    within = 0.01 if case == "rr" else 0.001
    assert measure(done, fairness=False).completion.mean == pytest.approx(means[place], rel=within)
    assert done.makespan / done.run_seconds > 1000


@pytest.mark.parametrize("place", range(3), ids=map(str, LOADS))
def test_azure_conv_bound(real_trace, place):
    trace = at_load(real_trace("azure_conv_2023"), LOADS[place], 8, MODEL)
    assert lower_bound(trace, 8, MODEL) == pytest.approx(CONV_BOUNDS[place], rel=0.001)


def program_mean(trace, load, name, setup):
    done = replay(stretched(trace, 1 / load), policy_named(name), setup)
    return measure(done, fairness=False).program.mean


@pytest.mark.parametrize("case", PROGRAMS)
@pytest.mark.parametrize("place", AT_PROGRAM_LOADS)
def test_programs(real_trace, case, place):
    file, load = PROGRAM_CASES[place]
    name, setup, means = PROGRAMS[case]
    assert program_mean(real_trace(file), load, name, setup) == pytest.approx(means[place], rel=0.001)


@pytest.mark.parametrize("place", range(4), ids=[f"{name}-{load}" for name, load in PROGRAM_CASES])
def test_program_bounds(real_trace, place):
    file, load = PROGRAM_CASES[place]
    trace = stretched(real_trace(file), 1 / load)
    assert lower_bound(trace, 8, MODEL) == pytest.approx(PROGRAM_BOUNDS[place], rel=0.001)


@pytest.mark.parametrize(
    ("file", "name", "share"),
    [
        ("agent_chains", "shortest_program", 0.55),
        ("agent_dags", "shortest_program", 0.60),
        ("agent_dags", "program_fifo", 0.70),
    ],
)
def test_programs_as_in_production(real_trace, file, name, share):
    """With the noisy sizes of the file, and what waits ranked again as its program is served."""
    trace = real_trace(file)
    first_come = program_mean(trace, 1.1, "fifo", WHOLE)
    assert program_mean(trace, 1.1, name, WHOLE) <= share * first_come
