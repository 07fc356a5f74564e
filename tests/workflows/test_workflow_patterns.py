"""Shapes of work, alone and inside each other."""

import time

import pytest

from penstock.errors import InvalidWorkflow
from penstock.task_types.functions import Functions
from penstock.workflows.calls import call
from penstock.workflows.compiling import needs
from penstock.workflows.nodes import INPUT, text
from penstock.workflows.patterns import map_reduce, parallel, pipeline

FUNCTIONS = Functions()


def task_function(function):
    FUNCTIONS.register(function)

    class Made:
        name = function.__name__
        _registered = FUNCTIONS.named(name)

    return Made()


@task_function
def fetch(url: str) -> dict: ...


@task_function
def count(page: dict) -> int: ...


@task_function
def add_up(numbers: list) -> int: ...


@task_function
def tidy() -> None: ...


def edges(flow):
    return {node.id: set(needs(node)) for node in flow.definition().nodes}


def test_a_pipeline():
    flow = pipeline(fetch, count, input="http://a", name="counting", budget=1)
    assert edges(flow) == {"fetch": set(), "count": {"fetch"}}
    definition = flow.definition()
    assert definition.nodes[0].data == {"url": "http://a"}
    assert (definition.name, definition.output, definition.budget) == ("counting", "count", 1)


def test_a_stage_that_takes_nothing_still_comes_later():
    assert edges(pipeline(tidy, fetch, tidy)) == {"tidy": set(), "fetch": {"tidy"}, "tidy-2": {"fetch"}}


def test_work_side_by_side():
    flow = parallel(fetch, call("llm_call", prompt=text("Guess {}", INPUT)), input="http://a")
    assert edges(flow) == {"fetch": set(), "llm_call": set()}
    assert flow.definition().output == ("fetch", "llm_call")


def test_one_beside_nothing_is_a_list_still():
    flow = pipeline(parallel(fetch), add_up, input="u")
    assert flow.definition().nodes[1].data == {"numbers": [{"$result": "parallel.fetch"}]}


def test_map_and_reduce():
    flow = map_reduce(["u", "v", "w"], fetch, add_up)
    assert edges(flow) == {
        "fetch": set(),
        "fetch-2": set(),
        "fetch-3": set(),
        "add_up": {"fetch", "fetch-2", "fetch-3"},
    }
    assert [node.data for node in flow.definition().nodes[:3]] == [{"url": one} for one in "uvw"]
    assert map_reduce(["u"], fetch).definition().output == ("fetch",)


def test_shapes_inside_shapes():
    counted = pipeline(call(fetch, INPUT["url"]), count, name="one")
    flow = pipeline(
        map_reduce([{"url": "u"}, {"url": "v"}], counted, add_up, name="all"),
        parallel(call("llm_call", prompt=text("Why {}?", INPUT)), tidy),
        call(add_up, INPUT),
    )
    assert edges(flow) == {
        "all.one.fetch": set(),
        "all.one.count": {"all.one.fetch"},
        "all.one-2.fetch": set(),
        "all.one-2.count": {"all.one-2.fetch"},
        "all.add_up": {"all.one.count", "all.one-2.count"},
        "parallel.llm_call": {"all.add_up"},
        "parallel.tidy": {"all.add_up"},
        "add_up": {"parallel.llm_call", "parallel.tidy"},
    }


def test_a_pipeline_without_its_input():
    flow = pipeline(fetch, count)
    with pytest.raises(InvalidWorkflow, match="workflow 'pipeline': it needs an input"):
        flow.definition()
    assert edges(flow.given("u")) == {"fetch": set(), "count": {"fetch"}}


@pytest.mark.parametrize("make", [pipeline, parallel, lambda: map_reduce([], fetch)])
def test_nothing_to_do(make):
    with pytest.raises(InvalidWorkflow, match="there is nothing to do"):
        make()


def test_items_must_be_known():
    with pytest.raises(InvalidWorkflow, match="items must be a list that is known now, not 'uvw'"):
        map_reduce("uvw", fetch)


def test_large_shapes_stay_cheap():
    begin = time.process_time()
    assert len(map_reduce([str(number) for number in range(3000)], fetch, add_up).definition().nodes) == 3001
    assert len(pipeline(*[count] * 1000, input={}).definition().nodes) == 1000
    assert time.process_time() - begin < 3  # 0.5 s on a quiet machine
