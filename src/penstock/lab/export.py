"""History of a real store as a trace: what would have happened under another policy or another limit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from penstock.errors import ConfigurationError
from penstock.lab.stretches import Stretch, Work, is_telling, plain_work, work_of
from penstock.lab.traces import Request, Trace, trace_of
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.stores.contract import Reader, Store, TaskFilter

_PAGE = 1000
_LEADER = "workflow"


def history(store: Store, name: str = "history", type: str | None = None, tenant: str | None = None) -> Trace:
    """The completed tasks of a store (of one type or tenant) as a trace; an error when there are none.

    A task arrives when it was created (or due, if it was made to wait) and its service is the time from its
    first start to its end, so retries and waits at the gate count as service. Durable waits (sleeps, events,
    children, the nodes of a workflow) do not: a task that waited is a call for each stretch of its work. What
    belongs together is a program, whose calls depend on each other as the tasks did.
    """
    where = TaskFilter(statuses=(TaskStatus.COMPLETED,), types=() if type is None else (type,), tenant=tenant)
    tasks = store.read(lambda reader: _Tasks(reader, where))
    if not tasks.views:
        raise ConfigurationError("the store holds no completed task to make a trace of")
    return trace_of(name, tasks.requests())


class _Tasks:
    """The tasks of a trace, by number, and how they hang together."""

    def __init__(self, reader: Reader, where: TaskFilter) -> None:
        self.views = {view.seq: view for view in _all_views(reader, where)}
        self._seqs = {view.id: view.seq for view in self.views.values()}
        self._ends = {view.id: view.finished_at or 0.0 for view in self.views.values()}
        self._leads = {
            view.seq: [one.seq for one in reader.members(view.seq) if one.seq in self.views]
            for view in self.views.values()
            if view.type == _LEADER
        }
        telling = self._telling(reader)
        self._work = {
            view.seq: self._work_of(reader, view) if view.seq in telling else plain_work(view, _arrival(view))
            for view in self.views.values()
        }
        self._makers = self._found_makers()
        self._needs = {seq: self._needs_of(seq) for seq in self.views}
        self._programs = self._grouped()

    def _telling(self, reader: Reader) -> set[int]:
        """The tasks whose journals have to be read."""
        found = {view.seq for view in self.views.values() if view.claim_no > 1 or view.type == _LEADER}
        after = 0
        while page := reader.events(after, _PAGE, kinds=("step",)):
            found.update(event.task for event in page if is_telling(str(event.data.get("name", ""))))
            after = page[-1].no
        return found

    def _work_of(self, reader: Reader, view: TaskView) -> Work:
        led = [self.views[seq].id for seq in self._leads.get(view.seq, ())]
        return work_of(reader, view, _arrival(view), self._ends, led)

    def _found_makers(self) -> dict[int, tuple[int, int]]:
        """Of every task that another one made: its number, and in which of its stretches."""
        makers: dict[int, tuple[int, int]] = {}
        for seq, members in self._leads.items():
            makers.update((member, (seq, 0)) for member in members)
        for seq, work in self._work.items():
            for child, number in work.started.items():
                if child in self.views and child not in makers and self._made(seq, number, child):
                    makers[child] = seq, number
        return makers

    def _made(self, seq: int, number: int, child: int) -> bool:
        """Whether a task was made there; one that was wanted again was there already."""
        return child > seq and self.views[child].created_at >= self._work[seq].stretches[number].released

    def _needs_of(self, seq: int) -> list[tuple[int, int]]:
        """The stretches of others that had to end before a task could begin."""
        needs = [self._last(self._seqs[id]) for id in self.views[seq].after if id in self._seqs]
        maker = self._makers.get(seq)
        return needs if maker is None else [maker, *needs]

    def _last(self, seq: int) -> tuple[int, int]:
        return seq, len(self._work[seq].stretches) - 1

    def _grouped(self) -> dict[int, str]:
        """The program of every task that has one: those that depend on each other have the same."""
        roots: dict[int | str, int | str] = {}

        def root(one: int | str) -> int | str:
            while (up := roots.setdefault(one, one)) != one:
                roots[one] = roots[up]
                one = roots[one]
            return one

        for seq, view in self.views.items():
            others: list[int | str] = [other for other, _ in self._needs[seq]]
            others += [self._seqs[id] for one in self._work[seq].stretches for id in one.needs]
            if view.program is not None:
                others.append(self._seqs.get(view.program, view.program))
            for other in others:
                roots[root(other)] = root(seq)
        names: dict[int | str, str] = {}
        for seq, view in self.views.items():
            names.setdefault(root(seq), view.program or view.id)
        sizes = Counter(root(seq) for seq in self.views)
        return {
            seq: names[root(seq)]
            for seq, view in self.views.items()
            if view.program is not None or sizes[root(seq)] > 1 or len(self._work[seq].stretches) > 1
        }

    def requests(self) -> list[Request]:
        """One for each stretch of each task."""
        first = min(_arrival(view) for view in self.views.values())
        entered: dict[str, float] = {}
        for seq, program in self._programs.items():
            at = _arrival(self.views[seq])
            entered[program] = min(at, entered.get(program, at))
        made: list[Request] = []
        for seq, view in self.views.items():
            for number, stretch in enumerate(self._work[seq].stretches):
                needs = self._needs_at(seq, number, stretch)
                freed = max((self._end(*need) for need in needs), default=stretch.released)
                one = _request(len(made), view, stretch, max(freed, stretch.released))
                program = self._programs.get(seq, "")
                place = self._place(seq, number)
                apart = not needs or place == "arrived"
                at = (stretch.released if apart else entered[program]) - first
                made.append(
                    replace(
                        one,
                        arrival=at,
                        program=program,
                        call=self._call(seq, number) if program else "",
                        depends_on=tuple(dict.fromkeys(self._call(*need) for need in needs)),
                        think=max(0.0, stretch.released - freed),
                        place=place,
                    )
                )
        return made

    def _needs_at(self, seq: int, number: int, stretch: Stretch) -> list[tuple[int, int]]:
        """What has to end before a stretch can begin."""
        if not number:
            return self._needs[seq]
        return [(seq, number - 1), *(self._last(self._seqs[id]) for id in sorted(stretch.needs))]

    def _place(self, seq: int, number: int) -> str:
        """A task keeps its place when it goes on; it has it from when it was made."""
        if number:
            return "kept"
        return "made" if seq in self._makers else "arrived" if self._needs[seq] else ""

    def _end(self, seq: int, number: int) -> float:
        return self._work[seq].stretches[number].end

    def _call(self, seq: int, number: int) -> str:
        """A task's id, with the number of the stretch behind the first."""
        id = self.views[seq].id
        return f"{id}.{number + 1}" if number else id


def _all_views(reader: Reader, where: TaskFilter) -> list[TaskView]:
    found: list[TaskView] = []
    after = 0
    while page := reader.tasks(where, after=after, limit=_PAGE, newest=False, whole=False):
        after = page[-1].seq
        found += [view for view in page if view.started_at is not None and view.finished_at is not None]
    return found


def _arrival(view: TaskView) -> float:
    # Behind the first claim `due_at` is that of a retry or a sleep; before, a delay the user asked for.
    delayed = view.due_at is not None and view.claim_no <= 1
    return max(view.created_at, view.due_at or 0.0) if delayed else view.created_at


def _request(row: int, view: TaskView, stretch: Stretch, freed: float) -> Request:
    deadline = None if view.deadline is None else view.deadline - freed
    return Request(
        row,
        0.0,
        stretch.input_tokens,
        stretch.output_tokens,
        view.tenant,
        view.priority,
        deadline if deadline is None or deadline > 0 else 1e-6,
        stretch.seconds,
    )
