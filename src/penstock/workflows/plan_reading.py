"""Is this a plan? All that is wrong is said at once; what can only mean one thing is mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import InvalidPlan, Problem
from penstock.model.suggestions import Suggester
from penstock.workflows.cycles import cycles
from penstock.workflows.free_ids import FreeIds
from penstock.workflows.plan_arguments import (
    OfferedTool,
    named_in,
    open_arguments,
    paths_in,
    read_arguments,
    renamed,
)
from penstock.workflows.plan_times import read_seconds
from penstock.workflows.plans import USUAL_SECONDS, Plan, Subtask

MOST_SUBTASKS = 20
_LONGEST_NAME = 200
_LONGEST_DESCRIPTION = 20_000


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What plans are read by. `known` are subtasks of earlier rounds, which may be needed; `reserved`
    are ids that subtasks cannot have."""

    goal: str
    tools: Mapping[str, OfferedTool] = field(default_factory=dict)
    most: int = MOST_SUBTASKS
    known: tuple[Subtask, ...] = ()
    reserved: tuple[str, ...] = ()


def read_plan(raw: Any, terms: PlanTerms) -> Plan:
    """The plan that an object means. Raises `InvalidPlan` with everything that is wrong."""
    reader = _Reader(terms)
    subtasks = reader.read(raw)
    if reader.problems:
        raise InvalidPlan(list(dict.fromkeys(reader.problems)))
    return Plan(terms.goal, tuple(subtasks), tuple(dict.fromkeys(reader.mended)))


@dataclass(slots=True)
class _Draft:
    """A subtask as it was written; `id` is what others call it, `node` what it is called from now on."""

    path: str
    id: str
    name: str
    description: str
    seconds: float
    needs: list[tuple[str, str]]
    tool: str | None
    arguments: dict[str, Any]
    node: str = ""


