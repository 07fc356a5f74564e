"""Whether model calls of the running code are captured, whoever's client makes them."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

Ready = Callable[[], Awaitable[None]]
"""What a call waits for, on the manager's loop, before it comes to the gate."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Calls are captured, each once it is `ready`."""

    ready: Ready | None = None


_capture: ContextVar[Capture | None] = ContextVar("penstock_capture", default=None)


def current_capture() -> Capture | None:
    """How calls of the running code are captured; `None` where they are not."""
    return _capture.get()


@contextlib.contextmanager
def capture_as(capture: Capture | None) -> Iterator[None]:
    """Calls made inside are captured so; with `None` they pass untouched, as those have to that come from the
    gate itself."""
    token = _capture.set(capture)
    try:
        yield
    finally:
        _capture.reset(token)
