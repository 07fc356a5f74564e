"""Plans as values: order, layers, critical path; whatever is read is a plan that can run, or refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidPlan
from penstock.task_types.conversation import BadAnswer
from penstock.workflows.plan_arguments import as_data, named_in, open_arguments, renamed
from penstock.workflows.plan_nodes import GoalTerms, nodes_of
from penstock.workflows.plan_reading import PlanTerms, read_plan
from penstock.workflows.plan_text import find_plan
from penstock.workflows.plan_times import read_seconds
from penstock.workflows.plans import Plan, Subtask
from penstock.workflows.validation import read_definition

IDS = st.sampled_from(["a", "b", "A b", "1", 1, 2.0, "", None, True, "c" * 120, "é.x", [], {}])
TIMES = st.sampled_from([1, 0, -1, 1e400, "5 min", "2 h 30 min", "soon", "", None, True, [1], 10**400])
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SUBTASKS = st.fixed_dictionaries(
    {},
    optional={
        "id": IDS,
        "name": st.sampled_from(["Do a", "do A", "x", "", 7, None, ["x"]]),
        "description": st.sampled_from(["all", "", None, 3, {}]),
        "dependencies": st.lists(IDS, max_size=3) | IDS,
        "estimated_time": TIMES,
        "tool": st.sampled_from([None, "draw", "", "none", 3]),
        "arguments": st.sampled_from([None, {}, {"x": "${a}"}, '{"x": 1}', "{", [1], {"$text": "x"}]),
        "subtasks": st.just([]),
    },
)
PLANS = st.fixed_dictionaries({"subtasks": st.lists(SUBTASKS | ODD, max_size=4) | ODD}) | ODD


@settings(max_examples=300, deadline=None)
@given(PLANS)
def test_any_json_is_a_plan_that_runs_or_a_refusal(raw):
    try:
        plan = read_plan(raw, PlanTerms("g", most=3))
    except InvalidPlan as refused:
        plan, problems = None, refused.problems
    if plan is None:
        assert problems
        assert all(str(problem) for problem in problems)
        return
    assert 1 <= len(plan.subtasks) <= 3
    assert sorted(one.id for layer in plan.layers() for one in layer) == sorted(
        one.id for one in plan.subtasks
    )
    assert read_plan(plan.as_dict(), PlanTerms("g")).subtasks == plan.subtasks
    terms = GoalTerms("g", "m", None, plan.subtasks)
    read_definition({"nodes": nodes_of(terms, plan.subtasks)})


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | PLANS.map(json.dumps), st.integers(0, 400))
def test_any_text_holds_a_plan_or_says_why_not(text, cut):
    for one in (text, text[:cut], f"So: {text} there", f"```json\n{text}\n```"):
        try:
            found = find_plan(one)
        except BadAnswer as bad:
            found, problems = None, bad.problems
        assert "subtasks" in found if found is not None else all(problems)


def test_layers_and_the_critical_path():
    plan = Plan(
        "g",
        (
            Subtask("d", "d", "", ("b", "c"), 5),
            Subtask("a", "a", "", (), 10),
            Subtask("b", "b", "", ("a",), 1),
            Subtask("c", "c", "", ("a",), 20),
            Subtask("e", "e", "", (), 30),
        ),
    )
    assert [[one.id for one in layer] for layer in plan.layers()] == [["a", "e"], ["b", "c"], ["d"]]
    assert [one.id for one in plan.critical_path()] == ["a", "c", "d"]
    assert plan.seconds == 35
    assert (Plan("g", ()).layers(), Plan("g", ()).seconds) == ([], 0)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90),
        (1.5, 1.5),
        ("30", 30),
        ("90s", 90),
        ("5 minutes", 300),
        ("1 hour 30 minutes", 5400),
        ("1h, 15min", 4500),
        ("about 2 days", 172_800),
        ("~10 min", 600),
    ],
)
def test_times_in_words(written, seconds):
    assert read_seconds(written) == seconds


def test_references_in_arguments():
    arguments = {"all": "${x y}", "part": "${x y/a/0}", "text": "It is ${z}, $${x}", "deep": [{"k": "${z}"}]}
    assert named_in(arguments) == ["x y", "z"]
    assert open_arguments({**arguments, "plain": "$${a} {b}"}) == frozenset(arguments)
    named = renamed(arguments, {"x y": "x-y"})
    assert named["part"] == "${x-y/a/0}"
    assert as_data(named, {"z": "/text"}) == {
        "all": {"$result": "x-y"},
        "part": {"$result": "x-y", "path": "/a/0"},
        "text": {"$text": ["It is ", {"$result": "z", "path": "/text"}, ", ", "${", "x}"]},
        "deep": [{"k": {"$result": "z", "path": "/text"}}],
    }
    assert as_data("$${a} {b}", {}) == "${a} {b}"


def test_known_results_stand_in_for_nodes_that_are_done():
    subtasks = (
        Subtask("a", "A"),
        Subtask("t", "T", "", (), 1, "draw", {"x": 1}),
        Subtask("b", "B", "", ("a", "t")),
        Subtask("u", "U", "", ("a", "t"), 1, "draw", {"x": "${t/n/0}", "y": "on ${a}"}),
    )
    nodes = nodes_of(GoalTerms("g", "m", None, subtasks), subtasks, {"a": "say ${b}", "t": {"n": [7]}})
    assert [node["id"] for node in nodes] == ["b", "u", "report"]
    assert nodes[1]["data"]["arguments"] == {
        "x": {"$literal": 7},
        "y": {"$text": ["on ", {"$literal": "say ${b}"}]},
    }
    assert nodes[0]["after"] == []
    assert nodes[2]["data"]["results"]["b"] == {"$result": "b", "path": "/text"}
    read_definition({"nodes": nodes})