class _Reader:
    def __init__(self, terms: PlanTerms) -> None:
        self._terms = terms
        self.problems: list[Problem] = []
        self.mended: list[str] = []

    def read(self, raw: Any) -> list[Subtask]:
        items = self._items(raw)
        drafts = [self._draft(place, item) for place, item in enumerate(items) if isinstance(item, dict)]
        ids = self._ids(drafts)
        subtasks = [self._subtask(one, ids, drafts) for one in drafts]
        self._check_cycles(subtasks)
        self._check_paths(subtasks)
        return subtasks

    # The list

    def _items(self, raw: Any) -> list[Any]:
        if not isinstance(raw, Mapping) or "subtasks" not in raw:
            self._wrong("", "must be an object with subtasks")
            return []
        items = raw["subtasks"]
        if isinstance(items, dict) and items and all(isinstance(one, dict) for one in items.values()):
            self._mend("subtasks: an object by id taken for a list")
            items = [{"id": id, **one} for id, one in items.items()]
        if not isinstance(items, list):
            self._wrong("subtasks", f"must be a list, not {items!r:.80}")
            return []
        if not items:
            self._wrong("subtasks", "is empty: a plan has at least one subtask")
        different = [one for place, one in enumerate(items) if one not in items[:place]]
        if len(different) < len(items):
            self._mend("subtasks that stand there twice, word for word, were taken once")
        if len(different) > self._terms.most:
            self._wrong("subtasks", f"there are {len(different)}; at most {self._terms.most} are possible")
            return []
        for place, item in enumerate(different):
            if not isinstance(item, dict):
                self._wrong(f"subtasks.{place}", f"must be an object, not {item!r:.80}")
        return different

    # One subtask

    def _draft(self, place: int, item: dict[str, Any]) -> _Draft:
        path = f"subtasks.{place}"
        name, description = self._text(path, item, "name"), self._text(path, item, "description")
        if not name and not description:
            self._wrong(path, "has neither a name nor a description")
        if item.get("subtasks"):
            self._wrong(f"{path}.subtasks", "subtasks have no subtasks of their own: list all on one level")
        tool, arguments = self._call(path, item)
        return _Draft(
            path,
            self._id(path, item, name),
            (name or description)[:_LONGEST_NAME],
            (description or name)[:_LONGEST_DESCRIPTION],
            self._seconds(path, item.get("estimated_time")),
            self._needs(path, item.get("dependencies")),
            tool,
            arguments,
        )

    def _text(self, path: str, item: dict[str, Any], key: str) -> str:
        value = item.get(key)
        if value is None:
            return ""
        if isinstance(value, bool | list | dict):
            self._wrong(f"{path}.{key}", f"must be a text, not {value!r:.80}")
            return str(value)[:80]
        return " ".join(str(value).split()) if key == "name" else str(value).strip()

    def _id(self, path: str, item: dict[str, Any], name: str) -> str:
        value = item.get("id")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            self._mend(f"{path}.id: the number {value} taken as a text")
            return str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if value in (None, "") and name:
            self._mend(f"{path}.id: made from its name")
            return name
        self._wrong(f"{path}.id", f"must be a text, not {value!r:.80}")
        return ""

    def _seconds(self, path: str, value: Any) -> float:
        if value is None:
            self._mend(f"{path}.estimated_time: {USUAL_SECONDS:.0f} seconds, for none was given")
            return USUAL_SECONDS
        try:
            seconds = read_seconds(value)
        except ValueError as error:
            self._wrong(f"{path}.estimated_time", str(error))
            return USUAL_SECONDS
        if isinstance(value, str):
            self._mend(f"{path}.estimated_time: {value!r:.40} taken as {seconds:g} seconds")
        return seconds

    def _needs(self, path: str, value: Any) -> list[tuple[str, str]]:
        where = f"{path}.dependencies"
        if value is None:
            self._mend(f"{where}: none were given")
            return []
        if isinstance(value, str | int) and not isinstance(value, bool):
            self._mend(f"{where}: {value!r:.40} taken as a list")
            value = [value] if str(value).strip() else []
        if not isinstance(value, list):
            self._wrong(where, f"must be a list of ids, not {value!r:.80}")
            return []
        needs = []
        for place, one in enumerate(value):
            if isinstance(one, dict) and "id" in one:
                one = one["id"]
                self._mend(f"{where}.{place}: the object's id taken")
            if isinstance(one, float) and one.is_integer():
                one = int(one)
            if isinstance(one, bool) or not isinstance(one, str | int) or not str(one).strip():
                self._wrong(f"{where}.{place}", f"must be the id of a subtask, not {one!r:.80}")
                continue
            needs.append((f"{where}.{place}", str(one).strip()))
        return needs

    def _call(self, path: str, item: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        tool = item.get("tool")
        try:
            arguments = read_arguments(item.get("arguments"))
        except ValueError as error:
            self._wrong(f"{path}.arguments", str(error))
            arguments = {}
        if tool in (None, "", "none", "null"):
            if arguments:
                self._wrong(f"{path}.arguments", "are given, but no tool")
            return None, {}
        if isinstance(tool, str) and tool in self._terms.tools:
            return tool, arguments
        offered = ", ".join(map(repr, self._terms.tools))
        there = f"there are {offered}" if offered else "there are no tools"
        self._wrong(f"{path}.tool", f"{tool!r:.80} is no tool: {there}; leave it out to think or to write")
        return None, {}

    # All of them

    def _ids(self, drafts: list[_Draft]) -> dict[str, str]:
        """What subtasks may be called by: node by id."""
        ids = {one.id: one.id for one in self._terms.known}
        taken: dict[str, str] = dict.fromkeys(ids, "an earlier round")
        nodes = {*ids, *self._terms.reserved}
        free = FreeIds(nodes)
        for one in drafts:
            if not one.id:
                continue
            if one.id in taken:
                self._wrong(f"{one.path}.id", f"{one.id!r} is the id of {taken[one.id]} already")
                continue
            taken[one.id] = one.path
            one.node = ids[one.id] = free.free(one.id)
            nodes.add(one.node)
            if one.node != one.id:
                self._mend(f"{one.path}.id: {one.id!r:.60} is {one.node!r} from now on")
        return ids

    def _subtask(self, one: _Draft, ids: dict[str, str], drafts: list[_Draft]) -> Subtask:
        names = self._by_name(drafts)
        stated = [*one.needs, *((f"{one.path}.arguments", name) for name in named_in(one.arguments))]
        needs: dict[str, None] = {}
        own: dict[str, str] = {}
        suggester = Suggester(ids)
        for path, said in stated:
            node = ids.get(said) or self._mended_need(path, said, ids, names)
            if node is None:
                self._wrong(path, f"there is no subtask {said!r:.80}{suggester.hint(said)}")
            else:
                needs[node] = None
                own[said] = node
        arguments = renamed(one.arguments, own)
        if one.tool is not None:
            for problem in self._terms.tools[one.tool].check(arguments, open_arguments(arguments)):
                self._wrong(f"{one.path}.arguments", problem)
        return Subtask(one.node, one.name, one.description, tuple(needs), one.seconds, one.tool, arguments)

    def _mended_need(self, path: str, said: str, ids: dict[str, str], names: dict[str, str]) -> str | None:
        """The subtask that is meant by its name, or by an id written a little differently."""
        by_id = {_plain(id): node for id, node in ids.items()}
        if len(by_id) == len(ids) and (node := by_id.get(_plain(said))):
            self._mend(f"{path}: {said!r:.60} taken as {node!r}")
            return node
        if node := names.get(_plain(said)):
            self._mend(f"{path}: the name {said!r:.60} taken as the id {node!r}")
            return node
        return None

    def _by_name(self, drafts: list[_Draft]) -> dict[str, str]:
        """Subtasks by names that no two have."""
        every = [(_plain(one.name), one.node) for one in drafts if one.node]
        every += [(_plain(one.name), one.id) for one in self._terms.known]
        names = [name for name, _ in every]
        return {name: node for name, node in every if names.count(name) == 1}

    def _check_cycles(self, subtasks: list[Subtask]) -> None:
        mine = {one.id: one for one in subtasks if one.id}
        for cycle in cycles(
            {id: [need for need in one.dependencies if need in mine] for id, one in mine.items()}
        ):
            place = [one.id for one in subtasks].index(cycle[0])
            way = " → ".join([*cycle, cycle[0]])
            what = "needs itself" if len(cycle) == 1 else "stands in a cycle"
            self._wrong(f"subtasks.{place}.dependencies", f"{cycle[0]!r} {what}: {way}")

    def _check_paths(self, subtasks: list[Subtask]) -> None:
        told = {one.id for one in (*self._terms.known, *subtasks) if one.tool is None}
        for place, one in enumerate(subtasks):
            for name, path in paths_in(one.arguments):
                if name in told:
                    self._wrong(
                        f"subtasks.{place}.arguments",
                        f"${{{name}/{path}}}: {name!r} gives a text, which has no parts; write ${{{name}}}",
                    )

    def _wrong(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _mend(self, what: str) -> None:
        self.mended.append(what)


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
