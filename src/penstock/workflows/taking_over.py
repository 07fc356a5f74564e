"""What a workflow that is tried again, or forked, takes over of the run before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.model.group import MemberView
from penstock.model.options import read_options
from penstock.model.states import TaskStatus
from penstock.model.task import NewTask, TaskView
from penstock.stores.asks import TaskFilter
from penstock.stores.contract import Reader
from penstock.workflows.compiling import needs
from penstock.workflows.cycles import in_order
from penstock.workflows.definition import WorkflowDefinition

WORKFLOW = "workflow"

EVERYTHING = "*"
"""The value of the option `redo` that takes over nothing. A node's id: it and all that needs it run anew."""

GROW = "grow"
"""The name of the step by which a node adds nodes."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run before, its nodes by name: those `done` are taken over with their `results` (JSON texts), those
    `begun` run again with what they had recorded. Of a fork nothing is undone, for it was not this run that
    did it."""

    done: dict[str, MemberView] = field(default_factory=dict)
    results: dict[str, str | None] = field(default_factory=dict)
    begun: dict[str, MemberView] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    forked: bool = False

    def apply(self, node: str, task: NewTask) -> None:
        """Let the task of a new node begin where the one before it was."""
        if (old := self.done.get(node)) is not None:
            task.retry_of, task.result, task.ended_no = old.id, self.results[old.id], old.ended_no
        elif (old := self.begun.get(node)) is not None and old.type == task.type:
            task.retry_of = old.id
            # Steps of other code would not fit; a workflow takes over what its nodes have done.
            same = self.versions.get(old.id, "") == read_options(task.options).version
            task.inherit_journal = same and old.type != WORKFLOW

    def undoes(self, node: str) -> bool:
        """Whether it is for this run to undo what the node did: not what another run did that it, or one it
        tries again, is a fork of."""
        old = self.done.get(node)
        return old is None or not (self.forked or old.undo is None)


NOTHING = Earlier()


def run_before(reader: Reader, leader: TaskView) -> tuple[TaskView, Collection[str]] | None:
    """The run that this one tries again or is a fork of, the last one that began; and the nodes from which on
    it is to run anew: those of forks of forks that never began too."""
    redo, id = _redo(leader), leader.retry_of
    while id is not None:
        found = reader.tasks(TaskFilter(ids=(id,)), whole=False)
        if not found or found[0].type != WORKFLOW:
            return None
        [old] = found
        if reader.group(old.seq) is not None:
            return old, redo
        redo, id = redo | _redo(old), old.retry_of
    return None


def _redo(leader: TaskView) -> set[str]:
    return {str(redo)} if (redo := (leader.options or {}).get("redo")) else set()


def earlier_run(reader: Reader, leader: TaskView, definition: WorkflowDefinition) -> Earlier:
    """What is taken over: results of nodes that completed, as long as all that they needed is taken over too;
    and, tried again, the journals of the others. Nodes that were undone, and those that made the workflow
    grow, run anew."""
    before = run_before(reader, leader)
    if before is None or EVERYTHING in before[1]:
        return NOTHING
    old, redo = before
    members = {view.node: view for view in reader.members(old.seq)}
    wanted = {node.id: needs(node) for node in definition.nodes}
    undone = _undone(reader, old.seq) | _undone_since(reader, old.seq, members)
    anew = {*redo, *undone, *_growers(reader, members, wanted)}
    done: dict[str, MemberView] = {}
    begun: dict[str, MemberView] = {}
    for node in in_order(wanted):
        view = members.get(node)
        if view is None or node in anew or any(one not in done for one in wanted[node]):
            continue
        if view.status is TaskStatus.COMPLETED:
            done[node] = view
        elif not redo and view.status.final:
            begun[node] = view
    results = {id: text for id, (_, text, _) in reader.results_of([one.id for one in done.values()]).items()}
    return Earlier(done, results, begun, _versions(reader, begun.values()), bool(redo))


def _undone_since(reader: Reader, old: int, members: Mapping[str, MemberView]) -> set[str]:
    """The nodes that later runs took over of this one, or of each other, and began to undo."""
    taken = {view.id for view in members.values() if view.undo and view.status is TaskStatus.COMPLETED}
    nodes: defaultdict[int, set[str]] = defaultdict(set)
    for run, node, id, retry_of in reader.repeated_members(old) if taken else ():
        if retry_of in taken:
            taken.add(id)
            nodes[run].add(node)
    return {node for run, among in nodes.items() for node in among & _undone(reader, run)}


def _undone(reader: Reader, run: int) -> set[str]:
    """The nodes of which this run began to undo what they did."""
    return {
        str(view.metadata["undoes"])
        for view in children_of(reader, run)
        if isinstance(view.metadata, dict) and "undoes" in view.metadata
    }


def children_of(reader: Reader, run: int) -> list[TaskView]:
    """The tasks that the leader of a run started: those that undo nodes."""
    return _views(reader, [id for id, _ in reader.children(run, -1)])


def _growers(reader: Reader, members: dict[str, MemberView], wanted: Collection[str]) -> set[str]:
    """The nodes that added others, which no definition knows."""
    if members.keys() <= set(wanted):
        return set()
    return {
        node
        for node, view in members.items()
        if node in wanted and any(one.key.name == GROW for one in reader.journal(view.seq))
    }


def _versions(reader: Reader, members: Collection[MemberView]) -> dict[str, str]:
    """Which handlers made the steps of these nodes, by task id."""
    return {
        view.id: str((view.options or {}).get("version", ""))
        for view in _views(reader, [one.id for one in members])
    }


def _views(reader: Reader, ids: Sequence[str]) -> list[TaskView]:
    found: list[TaskView] = []
    for place in range(0, len(ids), _AT_ONCE):
        some = TaskFilter(ids=tuple(ids[place : place + _AT_ONCE]))
        found += reader.tasks(some, limit=_AT_ONCE, whole=False)
    return found
