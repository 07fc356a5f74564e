"""When a failed attempt is tried again: exponential backoff with full jitter, as a pure function.

Source of full jitter: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon. `max_retries` counts failures after the first attempt; delays are seconds."""

    max_retries: int = 5
    first_delay: float = 1.0
    factor: float = 2.0
    longest_delay: float = 120.0

    def delay(self, attempt: int, chance: float, retry_after: float | None = None) -> float:
        """Seconds until the next attempt after failed attempt number `attempt` (from 1).

        `chance` is a random number in [0, 1). A provider's `retry_after` is a floor, never shortened by
        jitter.
        """
        ceiling = min(self.longest_delay, self.first_delay * self.factor ** min(attempt - 1, 60))
        jittered = ceiling * chance
        if retry_after is None:
            return jittered
        return max(0.0, retry_after) + min(jittered, 0.1 * max(1.0, retry_after))

    def exhausted(self, attempt: int) -> bool:
        """Whether failed attempt number `attempt` was the last."""
        return attempt > self.max_retries
