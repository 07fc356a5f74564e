"""A clock that stands still until a test moves it."""

from __future__ import annotations


class VirtualClock:
    """Implements `penstock.model.clock.Clock`; `wall` in seconds since the epoch, all else in seconds."""

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._wall = float(wall)
        self._monotonic = float(monotonic)

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks; `ValueError` for less than nothing."""
        if seconds < 0:
            raise ValueError(
                f"time does not go back by {-seconds} seconds; use jump_wall() for the wall clock"
            )
        self._wall += seconds
        self._monotonic += seconds

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back when negative, while no time passes."""
        self._wall += seconds
