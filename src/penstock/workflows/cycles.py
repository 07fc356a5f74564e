"""Cycles of a graph, named; time and memory linear in nodes and edges, without recursion."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence


def cycles(needs: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """One cycle of every knot of nodes that need each other: each node needs the next, the last the first.

    It is a shortest one through the knot's first node. `needs` names nodes of its own only.
    """
    for knot in _knots(needs):
        if len(knot) > 1 or knot[0] in needs[knot[0]]:
            yield _around(knot, needs)


def in_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes, each behind those that it needs (Kahn's algorithm), as given where that leaves a choice.
    Nodes of cycles and behind cycles are left out."""
    open_needs = {node: len(set(named)) for node, named in needs.items()}
    dependents: dict[str, list[str]] = {node: [] for node in needs}
    for node, named in needs.items():
        for one in set(named):
            dependents[one].append(node)
    ready = deque(node for node, count in open_needs.items() if not count)
    order = []
    while ready:
        order.append(node := ready.popleft())
        for one in dependents[node]:
            open_needs[one] -= 1
            if not open_needs[one]:
                ready.append(one)
    return order


def _knots(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Strongly connected components among the nodes that are left when all that can be ordered is taken
    away; in the order given, and so the nodes of each."""
    ordered = set(in_order(needs))
    place = {node: number for number, node in enumerate(needs) if node not in ordered}
    search = _Search({node: [one for one in needs[node] if one in place] for node in place})
    knots = [sorted(knot, key=place.__getitem__) for knot in search.knots()]
    return sorted(knots, key=lambda knot: place[knot[0]])


class _Search:
    """Tarjan's search (1972), with its own stack of calls."""

    def __init__(self, needs: Mapping[str, Sequence[str]]) -> None:
        self._needs = needs
        self._number: dict[str, int] = {}
        self._lowest: dict[str, int] = {}
        self._stack: list[str] = []
        self._held: set[str] = set()
        self._calls: list[tuple[str, Iterator[str]]] = []

    def knots(self) -> Iterator[list[str]]:
        for root in self._needs:
            if root not in self._number:
                self._enter(root)
            while self._calls:
                node, named = self._calls[-1]
                one = next(named, None)
                if one is None:
                    yield from self._leave(node)
                elif one not in self._number:
                    self._enter(one)
                elif one in self._held:
                    self._lowest[node] = min(self._lowest[node], self._number[one])

    def _enter(self, node: str) -> None:
        self._number[node] = self._lowest[node] = len(self._number)
        self._stack.append(node)
        self._held.add(node)
        self._calls.append((node, iter(self._needs[node])))

    def _leave(self, node: str) -> Iterator[list[str]]:
        self._calls.pop()
        if self._calls:
            caller = self._calls[-1][0]
            self._lowest[caller] = min(self._lowest[caller], self._lowest[node])
        if self._lowest[node] == self._number[node]:
            knot = [self._stack.pop()]
            while knot[-1] != node:
                knot.append(self._stack.pop())
            self._held.difference_update(knot)
            yield knot


def _around(knot: list[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """A shortest way from the first node of a knot back to itself."""
    first, inside = knot[0], set(knot)
    came_from: dict[str, str] = {}
    ahead = deque([first])
    while ahead:
        node = ahead.popleft()
        for one in needs[node]:
            if one == first:
                way = [node]
                while way[-1] != first:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if one in inside and one not in came_from:
                came_from[one] = node
                ahead.append(one)
    raise AssertionError(f"{first!r} stands in no cycle")
