"""Ctrl-C, SIGTERM and a closed terminal: the first asks to stop, the second to leave at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

ALWAYS = (signal.SIGINT, signal.SIGTERM)
NAMES = (*ALWAYS, signal.SIGHUP) if hasattr(signal, "SIGHUP") else ALWAYS


@contextlib.contextmanager
def interruptible(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    """Inside, signals call `first`, then `second`, in the running loop."""
    loop = asyncio.get_running_loop()
    seen = 0

    def arrived() -> None:
        nonlocal seen
        seen += 1
        (first if seen == 1 else second)()

    def from_system(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(arrived)

    before = {name: signal.getsignal(name) for name in NAMES}
    try:
        for name in NAMES:
            if name not in ALWAYS and before[name] is signal.SIG_IGN:  # nohup
                continue
            try:
                loop.add_signal_handler(name, arrived)
            except NotImplementedError:  # Windows
                signal.signal(name, from_system)
            except (ValueError, RuntimeError):  # not the main thread: whoever owns it stops us
                break
        yield
    finally:
        for name in NAMES:
            if name not in ALWAYS and before[name] is signal.SIG_IGN:
                continue
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.remove_signal_handler(name)
            with contextlib.suppress(ValueError, TypeError):
                signal.signal(name, before[name])
