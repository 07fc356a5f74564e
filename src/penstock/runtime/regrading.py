"""Ranks what waits of a program anew after its steps, in transactions that happen anyway."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from penstock.model.clock import Clock
from penstock.model.rank import Rank
from penstock.model.standing import Program
from penstock.runtime.ranking import Ranker
from penstock.stores.contract import Transaction

ROWS_A_SECOND = 2_000
MOST_AT_ONCE = 200
# A rank that moved by less than this part of itself is left as it is.
LITTLE = 0.01
# Between two looks at tasks that wait at the gate.
GATE_SECONDS = 0.1
_MOST_REMEMBERED = 20_000


@dataclass(slots=True)
class _Walk:
    """On its way through what waits of a program: `cursor` is the last task, `rank` that of the first."""

    cursor: int = 0
    rank: Rank | None = None


class Regrader:
    """Told on the loop's thread which programs were served; works on the thread of the store, behind the
    keeper in the same transaction. Costs at most `ROWS_A_SECOND` however many tasks a program has: what is
    left out comes with one of the next transactions.

    `regrade_open(programs)` ranks open tasks of these programs anew, on the loop's thread.
    """

    def __init__(self, ranker: Ranker, clock: Clock, regrade_open: Callable[[set[str]], None]) -> None:
        self._regrade_open = regrade_open
        self._ranker = ranker
        self._clock = clock
        self._news: deque[str] = deque()
        self._due: dict[str, _Walk] = {}
        self._last: OrderedDict[str, Rank] = OrderedDict()
        self._done: list[tuple[str, _Walk | None]] = []
        self._allowance = float(MOST_AT_ONCE)
        self._at = clock.monotonic()
        self._changed = False
        self._open: set[str] = set()

    def served(self, program: str) -> None:
        """The program attained something."""
        if not self._ranker.follows_programs:
            return
        self._news.append(program)
        if not self._open:
            asyncio.get_running_loop().call_later(GATE_SECONDS, self._look_at_open)
        self._open.add(program)

    def _look_at_open(self) -> None:
        programs, self._open = self._open, set()
        self._regrade_open(programs)

    def changed(self) -> bool:
        """Whether ranks in the store have changed since this was asked last."""
        changed, self._changed = self._changed, False
        return changed

    # The rider; on the thread of the store

    def write(self, store: Transaction) -> None:
        """Go on with the programs that are due."""
        self._done = []
        while self._news:
            self._due.setdefault(self._news.popleft(), _Walk())
        if not self._due:
            return
        now = self._clock.monotonic()
        self._allowance = min(MOST_AT_ONCE, self._allowance + (now - self._at) * ROWS_A_SECOND)
        self._at = now
        for program, walk in self._due.items():
            if self._allowance < 1:
                break
            self._allowance -= 1
            self._done.append((program, self._go_on(store, program, walk)))

    def kept(self) -> None:
        """What was done is durable."""
        for program, walk in self._done:
            if walk is None:
                del self._due[program]
            else:
                self._due[program] = walk
                if not walk.cursor and walk.rank is not None:
                    self._remember(program, walk.rank)
            self._changed = True
        self._done = []

    def _go_on(self, store: Transaction, program: str, walk: _Walk) -> _Walk | None:
        """A few tasks of a program; where to go on, `None` when nothing is left to do."""
        found = store.program(program)
        if found is None:
            return None
        one, now = Program(program, *found), self._clock.wall()
        rank = self._ranker.rank_of_program(one, now)
        if not walk.cursor and not _moved(self._last.get(program), rank):
            return None
        most = max(1, int(self._allowance))
        tasks = store.waiting_of_program(program, walk.cursor, most)
        store.rerank([self._ranker.again(task, now, one) for task in tasks])
        self._allowance -= len(tasks)
        first = rank if walk.rank is None or not walk.cursor else walk.rank
        return _Walk(tasks[-1].seq if len(tasks) == most else 0, first)

    def _remember(self, program: str, rank: Rank) -> None:
        self._last[program] = rank
        self._last.move_to_end(program)
        if len(self._last) > _MOST_REMEMBERED:
            self._last.popitem(last=False)


def _moved(before: Rank | None, now: Rank) -> bool:
    if before is None or before.band != now.band:
        return True
    return abs(now.key - before.key) > LITTLE * max(abs(now.key), abs(before.key))
