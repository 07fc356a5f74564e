"""Workflows in Python: add work, pass nodes on as if they were results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Unpack

from penstock.errors import InvalidWorkflow
from penstock.model.references import RESULT
from penstock.workflows.calls import Call, call, is_work, stage, undoing
from penstock.workflows.definition import WorkflowDefinition
from penstock.workflows.free_ids import FreeIds
from penstock.workflows.nodes import INPUT, ITSELF, Node, as_json, named_in, refuse, replaced
from penstock.workflows.terms import (
    HANDED_DOWN,
    NODE_TERMS,
    OF_THE_WHOLE,
    WORKFLOW_TERMS,
    NodeTerms,
    WorkflowTerms,
    check_terms,
)
from penstock.workflows.validation import read_definition

LINES_SHOWN = 50


class Workflow:
    """Tasks with dependencies between them, on the way to being run.

    `flow.add(f, *args)` adds a call and gives a `Node`, which stands for its result: as an argument of
    another call, however deep inside it, it is replaced by the result, and makes that call wait for it.
    """

    def __init__(self, name: str = "", **terms: Unpack[WorkflowTerms]) -> None:
        self.name = name
        self._nodes: dict[str, dict[str, Any]] = {}
        self._output: str | list[str] | None = None
        self._ids = FreeIds(self._nodes)
        self.owners: set[tuple[str, Any]] = set()
        """task functions that it calls, and the managers they belong to"""
        check_terms(terms, WORKFLOW_TERMS, "a workflow", name)
        self._terms: dict[str, Any] = {
            term: str(value) if isinstance(value, Decimal) else value for term, value in terms.items()
        }

    # Adding

    def add(self, work: Any, /, *args: Any, **kwargs: Any) -> Node:
        """Add a call of a task function, or a task of a type whose data are the keyword arguments.

        Keyword arguments that are terms of a node (`NodeTerms`: id, after, timeout, ...) are taken as such.
        Raises `InvalidWorkflow` that names what is wrong.
        """
        terms = {name: kwargs.pop(name) for name in NODE_TERMS if name in kwargs}
        made = call(work, *args, **kwargs)
        if both := [name for name in terms if name in made.parameters]:
            raise self._refused(
                f"{both[0]!r} is a parameter of {made.type} and a term of its node too: give it by position, "
                f"or flow.task({made.type!r}, {{...}}) all its data"
            )
        return self._added(made, terms)

    def task(self, type: str, data: Any = None, **terms: Unpack[NodeTerms]) -> Node:
        """Add a task of this type with these data, in which nodes and references may stand."""
        if data is None and (by_name := [term for term in terms if term not in NODE_TERMS]):
            raise self._refused(
                f"a node has no term {by_name[0]!r}; it takes {', '.join(NODE_TERMS)}. Data go in one "
                "object, flow.task(type, {...}), or by name with flow.add(type, ...)"
            )
        return self._added(call(type) if data is None else call(type, data), terms)

    def place(self, work: Any, given: Any, **terms: Unpack[NodeTerms]) -> Node:
        """Add work with `given` in the place of `INPUT`; a task function is called with it."""
        return self._added(stage(work), terms, given)

    def map(self, work: Any, items: Sequence[Any], **terms: Unpack[NodeTerms]) -> list[Node]:
        """Place work once for each item; the nodes in the order of the items. An `id` gets a number."""
        whole: object = items
        if isinstance(whole, Node):
            raise self._refused(
                f"map: how many items {items!r} will have is not known yet; let a task add the nodes "
                "(context.grow), or pass the whole on"
            )
        nodes = []
        for number, item in enumerate(items, 1):
            own = {**terms, "id": f"{terms['id']}-{number}"} if "id" in terms else terms
            nodes.append(self._added(stage(work), own, item))
        return nodes

    def include(self, part: Workflow, given: Any = INPUT, *, id: str = "") -> Node | list[Node]:
        """Add all nodes of another workflow, under ids that begin with `id` (else its name), with `given` in
        the place of its `INPUT`. The node of its result, or a list of them when there are several."""
        if not isinstance(part, Workflow):
            raise self._refused(f"include takes a Workflow, not {part!r:.80}; work is added: flow.add(...)")
        if part is self:
            raise self._refused("a workflow cannot be a part of itself")
        for term in OF_THE_WHOLE:
            if term in part._terms:
                raise self._refused(f"{term} of the part {part.name!r} concerns the whole: set it there")
        prefix = self._ids.free(id or part.name or "part")
        value = as_json(given, self, f"part {prefix}")
        ids = {old: f"{prefix}.{old}" for old in part._nodes}
        values = {INPUT.id: value, **{old: Node(self, new).reference for old, new in ids.items()}}
        handed_down = {term: part._terms[term] for term in HANDED_DOWN if term in part._terms}
        for old, node in part._nodes.items():
            moved = {**handed_down, **replaced(node, values), "id": ids[old]}
            if "after" in node:
                moved["after"] = [ids.get(one, one) for one in node["after"]]
            self._nodes[ids[old]] = moved
        self._ids.parts.add(prefix)
        self.owners |= part.owners
        results = part.results
        if isinstance(results, str):
            return Node(self, ids[results])
        return [Node(self, ids[old]) for old in results]

    # The whole

    def returns(self, result: Node | str | Sequence[Node | str]) -> Workflow:
        """Say what the workflow's result is: a node's, or an object of several by node id."""
        ids = [self._id_of(one) for one in _several(result)]
        self._output = ids[0] if isinstance(result, Node | str) else ids
        return self

    def given(self, value: Any) -> Workflow:
        """A copy with this value in the place of its `INPUT`."""
        copy = Workflow(self.name)
        copy._terms, copy._output = dict(self._terms), self._output
        values = {INPUT.id: as_json(value, copy, "the input")}
        copy._nodes.update({id: replaced(node, values) for id, node in self._nodes.items()})
        copy._ids.parts |= self._ids.parts
        copy.owners |= self.owners
        return copy

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def results(self) -> str | list[str]:
        """The node whose result is the workflow's, or the nodes: as said, or else those that nobody needs."""
        if self._output is not None:
            return self._output
        needed = {one for node in self._nodes.values() for one in _needs(node)}
        last = [id for id in self._nodes if id not in needed]
        return last[0] if len(last) == 1 else last

    def follow(self, since: int, value: Any) -> None:
        """Make the nodes added since it had `since` nodes wait for those in `value`, even where they do not
        use them."""
        earlier = named_in(as_json(value, self, ""))
        fresh = dict(islice(self._nodes.items(), since, None)) if earlier else {}
        for node in fresh.values():
            needed = _needs(node)
            unused = [one for one in earlier if one in self._nodes and one not in needed]
            if unused and not any(one in fresh for one in needed):
                node["after"] = [*node.get("after", ()), *unused]

    def as_dict(self) -> dict[str, Any]:
        """The data form; not yet checked."""
        form = {"name": self.name, **self._terms, "nodes": list(self._nodes.values())}
        return form if self._output is None else {**form, "output": self._output}

    def definition(self) -> WorkflowDefinition:
        """The definition, checked; raises `InvalidWorkflow` with everything that is wrong."""
        if not self._nodes:
            raise self._refused("it has no nodes; add some: flow.add(function, ...)")
        if any(INPUT.id in _needs(node) for node in self._nodes.values()):
            raise self._refused("it needs an input; give it one: flow.given(value)")
        return read_definition(self.as_dict())

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}: {len(self._nodes)} node{'' if len(self._nodes) == 1 else 's'}>"

    def __str__(self) -> str:
        lines = [f"workflow {self.name}".rstrip()]
        for id, node in list(self._nodes.items())[:LINES_SHOWN]:
            needed = ", ".join(_needs(node))
            lines.append(f"  {id}: {node['type']}{f' after {needed}' if needed else ''}")
        more = len(self._nodes) - LINES_SHOWN
        return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)

    def _added(self, made: Call, terms: Mapping[str, Any], given: Any = INPUT) -> Node:
        check_terms(terms, NODE_TERMS, "a node", self.name)
        id = terms.get("id")
        if id is None:
            id = self._ids.free(made.type)
        elif id in self._nodes:
            raise self._refused(f"there is a node {id!r} already; give another id")
        form: dict[str, Any] = {"id": id, "type": made.type}
        values = {ITSELF.id: Node(self, id).reference}
        if given is not INPUT:
            values[INPUT.id] = as_json(given, self, f"node {id}")
        self._put_work(form, made, values, f"node {id}.data")
        form |= made.terms
        for term, value in terms.items():
            self._put_term(form, term, value, values)
        self._nodes[id] = form
        return Node(self, id)

    def _put_work(self, form: dict[str, Any], made: Call, values: Mapping[str, Any], where: str) -> None:
        if made.owner is not None:
            self.owners.add((made.type, made.owner))
        if made.data is None:
            return
        data = replaced(as_json(made.data, self, where), values)
        if problems := made.problems(data, where):
            raise InvalidWorkflow(problems, self.name)
        form["data"] = data

    def _put_term(self, form: dict[str, Any], term: str, value: Any, values: Mapping[str, Any]) -> None:
        where = f"node {form['id']}.{term}"
        if term == "after":
            form["after"] = [self._id_of(one) for one in _several(value)]
        elif term == "undo" or (term == "fallback" and is_work(value)):
            made = undoing(value) if term == "undo" else call(value)
            work: dict[str, Any] = {"type": made.type}
            self._put_work(work, made, values, where)
            form["compensate" if term == "undo" else "fallback"] = work
        elif term == "fallback":
            if callable(value) and not isinstance(value, Node):
                raise refuse("is a value or work: a task function, or call(f, ...)", where, self.name)
            form["fallback"] = {"value": replaced(as_json(value, self, where), values)}
        elif term != "id":
            form[term] = as_json(value, self, where)

    def _id_of(self, node: Any) -> str:
        if isinstance(node, str):
            return node
        if not isinstance(node, Node):
            raise self._refused(f"{node!r:.80} is no node")
        reference = as_json(node, self, "")
        return str(reference[RESULT])

    def _refused(self, message: str) -> InvalidWorkflow:
        return refuse(message, name=self.name)


def _several(nodes: Any) -> Iterable[Any]:
    return [nodes] if isinstance(nodes, Node | str) or not isinstance(nodes, Iterable) else nodes


def _needs(node: Mapping[str, Any]) -> list[str]:
    """What a node needs: what it is to come after, and what its data refer to."""
    parts = [node.get("data"), node.get("fallback")]
    return list(dict.fromkeys([*node.get("after", ()), *(one for part in parts for one in named_in(part))]))


def read_workflow(
    flow: Workflow | Mapping[str, Any] | WorkflowDefinition, **limits: Any
) -> WorkflowDefinition:
    """The checked definition of whatever form a workflow is given in; `limits` as in `read_definition`."""
    if isinstance(flow, Workflow):
        return read_definition(flow.definition(), **limits)
    given: object = flow
    if is_work(given):
        raise refuse(f"{given!r:.80} is no workflow; add it to one: flow.add(...)")
    return read_definition(flow, **limits)
