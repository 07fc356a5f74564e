"""The rules of a replay, on traces small enough to follow by hand, and what must hold on any trace."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.lab
from penstock.errors import ConfigurationError
from penstock.lab import Recipe, Request, ServiceModel, Setup, Trace, generate, measure, replay
from penstock.lab.bounds import lower_bound
from penstock.lab.traces import trace_of
from penstock.model.rank import Rank
from penstock.policies import Strategy, policy_named, policy_names

# One second per output token, steps of two, nothing else: times are whole numbers.
PLAIN = ServiceModel(0.0, 0.0, 1.0, 2)
ONE = Setup(slots=1, service=PLAIN)


def trace_with(*rows, **common):
    """A trace of (arrival, output) pairs."""
    return trace_of("small", [Request(n, float(at), 0, out, **common) for n, (at, out) in enumerate(rows)])


def finishes(trace, policy, setup=ONE):
    return [one.finish for one in sorted(replay(trace, policy, setup).calls, key=lambda one: one.row)]


def test_first_come_first_served():
    assert finishes(trace_with((0, 3), (1, 1), (1, 2)), policy_named("fifo")) == [3, 4, 6]


def test_two_slots():
    assert finishes(trace_with((0, 3), (0, 1), (0, 1)), policy_named("fifo"), Setup(2, PLAIN)) == [3, 1, 2]


def test_ties_go_by_arrival_then_by_row():
    shortest = policy_named("shortest_job_first", ageing=0)
    assert finishes(trace_with((0, 1), (0, 1), (0, 1)), shortest) == [1, 2, 3]


def test_a_slot_changes_hands_at_the_end_of_a_step_only():
    """The short one arrives at 1, the step of the long one ends at 2; it resumes without paying again."""
    done = replay(trace_with((0, 6), (1, 1)), policy_named("shortest_remaining", ageing=0), ONE)
    assert [one.finish for one in done.calls] == [7, 3]
    assert done.preemptions == 1
    assert [(one.start, one.end, one.output) for one in done.segments] == [(0, 2, 2), (2, 3, 1), (3, 7, 4)]


def test_equal_rank_does_not_take_a_slot():
    """At 2 both have 2 left."""
    assert finishes(trace_with((0, 4), (1, 2)), policy_named("shortest_remaining", ageing=0)) == [4, 6]


class Turns(Strategy):
    """To the back of the line at the end of every step."""

    name = "turns"
    preemptive = True

    def rank(self, task, now):
        return Rank(0, max(task.entered_at, task.turn_at))

    def stepped(self, task, service, seconds, now):
        return replace(super().stepped(task, service, seconds, now), turn_at=now)


def test_who_goes_to_the_back_gives_way_to_an_equal_rank():
    """At 2 the second arrives first, then the step ends: equal instants, and the first gives way."""
    assert finishes(trace_with((0, 4), (2, 2)), Turns()) == [6, 4]


def test_the_first_step_takes_start_and_prompt_besides():
    service = ServiceModel(0.5, 0.1, 1.0, 2)
    trace = trace_of("small", [Request(0, 0.0, 10, 4), Request(1, 0.0, 0, 4)])
    assert finishes(trace, Turns(), Setup(1, service)) == [8.0, 10.0]
    assert [one.end for one in replay(trace, Turns(), Setup(1, service)).segments] == [3.5, 6.0, 8.0, 10.0]


def test_measured_service_wins_over_the_model():
    trace = trace_with((0, 3), service=7.5)
    assert finishes(trace, policy_named("fifo")) == [7.5]


def test_mlfq_lets_the_new_one_pass():
    levels = policy_named("mlfq", levels=[2, 4], boost_seconds=0)
    assert finishes(trace_with((0, 6), (1, 2)), levels, Setup(1, PLAIN, "output_tokens")) == [8, 4]


def test_deadline_puts_the_hopeless_last_when_their_turn_comes():
    """The second could make its deadline when it came, and cannot when its turn comes."""
    trace = trace_of(
        "small",
        [
            Request(0, 0.0, 0, 4, deadline=4.0),
            Request(1, 0.0, 0, 3, deadline=5.0),
            Request(2, 0.0, 0, 2, deadline=9.0),
        ],
    )
    assert finishes(trace, policy_named("deadline")) == [4, 9, 6]


def program(call, needs="", think=0.0, name="p", output=1, row=None, place=""):
    return Request(
        int(call) if row is None else row, 0.0, 0, output, program=name, call=call,
        depends_on=tuple(needs.split()), think=think, place=place,
    )  # fmt: skip


def test_calls_wait_for_what_they_depend_on_and_think():
    trace = trace_of("dag", [program("0"), program("1", "0", 2.0), program("2", "0"), program("3", "1 2")])
    done = replay(trace, policy_named("fifo"), Setup(4, PLAIN))
    assert [one.start for one in sorted(done.calls, key=lambda one: one.row)] == [0, 3, 1, 4]
    assert measure(done).program.mean == 5
    assert lower_bound(trace, 4, PLAIN) == 5


def test_calls_with_a_place_of_their_own():
    """On one slot under fifo, `late` has waited since 1 when `head` ends at 3: what follows `head` comes
    behind that, but for what keeps the place of `head`, or was there before."""

    def order(**place):
        rows = [
            program("head", row=0, output=3),
            program("head.2", "head", row=1, **place),
            Request(2, 1.0, 0, 3, program="late", call="late"),
        ]
        done = replay(trace_of("t", rows), policy_named("fifo"), Setup(1, PLAIN))
        return [one.request.call for one in sorted(done.calls, key=lambda one: one.start)]

    assert order() == ["head", "late", "head.2"]
    assert order(place="made") == ["head", "late", "head.2"]
    assert order(place="kept") == ["head", "head.2", "late"]
    assert order(place="arrived") == ["head", "head.2", "late"]


def test_two_calls_set_free_at_once_take_both_slots():
    rows = [program("0", row=0), *(program(name, "0", row=int(name), place="made") for name in "12")]
    done = replay(trace_of("t", rows), policy_named("fifo"), Setup(2, PLAIN))
    assert [one.start for one in done.calls] == [0, 1, 1]


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([program("0", "9")], "depends on '9'"),
        ([program("0"), program("1", "2"), program("2", "1")], "in a circle in program p"),
    ],
)
def test_impossible_programs_are_refused(requests, words):
    with pytest.raises(ConfigurationError, match=words):
        replay(trace_of("bad", requests), policy_named("fifo"))


def test_waiting_calls_are_ranked_again_when_their_program_is_served():
    """Both programs have 6 to go when their last calls line up; then the second is served, and passes."""
    rows = [
        program("0", name="a", output=2, row=0),
        program("1", name="a", output=6, row=1),
        program("2", name="b", output=2, row=2),
        program("3", name="b", output=5, row=3),
        program("4", name="b", output=1, row=4),
    ]
    done = replay(trace_of("two", rows), policy_named("shortest_program"), Setup(2, PLAIN))
    by_row = {one.row: one.finish for one in done.calls}
    assert max(by_row[0], by_row[1]) <= max(by_row[2], by_row[3], by_row[4])


def test_pollaczek_and_khinchine():
    """One slot, Poisson arrivals, equal service: the mean wait is load * S / (2 * (1 - load))."""
    trace = generate(Recipe(requests=40_000, rate=0.7, prompt_cv=0, output=1, output_cv=0, seed=1))
    done = replay(trace, policy_named("fifo"), ONE)
    assert measure(done).wait.mean == pytest.approx(0.7 / (2 * 0.3), rel=0.06)


@st.composite
def small_traces(draw):
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 20), st.integers(0, 30), st.integers(0, 9), st.sampled_from("abc")),
            min_size=1,
            max_size=25,
        )
    )
    return trace_of(
        "drawn",
        [
            Request(n, float(at), prompt, out, who, deadline=15.0)
            for n, (at, prompt, out, who) in enumerate(rows)
        ],
    )


@settings(max_examples=60)
@given(trace=small_traces(), slots=st.integers(1, 4), name=st.sampled_from(policy_names()))
def test_what_holds_under_every_policy(trace, slots, name):
    service = ServiceModel(0.5, 0.01, 0.25, 2)
    setup = Setup(slots, service)
    done = replay(trace, policy_named(name), setup)
    again = replay(trace, policy_named(name), setup)
    assert [one.finish for one in done.calls] == [one.finish for one in again.calls]
    assert sum(one.output for one in done.segments) == sum(one.output for one in trace.requests)
    assert sum(one.prompt for one in done.segments) == sum(one.prompt for one in trace.requests)
    for one in done.calls:
        assert one.finish >= one.arrival + one.service - 1e-9
    moments = [(one.start, 1) for one in done.segments] + [(one.end, -1) for one in done.segments]
    running = 0
    for _, change in sorted(moments):
        running += change
        assert 0 <= running <= slots
    figures = measure(done)
    assert figures.completion.mean >= lower_bound(trace, slots, service) - 1e-9
    assert 0 <= figures.utilisation <= 1 + 1e-9
    first_come = replay(trace, policy_named("fifo"), setup)
    if slots == 1:  # no policy idles while somebody waits, so one slot is done at the same time
        assert done.makespan == pytest.approx(first_come.makespan)


LAB = Path(penstock.lab.__file__).parent
# What only a policy, the flows or the gate may decide.
RULES = {"rank", "stepped", "flow", "pick", "charge", "consider", "admit", "settle", "reserve", "never_fits"}


def test_no_policy_or_gate_logic_exists_twice():
    """The lab defines none of their verbs and makes no rank: it asks the production classes."""
    for file in LAB.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.name not in RULES, f"{file.name} defines {node.name}"
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                assert not bases & {"Strategy", "Policy", "Gate", "Flows"}, f"{file.name}: {node.name}"
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) != "Rank", f"{file.name} makes a rank"


def test_the_policy_that_decides_is_the_one_given():
    class Backwards(Strategy):
        name = "backwards"

        def rank(self, task, now):
            return policy_named("fifo").rank(task, now)._replace(key=-task.entered_at)

    assert finishes(trace_with((0, 5), (1, 1), (2, 1)), Backwards()) == [5, 7, 6]


def test_setups_that_cannot_be_are_refused():
    for wrong in ({"slots": 0}, {"unit": "pages"}):
        with pytest.raises(ConfigurationError):
            Setup(**wrong)
    for wrong in ((-1.0,), (0.0, 0.0, 0.0), (0.2, 0.1, 0.1, 0)):
        with pytest.raises(ConfigurationError):
            ServiceModel(*wrong)
    with pytest.raises(ConfigurationError, match="no request"):
        trace_of("empty", [])
    assert Trace("empty", ()).span == 0
