"""Every broken definition is refused with a message by which it can be mended."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidTask, InvalidWorkflow, Problem
from penstock.workflows.validation import find_problems, read_definition, read_nodes


def node(id, **fields):
    return {"id": id, "type": "work", **fields}


def flow(*nodes, **fields):
    return {"name": "flow", "nodes": list(nodes), **fields}


TYPES = {"work", "llm_call"}
A, B = node("a"), node("b", after=["a"])

# name: (definition, path of a problem, words of its message)
BROKEN = {
    "no object": ([], "", "must be an object with nodes, not []"),
    "a text": ("pipeline", "", "must be an object with nodes, not 'pipeline'"),
    "no JSON": (flow(node("a", data={1, 2})), "", "is no JSON: Object of type set"),
    "no number": (flow(node("a", data=float("nan"))), "", "is no JSON: Out of range float values"),
    "nothing": ({}, "nodes", "is missing"),
    "no nodes": (flow(), "nodes", "must not be empty"),
    "nodes by id": ({"nodes": {"a": {"type": "work"}}}, "nodes", "must be a list"),
    "another word for nodes": ({"steps": [A]}, "steps", "there is no such field; did you mean 'nodes'?"),
    "a misspelt field": (flow(A, budgte=1), "budgte", "there is no such field; did you mean 'budget'?"),
    "a field of nothing": (flow(A, xyzzy=1), "xyzzy", "there is no such field; there are name, nodes"),
    "a node that is a text": (flow(A, "b"), "nodes.1", "must be an object, not 'b'"),
    "no id": (flow({"type": "work"}), "nodes.0.id", "is missing"),
    "a number as id": (flow(node(7)), "nodes.0.id", "must be a valid string, not 7"),
    "an id with a space": (
        flow(node("a b")),
        "nodes.0.id",
        "an id has 1 to 100 letters, digits and any of _ . : -, not 'a b'",
    ),
    "an empty id": (flow(node("")), "nodes.0.id", "an id has 1 to 100 letters"),
    "an id twice": (
        flow(A, B, node("a")),
        "nodes.2.id",
        "'a' is the id of nodes.0 too; ids are unique",
    ),
    "no type": (flow({"id": "a"}), "nodes.0.type", "is missing"),
    "an unknown type": (
        flow(node("a", type="lm_call")),
        "nodes.0.type",
        "node 'a': there is no task type 'lm_call'; did you mean 'llm_call'?",
    ),
    "dependencies by another name": (
        flow(A, node("b", dependencies=["a"])),
        "nodes.1.dependencies",
        "there is no such field; did you mean 'after'?",
    ),
    "after one text": (flow(A, node("b", after="a")), "nodes.1.after", "must be a list, not 'a'"),
    "after an unknown node": (
        flow(node("collect"), node("b", after=["colect"])),
        "nodes.1.after.0",
        "node 'b' needs 'colect', which does not exist; did you mean 'collect'?",
    ),
    "after a node of other letters": (
        flow(node("Collect_Data"), node("b", after=["collect-data"])),
        "nodes.1.after.0",
        "did you mean 'Collect_Data'?",
    ),
    "after what is nothing like a node": (
        flow(A, node("b", after=["zzz"])),
        "nodes.1.after.0",
        "node 'b' needs 'zzz', which does not exist; there are 'a', 'b'",
    ),
    "after itself": (flow(node("a", after=["a"])), "nodes.0.after.0", "node 'a' needs itself: a → a"),
    "a cycle of two": (
        flow(node("a", after=["b"]), B),
        "nodes.0.after.0",
        "nodes need each other in a cycle: a → b → a",
    ),
    "a cycle through a reference": (
        flow(node("a", data={"x": [{"$result": "c"}]}), B, node("c", after=["b"])),
        "nodes.0.data.x.0",
        "nodes need each other in a cycle: a → c → b → a",
    ),
    "a cycle through a fallback": (
        flow(node("a", fallback={"value": {"$result": "b"}}), B),
        "nodes.0.fallback.value",
        "a → b → a",
    ),
    "a reference to nothing": (
        flow(A, node("b", data={"of": {"$result": "aa"}})),
        "nodes.1.data.of",
        "node 'b' refers to 'aa', which does not exist; did you mean 'a'?",
    ),
    "a reference in a text to nothing": (
        flow(A, node("b", data={"t": {"$text": "see ${x/y}"}})),
        "nodes.1.data.t",
        "node 'b' refers to 'x'",
    ),
    "a reference with more": (
        flow(A, node("b", data={"$result": "a", "key": 1})),
        "nodes.1.data",
        "$result takes only 'path' beside it, not 'key'; data that have such a key go in $literal",
    ),
    "a reference to a number": (
        flow(A, node("b", data={"$result": 1})),
        "nodes.1.data",
        "$result must be the id of a node, not 1",
    ),
    "a path that is no pointer": (
        flow(A, node("b", data={"$result": "a", "path": "items[0]"})),
        "nodes.1.data",
        "path must be a JSON pointer such as /items/0, not 'items[0]'",
    ),
    "a template that is not closed": (
        flow(A, node("b", data={"$text": "see ${a"})),
        "nodes.1.data",
        "'${' is not closed at '${a'; write '$${' for the characters themselves",
    ),
    "a template of nothing": (
        flow(A, node("b", data={"$text": "see ${}"})),
        "nodes.1.data",
        "'${}' names no node",
    ),
    "a template that is an object": (
        flow(A, node("b", data={"$text": {}})),
        "nodes.1.data",
        "$text must be a text or a list of its parts",
    ),
    "negative retries": (
        flow(node("a", max_retries=-1)),
        "nodes.0.max_retries",
        "must be greater than or equal to 0, not -1",
    ),
    "a timeout in words": (
        flow(node("a", timeout="soon")),
        "nodes.0.timeout",
        "must be a valid number, not 'soon'",
    ),
    "a timeout of yes": (flow(node("a", timeout=True)), "nodes.0.timeout", "must be a valid number"),
    "a timeout of nothing": (flow(node("a", timeout=0)), "nodes.0.timeout", "must be greater than 0, not 0"),
    "a priority out of range": (
        flow(node("a", priority=101)),
        "nodes.0.priority",
        "priority 101 is out of range: give an integer from 0 to 100",
    ),
    "a priority in unknown words": (
        flow(node("a", priority="soonish")),
        "nodes.0.priority",
        "priority 'soonish' is unknown: give LOW, MEDIUM, HIGH, URGENT",
    ),
    "no units": (
        flow(node("a", pools={"gpu": 0})),
        "nodes.0.pools.gpu",
        "must be greater than or equal to 1",
    ),
    "an unknown failure policy": (
        flow(A, on_failure="retry"),
        "on_failure",
        "must be 'stop' or 'continue', not 'retry'",
    ),
    "a fallback of both": (
        flow(node("a", fallback={"value": 1, "type": "work"})),
        "nodes.0.fallback",
        "a fallback is either a value, or a type with data",
    ),
    "a fallback of nothing": (
        flow(node("a", fallback={})),
        "nodes.0.fallback",
        "a fallback is either a value, or a type with data",
    ),
    "a fallback of an unknown type": (
        flow(node("a", fallback={"type": "wrk"})),
        "nodes.0.fallback.type",
        "there is no task type 'wrk'; did you mean 'work'?",
    ),
    "a compensation that looks elsewhere": (
        flow(A, node("b", compensate={"type": "work", "data": {"$result": "a"}})),
        "nodes.1.compensate.data",
        "the compensation of 'b' may refer to 'b' and to the nodes it needs; 'a' is none of them",
    ),
    "a compensation without a type": (
        flow(node("a", compensate={"data": 1})),
        "nodes.0.compensate.type",
        "is missing",
    ),
    "a budget below nothing": (flow(A, budget=-1), "budget", "must be greater than or equal to 0, not -1"),
    "output that is none": (
        flow(A, B, output=["c"]),
        "output.0",
        "there is no node 'c'; there are 'a', 'b'",
    ),
    "output twice": (flow(A, output=["a", "a"]), "output.1", "node 'a' is named twice"),
    "output that leaves a node out": (
        flow(A, B, node("c", after=["a"]), output="b"),
        "nodes.2",
        "node 'c' leads nowhere: no node needs it, and output leaves it out",
    ),
    "output that is a number": (
        flow(A, output=3),
        "output",
        "must be the id of a node or a list of ids, not 3",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_definition_is_refused(case):
    definition, path, words = BROKEN[case]
    found = find_problems(definition, types=TYPES)
    at_path = [one.message for one in found if one.path == path]
    assert any(words in message for message in at_path), "\n".join(map(str, found))
    with pytest.raises(InvalidWorkflow) as refused:
        read_definition(definition, types=TYPES)
    assert refused.value.problems == found
    assert len(set(found)) == len(found)


def test_everything_wrong_is_said_at_once():
    broken = flow(
        {"id": "a", "typ": "work", "after": ["b"]},
        node("b", after=["a"], timeout=-1, data={"x": {"$result": "nope"}}),
        node("b"),
        output=["z"],
    )
    assert {one.path for one in find_problems(broken, types=TYPES)} == {
        "nodes.0.type",
        "nodes.0.typ",
        "nodes.0.after.0",
        "nodes.1.timeout",
        "nodes.1.data.x",
        "nodes.2.id",
        "output.0",
    }


def test_the_error_names_the_workflow_and_shows_the_first_ten():
    with pytest.raises(InvalidTask, match=r"^workflow 'flow': .*; and 2 more$") as refused:
        read_definition(flow(A, *[node(f"n{place}", after=["x"]) for place in range(12)]))
    assert len(refused.value.problems) == 12
    assert refused.value.text.count("\n") == 11
    assert refused.value.code == "invalid_workflow"


def test_too_many_nodes():
    assert find_problems(flow(A, B), most_nodes=1) == [
        Problem("nodes", "there are 2 nodes; at most 1 are possible")
    ]


def test_data_that_are_too_deep():
    deep = "x"
    for _ in range(300):
        deep = [deep]
    (problem,) = find_problems(flow(node("a", data=deep)))
    assert problem.path.startswith("nodes.0.data.0.0")
    assert problem.message == "is nested more than 200 deep"
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in find_problems(flow(node("a", data=deep)))[0].message


def test_data_that_hold_themselves():
    around: list[object] = []
    around.append(around)
    assert "is no JSON" in find_problems(flow(node("a", data=around)))[0].message


def test_long_cycles_are_shortened():
    ring = [node(f"n{place}", after=[f"n{(place + 1) % 100}"]) for place in range(100)]
    (problem,) = find_problems(flow(*ring))
    assert problem.message.startswith("nodes need each other in a cycle: n0 → n1 → ")
    assert "(81 more)" in problem.message
    assert problem.message.endswith("→ n99 → n0")


def test_nodes_that_join_others():
    (joined,) = read_nodes([node("c", after=["a"], data={"$result": "a"})], known=["a"])
    assert joined.id == "c"
    with pytest.raises(InvalidWorkflow, match="there is a node 'a' in this workflow already"):
        read_nodes([A], known=["a"])
    with pytest.raises(InvalidWorkflow, match="needs 'bb', which does not exist; did you mean 'b'"):
        read_nodes([node("c", after=["bb"])], known=["a", "b"])
    with pytest.raises(InvalidWorkflow, match="nodes: must be a list"):
        read_nodes("c", known=[])


GOOD = flow(
    node("a", data={"x": [1, "t"]}, fallback={"value": 1}, pools={"gpu": 1}, timeout=3, priority="LOW"),
    node("b", data={"t": {"$text": "${a/x/0} $${"}}, compensate={"type": "work", "data": {"$result": "b"}}),
    node("c", after=["a"], data=[{"$result": "b", "path": "/k"}, {"$literal": {"$result": 1}}]),
    output="c",
    budget=1,
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from("abc"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["$result", "$text", "path", "id"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


@given(st.data())
def test_whatever_is_put_anywhere_is_judged(data):
    definition = json.loads(json.dumps(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(definition))[1:]))
        place = definition
        for key in path[:-1]:
            place = place[key]
        if isinstance(place, dict) and data.draw(st.booleans()):
            del place[path[-1]]
            place[data.draw(st.text(max_size=4))] = data.draw(junk)
        else:
            place[path[-1]] = data.draw(junk)
    problems = find_problems(definition, types=TYPES)
    assert all(one.message for one in problems)
    if not problems:
        assert read_definition(definition, types=TYPES)


def test_the_good_one_is_good():
    assert find_problems(GOOD, types=TYPES) == []
