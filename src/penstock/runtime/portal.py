"""The one way from worker threads to the manager's loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from penstock.errors import BlockingCall, PenstockError

T = TypeVar("T")

_HERE = str(Path(__file__).parent)


def wait_for(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, run on the loop from another thread; refused on the loop's own.

    Context variables of the calling thread, and with them the task and its scope, hold for `work` too.
    """
    if on_loop(loop):
        work.close()
        raise BlockingCall(
            f"a synchronous call blocks the event loop at {_user_line()}; use the SDK's async client "
            "(or await the step), or make the handler a plain function, which runs in a thread"
        )
    try:
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    except concurrent.futures.CancelledError:
        raise PenstockError("the call was cancelled because the manager stopped") from None


def on_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the loop's own thread, with the loop running."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _user_line() -> str:
    """The innermost line outside this package and the SDKs."""
    for frame in reversed(traceback.extract_stack()):
        if "site-packages" not in frame.filename and not frame.filename.startswith(_HERE):
            return f"{frame.filename}:{frame.lineno}"
    return "an unknown line"
