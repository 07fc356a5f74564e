"""Building workflows: nodes stand for results, and every misuse of one says what to do instead."""

import asyncio
import copy
from decimal import Decimal
from types import SimpleNamespace

import pytest

from penstock.errors import InvalidWorkflow, PenstockError
from penstock.task_types.functions import Functions
from penstock.workflows.builder import Workflow, read_workflow
from penstock.workflows.calls import call
from penstock.workflows.definition import WorkflowDefinition
from penstock.workflows.nodes import INPUT, ITSELF, Node, text

FUNCTIONS = Functions()


class TaskFunction:
    """As the builder sees what `@manager.task` makes."""

    def __init__(self, function):
        FUNCTIONS.register(function)
        self.name = function.__name__
        self._registered = FUNCTIONS.named(self.name)
        self._terms = None


@TaskFunction
def fetch(url: str, depth: int = 1) -> dict: ...


@TaskFunction
def write(parts: list, style: str = "plain") -> str: ...


@TaskFunction
def forget(page: dict) -> None: ...


@TaskFunction
def tidy() -> None: ...


@TaskFunction
def waits(timeout: float) -> None: ...


def nodes_of(flow):
    return {node["id"]: node for node in flow.as_dict()["nodes"]}


def test_nodes_as_arguments_become_references_and_dependencies():
    flow = Workflow("report")
    first = flow.add(fetch, "http://a")
    second = flow.add(fetch, url=first["links"][0], depth=2)
    flow.add(write, [first, {"deep": second.path("/a~1b")}], style="short")
    assert nodes_of(flow) == {
        "fetch": {"id": "fetch", "type": "fetch", "data": {"url": "http://a"}},
        "fetch-2": {
            "id": "fetch-2",
            "type": "fetch",
            "data": {"url": {"$result": "fetch", "path": "/links/0"}, "depth": 2},
        },
        "write": {
            "id": "write",
            "type": "write",
            "data": {
                "parts": [{"$result": "fetch"}, {"deep": {"$result": "fetch-2", "path": "/a~1b"}}],
                "style": "short",
            },
        },
    }
    assert isinstance(flow.definition(), WorkflowDefinition)
    assert str(flow) == "\n".join(
        [
            "workflow report",
            "  fetch: fetch",
            "  fetch-2: fetch after fetch",
            "  write: write after fetch, fetch-2",
        ]
    )
    assert repr(flow) == "<workflow 'report': 3 nodes>"
    assert len(flow) == 3


def test_terms_of_a_node():
    flow = Workflow("report")
    first = flow.add(fetch, "http://a", undo=forget, fallback={"links": []}, max_retries=2, id="page")
    flow.add(
        "llm_call",
        prompt=text("Sum up {} in {style}", first, style="a line"),
        after=[first, "page"],
        undo=call(write, [ITSELF["answer"]]),
        fallback=call(write, [first]),
        timeout=60,
        pools={"gpu": 1},
        priority="HIGH",
    )
    page, answer = nodes_of(flow).values()
    assert page["compensate"] == {"type": "forget", "data": {"page": {"$result": "page"}}}
    assert page["fallback"] == {"value": {"links": []}}
    assert page["max_retries"] == 2
    assert answer["data"] == {"prompt": {"$text": ["Sum up ", {"$result": "page"}, " in ", "a line"]}}
    assert answer["after"] == ["page", "page"]
    assert answer["compensate"]["data"] == {"parts": [{"$result": "llm_call", "path": "/answer"}]}
    assert answer["fallback"] == {"type": "write", "data": {"parts": [{"$result": "page"}]}}
    definition = flow.definition()
    assert definition.nodes[1].priority == 30
    assert definition.nodes[1].pools == {"gpu": 1}


def test_none_is_a_fallback():
    flow = Workflow()
    flow.add(tidy, fallback=None)
    assert flow.definition().nodes[0].fallback.model_fields_set == {"value"}


