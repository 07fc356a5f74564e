"""What a task is expected to use, before anything is known of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected use of a whole task: tokens over all its model calls, and seconds of its own work.

    The door prices the tokens at the price of `model` and refuses a task that is over the remaining budget.
    """

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


NOTHING = Estimate()
