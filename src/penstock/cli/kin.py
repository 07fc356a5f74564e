"""What a task has to do with others: what it waits for, whose node or child it is, what it started."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from penstock.cli.show_text import clock_time, counted, iso, number, span
from penstock.model.group import Group
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.model.waits import APPROVAL, Await
from penstock.stores.contract import Reader, TaskFilter

MOST = 1_000
_NAMED = 10
_REASONS = {"event": "event", "task": "child", "group": "workflow", "sleep": "due"}


@dataclass(frozen=True, slots=True)
class Kin:
    """`awaited` are the tasks that it waits for by their number, `needs` those before it that have not
    completed. `leader` is (id, node) of the workflow that it is a node of, `group` that workflow, or the one
    that it leads."""

    task: TaskView
    waits: list[Await]
    awaited: dict[int, TaskView]
    needs: list[TaskView]
    parent: str | None
    children: list[tuple[str, bool]]
    leader: tuple[str, str] | None
    group: Group | None

    def reason(self) -> str:
        """A stable word for what it waits for."""
        first = self.waits[0]
        kind = first.what.partition(":")[0]
        return "approval" if first.question is not None else _REASONS.get(kind, kind)

    def lines(self, now: float) -> list[str]:
        """What it waits for, and since when."""
        return [line for one in self.waits for line in self._lines_of(one, now)]

    def _lines_of(self, one: Await, now: float) -> list[str]:
        kind, _, name = one.what.partition(":")
        since = f"since {clock_time(one.asked_at)}, for {span(now - one.asked_at)}"
        until = "" if one.until is None else f"; at most until {clock_time(one.until)}"
        if one.question is not None:
            return self._asked(one, name.removeprefix(APPROVAL), f"{since}{until}")
        if kind == "event":
            came = "; it has come" if one.answered else ""
            told = f"it waits for the event {name!r} {since}{until}{came}"
            return [told] if came else [told, f"send it with: penstock event {self.task.id} {_word(name)}"]
        if kind == "task":
            other = self.awaited.get(int(name)) if name.isdecimal() else None
            which = "one that is gone" if other is None else f"{other.id} ({other.type}, {other.status})"
            return [f"it waits for the task {which} {since}{until}"]
        if kind == "group" and self.group is not None:
            group = self.group
            done = f"{number(group.total - group.open)} of {counted(group.total, 'node')} ended"
            return [f"it waits for its nodes {since}{until}: {done}"]
        if one.until is not None:
            return [f"it sleeps until {clock_time(one.until)}, for another {span(one.until - now)}"]
        return [f"it waits for {one.what} {since}"]

    def _asked(self, one: Await, name: str, when: str) -> list[str]:
        asked = json.loads(one.question or "{}")
        lines = [f"it asks for approval {name!r} {when}: {asked.get('question', '')}"]
        if asked.get("details") is not None:
            lines.append(f"details: {json.dumps(asked['details'], ensure_ascii=False)}")
        if one.answered:
            return [*lines, "somebody has answered"]
        return [*lines, f"answer with: penstock approve {self.task.id} {_word(name)} [--no]"]

    def blocked_lines(self) -> list[str]:
        """What a blocked task has before it."""
        if self.needs:
            shown = [f"{_named(one)} ({one.status})" for one in self.needs[:_NAMED]]
            more = f" and {len(self.needs) - _NAMED} more" if len(self.needs) > _NAMED else ""
            return [f"it waits for the tasks it depends on: {', '.join(shown)}{more}", *self._of_workflow()]
        if self.group is not None and self.group.places is not None:
            places = counted(self.group.places, "node")
            return [f"its workflow lets {places} go on at a time, and so many do", *self._of_workflow()]
        return ["it waits for the tasks it depends on", *self._of_workflow()]

    def _of_workflow(self) -> list[str]:
        if self.leader is None:
            return []
        return [f"it is node {self.leader[1]!r} of workflow {self.leader[0]}"]

    def facts(self) -> list[str]:
        """Lines of `penstock show`."""
        lines = [] if self.leader is None else [f"  node      {self.leader[1]} of workflow {self.leader[0]}"]
        if self.parent is not None:
            lines.append(f"  child of  {self.parent}")
        if self.leader is None and self.group is not None:
            group = self.group
            ends = f"{number(group.completed)} completed, {number(group.failed)} failed, "
            ends += f"{number(group.cancelled)} cancelled"
            lines.append(f"  nodes     {number(group.total)}: {number(group.open)} open, {ends}")
            lines.append(f"            penstock workflow show {self.task.id}")
        if self.children:
            shown = ", ".join(id for id, _ in self.children[:_NAMED])
            more = f" and {number(len(self.children) - _NAMED)} more" if len(self.children) > _NAMED else ""
            lines.append(f"  children  {shown}{more}")
        return lines

    def data(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "waits_for": [
                {
                    "what": one.what,
                    "since": iso(one.asked_at),
                    "until": iso(one.until),
                    "question": None if one.question is None else json.loads(one.question),
                    "answered": one.answered,
                }
                for one in self.waits
            ],
            "parent": self.parent,
            "children": [id for id, _ in self.children],
            "workflow": None if self.leader is None else self.leader[0],
            "node": None if self.leader is None else self.leader[1],
        }


def read_kin(reader: Reader, task: TaskView) -> Kin:
    """Look at what there is about the task."""
    waits = [] if task.status.final else reader.awaits(task.seq)
    seqs = {int(name) for kind, _, name in (one.what.partition(":") for one in waits) if kind == "task"}
    found = reader.tasks(TaskFilter(seqs=tuple(seqs)), limit=len(seqs), whole=False) if seqs else []
    member = reader.group_of(task.seq)
    leader = None
    if member is not None:
        leading = reader.tasks(TaskFilter(seqs=(member[0],)), limit=1, whole=False)
        leader = (leading[0].id, member[1]) if leading else None
    return Kin(
        task=task,
        waits=waits,
        awaited={one.seq: one for one in found},
        needs=_needs(reader, task),
        parent=reader.parent(task.seq),
        children=reader.children(task.seq, MOST),
        leader=leader,
        group=reader.group(task.seq if member is None else member[0]),
    )


def _needs(reader: Reader, task: TaskView) -> list[TaskView]:
    if task.status is not TaskStatus.BLOCKED or not task.after:
        return []
    before = reader.tasks(TaskFilter(ids=task.after), limit=len(task.after), newest=False, whole=False)
    return [one for one in before if one.status is not TaskStatus.COMPLETED]


def _named(task: TaskView) -> str:
    """Its id, with the name of its node."""
    node = task.metadata.get("node") if isinstance(task.metadata, dict) else None
    return f"{node} {task.id}" if isinstance(node, str) else task.id


def _word(text: str) -> str:
    """As one word of a command line."""
    return shlex.quote(text)