def test_terms_of_the_whole():
    flow = Workflow("f", budget=Decimal("0.1"), max_concurrent=3, on_failure="continue", deadline_seconds=60)
    flow.add(tidy)
    definition = flow.definition()
    assert definition.budget == Decimal("0.1")
    assert (definition.max_concurrent, definition.on_failure) == (3, "continue")


def test_what_a_decorator_said_goes_with_the_node():
    class Terms:
        priority = 35

        config = SimpleNamespace(tenant="acme", pools={"gpu": 2}, estimated_seconds=None)

    decorated = TaskFunction(fetch._registered.function)
    decorated._terms = Terms
    flow = Workflow()
    flow.add(decorated, "u", tenant="other")
    (node,) = flow.definition().nodes
    assert (node.priority, node.tenant, node.pools) == (35, "other", {"gpu": 2})


def test_the_synchronous_face_of_a_function():
    class Synchronous:
        _inner = fetch
        name = "fetch"

    flow = Workflow()
    assert flow.add(Synchronous(), "u").id == "fetch"


def test_types_and_their_data():
    flow = Workflow()
    flow.task("llm_call", {"prompt": "a", "of": [flow.add(tidy)]})
    flow.add("llm_call", {"prompt": "b"}, model="m")
    flow.add("llm_call")
    assert [node.get("data") for node in nodes_of(flow).values()] == [
        {},
        {"prompt": "a", "of": [{"$result": "tidy"}]},
        {"prompt": "b", "model": "m"},
        None,
    ]


def test_arguments_are_copied():
    flow, parts = Workflow(), ["a"]
    flow.add(write, parts)
    parts.append("b")
    assert nodes_of(flow)["write"]["data"] == {"parts": ["a"]}


def test_work_for_each_item():
    flow = Workflow()
    pages = flow.map(fetch, ["u", "v"], id="page", timeout=5)
    flow.add(write, pages)
    assert [one.id for one in pages] == ["page-1", "page-2"]
    assert nodes_of(flow)["page-2"] == {"id": "page-2", "type": "fetch", "data": {"url": "v"}, "timeout": 5}


def test_a_part_is_included_with_ids_of_its_own():
    part = Workflow("part", priority=30)
    page = part.add(fetch, INPUT["url"], undo=forget)
    part.add(write, [page], after=page)
    flow = Workflow("whole")
    source = flow.add(tidy, id="source")
    first = flow.include(part, source)
    second = flow.include(part, {"url": "http://b"}, id="other")
    flow.add(write, [first, second["x"]])
    nodes = nodes_of(flow)
    assert list(nodes) == ["source", "part.fetch", "part.write", "other.fetch", "other.write", "write"]
    assert nodes["part.fetch"]["data"] == {"url": {"$result": "source", "path": "/url"}}
    assert nodes["part.fetch"]["compensate"]["data"] == {"page": {"$result": "part.fetch"}}
    assert nodes["part.write"]["after"] == ["part.fetch"]
    assert nodes["part.fetch"]["priority"] == 30
    assert nodes["other.fetch"]["data"] == {"url": "http://b"}
    assert nodes["write"]["data"]["parts"] == [
        {"$result": "part.write"},
        {"$result": "other.write", "path": "/x"},
    ]
    flow.definition()


def test_an_input_is_given_later():
    flow = Workflow("f")
    flow.add(fetch, INPUT["pages"][0])
    flow.add("llm_call", prompt=text("About {}", INPUT))
    with pytest.raises(InvalidWorkflow, match=r"it needs an input; give it one: flow.given\(value\)"):
        flow.definition()
    nodes = nodes_of(flow.given({"pages": ["u"]}))
    assert nodes["fetch"]["data"] == {"url": "u"}
    assert nodes["llm_call"]["data"] == {"prompt": {"$text": ["About ", {"pages": ["u"]}]}}
    more = flow.given({"pages": ["u"]})
    assert more.add(fetch, "v").id == "fetch-2"
    assert (len(more), len(flow)) == (3, 2)
    with pytest.raises(PenstockError, match="the input has no /pages: it is an object with the keys page"):
        flow.given({"page": 1})


