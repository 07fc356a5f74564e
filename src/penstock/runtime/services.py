"""What every running task shares on its node."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.model.clock import Clock
from penstock.runtime.committer import Committer
from penstock.runtime.ranking import Ranker
from penstock.runtime.shares import Shares
from penstock.runtime.slots import Slots

if TYPE_CHECKING:
    from penstock.runtime.exchange import Exchange

T = TypeVar("T")


@dataclass(slots=True)
class Services:
    """Collaborators of handlers and steps; wired by the manager."""

    clock: Clock
    slots: Slots
    committer: Committer
    random: random.Random
    threads: ThreadPoolExecutor
    loop: asyncio.AbstractEventLoop
    ranker: Ranker
    shares: Shares
    stopping: bool = False
    exchange: Exchange = field(init=False)

    async def in_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a synchronous function in our own pool, with the context variables of the caller."""
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await self.loop.run_in_executor(self.threads, call)
