"""Subgraphs that keep no checkpoints, inside graphs that save each before the next step.

LangGraph (1.2) hands the durability down to them and waits there for a save that never was. Until it stops
doing so, such a loop finds one that is over.
"""

from __future__ import annotations

from collections.abc import Iterator

try:
    from langgraph.pregel._loop import PregelLoop
except ImportError:  # its own room, and not promised to stay
    PregelLoop = None  # type: ignore[assignment,misc]

_NAME = "_put_checkpoint_fut"


class _Over:
    """A save that is over."""

    def result(self, timeout: float | None = None) -> None:
        return None

    def __await__(self) -> Iterator[None]:
        return iter(())


def mend() -> None:
    """Done once; loops that do save put their own in its place."""
    if PregelLoop is not None and not hasattr(PregelLoop, _NAME):
        setattr(PregelLoop, _NAME, _Over())
