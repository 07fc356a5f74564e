"""Reservations: the intent that is durable before a call leaves, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReservationState(StrEnum):
    """`HELD` until the call ends; `UNCERTAIN` when nobody knows what the provider billed: booked in full."""

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    UNCERTAIN = "uncertain"


@dataclass(slots=True)
class Reservation:
    """What a call is expected to use. Tokens are counts, `cost_held` is pico-dollars, `at` seconds since the
    epoch.

    `task` is the store's number of the task or `None` for a call outside any task. `program` has a budget on
    which it is booked, with `tokens_most` when nobody knows what it used.
    """

    task: int | None
    claim_no: int
    step: str
    type: str
    model: str
    endpoint: str
    tenant: str
    node: int
    at: float
    input_held: int
    output_held: int
    cost_held: int
    program: str | None = None
    tokens_most: int = 0


@dataclass(slots=True)
class Settlement:
    """The end of a reservation, by its id, booked whoever lost its lease meanwhile.

    For `UNCERTAIN` the held amounts are booked; tokens and cost given here are used for `SETTLED` only.
    """

    id: int
    state: ReservationState
    sent_at: float | None
    done_at: float
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0


@dataclass(slots=True)
class ReservationView:
    """A reservation as the store has it."""

    id: int
    task: int | None
    task_id: str | None
    claim_no: int
    step: str
    type: str
    model: str
    endpoint: str
    tenant: str
    node: int
    state: ReservationState
    at: float
    sent_at: float | None
    done_at: float | None
    input_held: int
    output_held: int
    cost_held: int
    input_tokens: int
    output_tokens: int
    cost: int