def test_what_it_returns():
    flow = Workflow()
    a, b = flow.add(tidy, id="a"), flow.add(tidy, id="b")
    assert flow.results == ["a", "b"]
    flow.add(write, [a, b], id="c")
    assert flow.results == "c"
    assert flow.returns([a, b]).results == ["a", "b"]
    with pytest.raises(InvalidWorkflow, match="node 'c' leads nowhere"):
        flow.definition()
    assert flow.returns(Node(flow, "c")).definition().output == "c"
    with pytest.raises(InvalidWorkflow, match="there is no node 'cc'"):
        flow.returns("cc").definition()


def test_an_unknown_name_in_a_part_is_found_in_the_whole():
    part, flow = Workflow("part"), Workflow("whole")
    part.add(tidy, after="nobody")
    flow.include(part)
    with pytest.raises(InvalidWorkflow, match=r"node 'part.tidy' needs 'nobody', which does not exist"):
        flow.definition()


def test_many_nodes_are_shown_in_short():
    flow = Workflow("big")
    flow.map(fetch, [str(number) for number in range(60)])
    assert str(flow).endswith("\n  and 10 more")


def test_every_form_is_read():
    flow = Workflow("f")
    flow.add(tidy)
    assert read_workflow(flow) == read_workflow(flow.as_dict()) == read_workflow(flow.definition())
    with pytest.raises(InvalidWorkflow, match="there is no task type 'tidy'; did you mean 'tidier'"):
        read_workflow(flow, types={"tidier"})


FLOW = Workflow("report")
NODE = FLOW.add(fetch, "http://a")
OTHER = Workflow("other").add(tidy)
WHY = "<node 'fetch' of workflow 'report'> stands for a result that is not there before the workflow runs; "


async def wait_for(node):
    await node


