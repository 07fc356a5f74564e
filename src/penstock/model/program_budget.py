"""What the tasks of one program may use in all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProgramBudget:
    """A program's budget and cap of tokens, and what was booked on them. Money is pico-dollars; a `limit` or
    `max_tokens` of `None` limits nothing.

    Whatever is booked on it is booked on `within` too: the program around this one, that has a budget.
    """

    program: str
    name: str = ""
    limit: int | None = None
    max_tokens: int | None = None
    within: str | None = None
    spent: int = 0
    uncertain: int = 0
    tokens: int = 0
    uncertain_tokens: int = 0
