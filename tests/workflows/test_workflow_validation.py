"""Validation of graphs: what is in order passes, a cycle is named, and time stays linear."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.workflows.compiling import compile_nodes, needs, result_nodes, shaped, stands_alone
from penstock.workflows.cycles import cycles, in_order
from penstock.workflows.definition import WorkflowDefinition
from penstock.workflows.validation import find_problems, read_definition


@st.composite
def dags(draw):
    """{node: what it needs}, in an order that says nothing."""
    size = draw(st.integers(1, 12))
    names = draw(st.permutations([f"n{number}" for number in range(size)]))
    needs = {
        name: draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=4)) if place else []
        for place, name in enumerate(names)
    }
    return {name: needs[name] for name in draw(st.permutations(names))}


def form(graph, by_reference=frozenset()):
    """Needs as `after`, or as references within the data."""
    nodes = []
    for id, named in graph.items():
        after = [one for one in named if (id, one) not in by_reference]
        data = [{"$text": f"${{{one}}}"} for one in named if (id, one) in by_reference]
        nodes.append({"id": id, "type": "work", "after": after, "data": {"in": data}})
    return {"nodes": nodes}


@given(dags(), st.data())
def test_what_is_in_order_is_accepted(graph, data):
    edges = [(id, one) for id, named in graph.items() for one in named]
    by_reference = frozenset(data.draw(st.lists(st.sampled_from(edges)))) if edges else frozenset()
    definition = read_definition(form(graph, by_reference))
    assert {node.id: set(needs(node)) for node in definition.nodes} == {
        id: set(named) for id, named in graph.items()
    }
    order = in_order(graph)
    assert all(order.index(one) < order.index(id) for id, one in edges)
    assert set(result_nodes(definition)) == set(graph) - {one for _, one in edges}
    ids = {id: f"task-{id}" for id in graph}
    for task in compile_nodes(definition.nodes, ids):
        assert set(task.after) == {ids[one] for one in graph[task.node.id]}


@given(dags(), st.data())
def test_an_edge_back_makes_a_cycle_that_is_named(graph, data):
    first = data.draw(st.sampled_from(sorted(graph)))
    reached, ahead = {first}, [first]
    while ahead:
        for one in graph[ahead.pop()]:
            if one not in reached:
                reached.add(one)
                ahead.append(one)
    graph[data.draw(st.sampled_from(sorted(reached)))].append(first)
    (problem,) = find_problems(form(graph))
    named = problem.message.partition(": ")[2].split(" → ")
    assert named[0] == named[-1]
    assert len(set(named)) == len(named) - 1
    assert all(later in graph[earlier] for earlier, later in pairwise(named))


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3)))
def test_every_knot_gives_a_cycle_of_its_own(graph):
    graph = {id: [one for one in named if one in graph] for id, named in graph.items()}
    found = list(cycles(graph))
    for cycle in found:
        assert all(one in graph[id] for id, one in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    ways = {id: reachable(graph, id) for id in graph}
    knots = {frozenset(one for one in ways[id] if id in ways[one]) for id in graph if id in ways[id]}
    assert {next(knot for knot in knots if set(cycle) <= knot) for cycle in found} == knots
    assert len(found) == len(knots)


def reachable(graph, id):
    seen, ahead = set(), [*graph[id]]
    while ahead:
        one = ahead.pop()
        if one not in seen:
            seen.add(one)
            ahead += graph[one]
    return seen


def large(behind):
    return form({f"n{number}": behind(number) for number in range(10_000)})


def seconds_of(definition):
    best = 60.0
    for _ in range(3):
        begin = time.process_time()
        found = find_problems(definition)
        best = min(best, time.process_time() - begin)
    return best, found


def test_ten_thousand_nodes_and_a_hundred_thousand_edges_take_under_a_second():
    definition = large(lambda number: [f"n{one}" for one in range(max(0, number - 10), number)])
    took, found = seconds_of(definition)
    assert found == []
    assert took < 1.5  # 0.35 s on a quiet machine


def test_one_long_chain_and_one_long_ring_need_no_recursion():
    chain = {f"n{number}": [f"n{number - 1}"] if number else [] for number in range(10_000)}
    assert find_problems(form(chain)) == []
    chain["n0"] = ["n9999"]
    (problem,) = find_problems(form(chain))
    assert problem.message.startswith("nodes need each other in a cycle: n0 → n9999 → n9998")


def test_thousands_of_wrong_names_stay_cheap():
    took, found = seconds_of(large(lambda number: [f"m{number}"]))
    assert len(found) == 10_000
    assert took < 3


def test_a_diamond():
    middle = [{"id": f"m{number}", "type": "work", "data": {"$result": "top"}} for number in range(1000)]
    last = {"id": "end", "type": "work", "data": [{"$result": one["id"]} for one in middle]}
    definition = read_definition({"nodes": [{"id": "top", "type": "work"}, *middle, last]})
    assert result_nodes(definition) == ("end",)
    assert len(needs(definition.nodes[-1])) == 1000


def result_of(definition, results):
    nodes = result_nodes(definition)
    return shaped(nodes, stands_alone(definition, nodes), results)


def test_what_the_result_is():
    nodes = [{"id": "a", "type": "work"}, {"id": "b", "type": "work", "after": ["a"]}]
    results = {"a": 1, "b": [2]}
    assert result_of(read_definition({"nodes": nodes}), results) == [2]
    assert result_of(read_definition({"nodes": nodes, "output": "b"}), results) == [2]
    assert result_of(read_definition({"nodes": nodes, "output": ["b"]}), results) == {"b": [2]}
    assert result_of(read_definition({"nodes": nodes, "output": ["b", "a"]}), results) == {"b": [2], "a": 1}
    several = read_definition({"nodes": [*nodes, {"id": "c", "type": "work"}]})
    assert result_of(several, results) == {"b": [2], "c": None}


def test_a_definition_survives_its_own_data_form():
    raw = {
        "name": "all",
        "nodes": [
            {
                "id": "a",
                "type": "work",
                "data": {"x": 1},
                "max_retries": 2,
                "retry_delay": 0,
                "timeout": 5,
                "priority": "HIGH",
                "tenant": "",
                "deadline_seconds": 60,
                "pools": {"gpu": 1},
                "fallback": {"value": None},
                "on_failure": "continue",
                "compensate": {"type": "work", "data": {"$result": "a"}},
                "name": "A",
                "description": "first",
                "estimated_seconds": 3,
            },
        ],
        "on_failure": "continue",
        "deadline_seconds": 100,
        "timeout": 50,
        "budget": 2.5,
        "max_concurrent": 4,
        "priority": 7,
        "tenant": "acme",
        "metadata": {"k": 1},
        "output": ["a"],
    }
    definition = read_definition(raw)
    assert definition.nodes[0].priority == 30
    again = read_definition(definition.as_dict())
    assert again == definition
    assert again.nodes[0].fallback.model_fields_set == {"value"}
    assert read_definition(definition) == definition


def test_a_definition_that_was_made_without_validation_is_checked_too():
    unchecked = WorkflowDefinition.model_validate({"nodes": [{"id": "a", "type": "work", "after": ["b"]}]})
    with pytest.raises(Exception, match="which does not exist"):
        read_definition(unchecked)


def test_later_changes_of_the_callers_data_do_not_matter():
    raw = {"nodes": [{"id": "a", "type": "work", "data": {"list": [1]}}]}
    definition = read_definition(raw)
    raw["nodes"][0]["data"]["list"].append(2)
    assert definition.nodes[0].data == {"list": [1]}


def test_compiling_binds_references_everywhere():
    definition = read_definition(
        {
            "nodes": [
                {"id": "a", "type": "work"},
                {
                    "id": "b",
                    "type": "work",
                    "data": {"t": {"$text": "x${a/k}"}},
                    "fallback": {"type": "other", "data": {"$result": "a", "path": "/z"}},
                    "compensate": {"type": "undo", "data": {"of": {"$result": "b"}}},
                },
            ]
        }
    )
    first, second = compile_nodes(definition.nodes, {"a": "1", "b": "2"})
    assert (first.refs, first.after, second.refs, second.after) == (False, (), True, ("1",))
    assert second.data == {"t": {"$text": ["x", {"$result": "1", "path": "/k", "node": "a"}]}}
    assert second.fallback.data == {"$result": "1", "path": "/z", "node": "a"}
    assert second.compensate.data == {"of": {"$result": "2", "node": "b"}}


def test_wrong_nodes_are_not_said_to_be_missing_as_well():
    assert [one.path for one in find_problems({"nodes": [{"id": "a"}]})] == ["nodes.0.type"]
    assert [str(one.message) for one in find_problems({"nodes": []})] == ["must not be empty"]