MISUSES = {
    "await": (lambda: asyncio.run(wait_for(NODE)), WHY + "it cannot be awaited: pass it to another call"),
    "f-string": (lambda: f"about {NODE}", WHY + "it cannot stand in an f-string: write text("),
    "str": (lambda: "about " + str(NODE), WHY + "it has no text yet: write text("),
    "percent": (lambda: "about %s" % NODE, WHY + "it has no text yet"),  # noqa: UP031
    "if": (lambda: 1 if NODE else 2, WHY + "it is neither true nor false yet: decide inside a task"),
    "in": (lambda: "x" in NODE, WHY + "what it holds is not known yet"),
    "for": (lambda: list(NODE), WHY + "it cannot be iterated yet: take parts by node[0]"),
    "call": (lambda: NODE(), WHY + "it is no function"),
    "negative place": (lambda: NODE[-1], WHY + "a part is named by a key or a place from 0, not by -1"),
    "slice": (lambda: NODE[0:2], WHY + "a part is named by a key or a place"),
    "pointer": (lambda: NODE.path("a/b"), "a JSON pointer begins with '/', unlike 'a/b'"),
    "another workflow's node": (
        lambda: FLOW.add(write, [OTHER]),
        "<node 'tidy' of workflow 'other'> is of another workflow; include that one here",
    ),
    "after another workflow's node": (lambda: FLOW.add(tidy, after=OTHER), "is of another workflow"),
    "after nothing": (lambda: FLOW.add(tidy, after=[3]), "3 is no node"),
    "a plain function": (lambda: FLOW.add(len, "x"), "len is no task function; decorate it: @manager.task"),
    "a node as work": (lambda: FLOW.add(NODE), "is no work but stands for a result; pass it as an argument"),
    "a workflow as work": (
        lambda: FLOW.add(Workflow("w")),
        "<workflow 'w': 0 nodes> is a workflow: flow.include(it)",
    ),
    "a number as work": (lambda: FLOW.add(3), "work is a task function, a task type or call(...), not 3"),
    "a call with more": (lambda: FLOW.add(call(tidy), 1), "tidy has its arguments already"),
    "a wrong argument": (
        lambda: FLOW.add(fetch, 3),
        "workflow 'report': node fetch-2.data.url: fetch: Input should be a valid string",
    ),
    "an argument that lacks": (lambda: FLOW.add(write), "node write.data.parts: write: Field required"),
    "an unknown argument": (
        lambda: FLOW.add(fetch, NODE, timout=3),
        "data.timout: fetch: Extra inputs are not permitted",
    ),
    "too many arguments": (lambda: FLOW.add(tidy, 1), "tidy takes 0 arguments by position, not 1"),
    "no JSON": (lambda: FLOW.add(write, [object()]), "is no JSON: object is no JSON"),
    "a parameter that is a term": (
        lambda: FLOW.add(waits, timeout=3),
        "'timeout' is a parameter of waits and a term of its node too: give it by position, or flow.task(",
    ),
    "an unknown term of a node": (lambda: FLOW.task("x", timout=3), "a node has no term 'timout'; it takes"),
    "data as terms": (
        lambda: FLOW.task("x", prompt="y"),
        "Data go in one object, flow.task(type, {...}), or",
    ),
    "a result compared": (lambda: NODE["state"] == "done", "it equals nothing yet: compare inside a task"),
    "a text with too much": (lambda: text("{}", NODE, other=NODE), "has no field {other} for what is given"),
    "a lambda": (
        lambda: FLOW.add(lambda: 1),
        "<lambda> is no task function; write it with def, and decorate",
    ),
    "a call instead of a function": (
        lambda: FLOW.add(asyncio.sleep(0)),
        "give the function itself, then its",
    ),
    "after what is no node": (lambda: FLOW.add(tidy, after=3), "3 is no node"),
    "a result that is no node": (lambda: FLOW.returns(3), "3 is no node"),
    "items of a result": (lambda: FLOW.map(tidy, NODE), "how many items <node 'fetch'"),
    "a function as a part": (lambda: FLOW.include(tidy), "include takes a Workflow, not"),
    "a function as a workflow": (lambda: read_workflow(tidy), "is no workflow; add it to one"),
    "a plain function as fallback": (
        lambda: FLOW.add(tidy, fallback=len),
        "is a value or work: a task function",
    ),
    "an unknown term of a workflow": (lambda: Workflow(budgt=1), "a workflow has no term 'budgt'; it takes"),
    "an id twice": (lambda: FLOW.add(tidy, id="fetch"), "there is a node 'fetch' already; give another id"),
    "data by position and more": (
        lambda: FLOW.add("x", 1, y=2),
        "data by name go with an object, not with 1",
    ),
    "two data": (lambda: FLOW.add("x", 1, 2), "takes its data as one object or by name"),
    "itself as a part": (lambda: FLOW.include(FLOW), "a workflow cannot be a part of itself"),
    "a budget of a part": (
        lambda: FLOW.include(Workflow("p", budget=1)),
        "budget of the part 'p' concerns the whole: set it there",
    ),
    "no nodes": (lambda: Workflow("f").definition(), "it has no nodes; add some"),
    "a field without a value": (lambda: text("{} {}", NODE), "has a field {1} for which nothing is given"),
    "a field with a format": (lambda: text("{:>3}", NODE), "text takes plain fields"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", MISUSES)
def test_a_misuse_is_told(case):
    misuse, words = MISUSES[case]
    size = len(FLOW)
    with pytest.raises(InvalidWorkflow) as told:
        misuse()
    assert words in str(told.value)
    assert len(FLOW) == size


def test_attributes_of_a_node_are_no_parts():
    with pytest.raises(AttributeError, match=r"a part of its result is node\['items'\]"):
        _ = NODE.items
    assert not hasattr(NODE, "anything")
    assert copy.copy(NODE).id == "fetch"
    assert repr(NODE["x"][0]) == "<node 'fetch' at /x/0 of workflow 'report'>"
    assert repr(INPUT) == "<node '$input'>"
