"""Steering: what may be done to tasks that are in, and to a manager that runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.manager.retrying import again
from penstock.manager.waiting import Waiters
from penstock.model.clock import Clock
from penstock.model.states import TaskStatus
from penstock.runtime.ranking import Ranker
from penstock.runtime.recovery import forget_spending
from penstock.runtime.settings import Settings
from penstock.stores.contract import AddOutcome, Retention, TaskFilter

if TYPE_CHECKING:
    from penstock.runtime.node import Node


class Steering:
    """How a manager is told to stop, go on, or go another way."""

    settings: Settings
    clock: Clock
    ranker: Ranker
    waiters: Waiters

    if TYPE_CHECKING:
        _node: Node | None

        @property
        def node(self) -> Node: ...
        def _accepted(self, outcomes: Sequence[AddOutcome]) -> list[str]: ...

    async def cancel(self, *ids: str) -> dict[str, bool]:
        """Cancel tasks: those that wait at once, those that run at their next wait. False: too late or
        unknown."""
        return await self.cancel_where(TaskFilter(ids=ids))

    async def cancel_where(self, where: TaskFilter) -> dict[str, bool]:
        """Cancel every task that matches."""

        def work(store: Any) -> tuple[dict[str, bool], list[int]]:
            answers: dict[str, bool] = store.cancel(where, self.clock.wall())
            views = [store.task(id) for id, taken in answers.items() if taken]
            return answers, [view.seq for view in views if view and view.status is TaskStatus.RUNNING]

        answers, running = await self.node.committer.run(work)
        for seq in running:
            self.node.cancel_running(seq)
        self.waiters.look_soon()
        return answers

    async def pause(self, where: TaskFilter | None = None) -> int:
        """Start none of the tasks that match, or (without a filter) nothing at all; how many wait paused."""
        now = self.clock.wall()
        if where is not None:
            return await self.node.committer.run(lambda store: store.pause(where, now))
        await self.set_pause("all", True)
        return 0

    async def resume(self, where: TaskFilter | None = None) -> int:
        """Undo `pause`."""
        now = self.clock.wall()
        if where is None:
            await self.set_pause("all", False)
            return 0
        count = await self.node.committer.run(lambda store: store.resume(where, now))
        self.node.timer.expect(now)  # the timer forgot those that are delayed while they were paused
        self.node.dispatcher.notice_all()
        return count

    async def set_pause(self, scope: str, paused: bool) -> None:
        """Start no more tasks of a scope (`all`, `type:NAME` or `tenant:NAME`), or start them again."""

        def work(store: Any) -> list[str]:
            store.set_pause(scope, paused)
            return list(store.pauses())

        self.node.apply_pauses(await self.node.committer.run(work))
        if not paused:
            self.node.dispatcher.notice_all()  # lanes in which only a paused tenant waited looked empty

    async def retry(self, id: str, fresh: bool = False) -> str:
        """Try a failed or cancelled task again, as a new task that has its journal (not with `fresh`); its
        id."""

        def work(store: Any) -> list[AddOutcome]:
            task = again(store.task(id), id, self.clock.wall(), fresh)
            self.ranker.enter(task, 0.0, 0.0, self.clock.wall())
            return list(store.add([task]))

        return self._accepted(await self.node.committer.run(work))[0]

    async def switch_strategy(self, name: str, **settings: Any) -> int:
        """Use another strategy from now on; how many waiting tasks were ranked anew for it. Dispatch goes on
        meanwhile. Raises `ConfigurationError` for a strategy or a setting that there is not."""
        return await self.node.switcher.switch(name, settings)

    def adjust(self, settings: Settings) -> None:
        """Take on other limits, budgets, slots and capacity at once; nothing restarts."""
        if self._node is not None:
            self._node.adjust(settings)
        self.settings = settings

    def reset_total_cost(self) -> None:
        """Count the total spending from now on."""
        self.node.gate.ledger.reset_total()
        self.node.in_background(self.node.committer.run(forget_spending))

    async def clean_up(self, older_than: float) -> int:
        """Remove tasks that ended more than `older_than` seconds ago, in chunks between other commits; how
        many."""
        now = self.clock.wall()
        rule = Retention(finished_before=now - older_than)
        removed = 0
        while True:
            pruned = await self.node.committer.run(lambda store: store.prune(rule, now))
            removed += pruned.tasks
            if not pruned.more:
                return removed
