"""What every running task shares on its node."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.admission import ProgramBudgets
from penstock.model.clock import Clock
from penstock.runtime.committer import Committer
from penstock.runtime.position import current_position, handed_over
from penstock.runtime.processes import Processes
from penstock.runtime.ranking import Ranker
from penstock.runtime.shares import Shares
from penstock.runtime.slots import Slots
from penstock.runtime.task_pools import TaskPools

if TYPE_CHECKING:
    from penstock.runtime.child_tasks import Nursery
    from penstock.runtime.exchange import Exchange
    from penstock.runtime.progress import OnProgress
    from penstock.runtime.wakes import Wakes

T = TypeVar("T")

MEMORY_POOL = "memory_mb"


@dataclass(slots=True)
class Services:
    """Collaborators of handlers and steps; wired by the node, on the loop's thread."""

    clock: Clock
    slots: Slots
    committer: Committer
    random: random.Random
    threads: ThreadPoolExecutor
    processes: Processes
    loop: asyncio.AbstractEventLoop
    ranker: Ranker
    shares: Shares
    pools: TaskPools
    budgets: ProgramBudgets
    on_progress: OnProgress
    stopping: bool = False
    loop_thread: int = field(default_factory=threading.get_ident)
    exchange: Exchange = field(init=False)
    wakes: Wakes = field(init=False)
    nursery: Nursery = field(init=False)

    async def in_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a synchronous function in our own pool, with the context variables of the caller."""
        call = functools.partial(contextvars.copy_context().run, handed_over(function), *args, **kwargs)
        return await self.loop.run_in_executor(self.threads, call)

    async def in_process(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function that computes in a process of its own; it must be importable, and arguments and
        result plain data. While all processes are busy, a task waits without its slot.

        When the caller is cancelled or runs into its timeout the process is killed. The memory it used counts
        as used of the pool `memory_mb`. Raises `WorkerLost` when the process died.
        """
        position = current_position()
        context = None if position is None else position.context
        off_slot = contextlib.nullcontext if context is None else context.off_slot
        result, peak = await self.processes.call(function, args, kwargs, off_slot)
        if context is not None and peak:
            context.report_use(MEMORY_POOL, peak / 1_000_000)
        return result  # type: ignore[no-any-return]
