"""What a test wants open while it runs, on the loop it runs on.

A fixture cannot know that loop: it may be that of any async plugin, or one in virtual time. So fixtures only
say what is to be opened; whoever runs the test opens it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

to_open: ContextVar[Sequence[AbstractAsyncContextManager[Any]]] = ContextVar("penstock_to_open", default=())


@asynccontextmanager
async def everything_open() -> AsyncIterator[None]:
    """Open it in order, close it in reverse; what runs inside opens nothing again."""
    wanted = to_open.get()
    token = to_open.set(())
    try:
        async with AsyncExitStack() as stack:
            for one in wanted:
                await stack.enter_async_context(one)
            yield
    finally:
        to_open.reset(token)
