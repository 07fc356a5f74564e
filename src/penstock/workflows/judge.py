"""Names, order and reach of the nodes of a definition: what is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from penstock.errors import Problem
from penstock.model.suggestions import Suggester
from penstock.workflows.cycles import cycles
from penstock.workflows.outline import Need, NodeOutline

LONGEST_SHOWN = 20


class Judge:
    """Looks at outlines; `known` are nodes that are there already and may be needed."""

    def __init__(self, nodes: Sequence[NodeOutline], known: Collection[str] = ()) -> None:
        self._nodes = nodes
        self._known = frozenset(known)
        self._by_id: dict[str, NodeOutline] = {}
        for node in nodes:
            self._by_id.setdefault(node.id, node)
        self._suggester = Suggester([*self._by_id, *known])

    def problems(self, types: Collection[str] | None) -> list[Problem]:
        """Everything but what is wrong with the output."""
        return [
            *self._duplicates(),
            *self._unknown_types(types),
            *(problem for node in self._nodes for problem in node.problems),
            *(problem for node in self._nodes for problem in self._unknown_needs(node)),
            *(problem for node in self._nodes for problem in self._wrong_undo(node)),
            *self._cycles(),
        ]

    def output_problems(self, output: Any) -> Iterator[Problem]:
        """Names of the output that are none, and nodes that it leaves out though no other node needs them."""
        named = {"output": output} if isinstance(output, str) else {}
        if isinstance(output, list):
            named = {f"output.{place}": name for place, name in enumerate(output) if isinstance(name, str)}
        elif not named:
            return
        seen = set()
        for path, name in named.items():
            if name in seen:
                yield Problem(path, f"node {name!r} is named twice")
            elif name not in self._by_id:
                yield Problem(path, f"there is no node {name!r}{self._suggester.hint(name)}")
            seen.add(name)
        needed = {need.node for node in self._nodes for need in node.needs}
        for id, node in self._by_id.items():
            if id not in needed and id not in seen:
                yield Problem(
                    node.path, f"node {id!r} leads nowhere: no node needs it, and output leaves it out"
                )

    def _duplicates(self) -> Iterator[Problem]:
        for node in self._nodes:
            if node.id in self._known:
                yield Problem(f"{node.path}.id", f"there is a node {node.id!r} in this workflow already")
            elif (first := self._by_id[node.id]) is not node:
                yield Problem(f"{node.path}.id", f"{node.id!r} is the id of {first.path} too; ids are unique")

    def _unknown_types(self, types: Collection[str] | None) -> Iterator[Problem]:
        if types is None:
            return
        suggester = Suggester(sorted(types))
        for node in self._nodes:
            for path, type in node.types:
                if type not in types:
                    yield Problem(
                        path, f"node {node.id!r}: there is no task type {type!r}{suggester.hint(type)}"
                    )

    def _unknown_needs(self, node: NodeOutline) -> Iterator[Problem]:
        for need in node.needs:
            if need.node not in self._by_id and need.node not in self._known:
                verb = "refers to" if need.by_reference else "needs"
                yield Problem(
                    need.path,
                    f"node {node.id!r} {verb} {need.node!r}, which does not exist"
                    f"{self._suggester.hint(need.node)}",
                )

    def _wrong_undo(self, node: NodeOutline) -> Iterator[Problem]:
        if not node.undo:
            return
        sure = {node.id, *(need.node for need in node.needs)}
        for need in node.undo:
            if need.node not in sure:
                yield Problem(
                    need.path,
                    f"the compensation of {node.id!r} may refer to {node.id!r} and to the nodes it needs; "
                    f"{need.node!r} is none of them",
                )

    def _cycles(self) -> Iterator[Problem]:
        graph = {
            id: list(dict.fromkeys(need.node for need in node.needs if need.node in self._by_id))
            for id, node in self._by_id.items()
        }
        for cycle in cycles(graph):
            path = _stated(self._by_id[cycle[0]].needs, cycle[1 % len(cycle)])
            if len(cycle) == 1:
                yield Problem(path, f"node {cycle[0]!r} needs itself: {cycle[0]} → {cycle[0]}")
            else:
                yield Problem(path, f"nodes need each other in a cycle: {_drawn(cycle)}")


def _stated(needs: Sequence[Need], node: str) -> str:
    return next(need.path for need in needs if need.node == node)


def _drawn(cycle: list[str]) -> str:
    names = [*cycle, cycle[0]]
    if len(names) > LONGEST_SHOWN:
        left_out = len(names) - LONGEST_SHOWN
        names[LONGEST_SHOWN // 2 : -LONGEST_SHOWN // 2] = [f"({left_out} more)"]
    return " → ".join(names)
