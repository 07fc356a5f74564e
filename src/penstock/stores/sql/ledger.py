"""The ledger of calls: intents, and how they were settled.

Money of a task, of a quarter of an hour and of a flow moves in the transaction of its reservation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.stores.sql.session import WritingSession, as_list

SLICE_SECONDS = 900


class _Booking:
    """Sums of one batch, so that each counter is written once."""

    def __init__(self) -> None:
        self.tasks: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.spend: defaultdict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
        self.flows: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self.budgets: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])

    def flow(self, tenant: str, held: tuple[int, int], served: tuple[int, int]) -> None:
        """Both in (tokens, cost)."""
        flow = self.flows[tenant]
        for place, amount in enumerate((*held, *served)):
            flow[place] += amount

    def use(
        self, task: int | None, slice: tuple[int, str, str], amounts: Sequence[int], sure: bool, sign: int = 1
    ) -> None:
        """Book `amounts` (input tokens, output tokens, cost), or take them back with `sign` -1."""
        input_tokens, output_tokens, cost = (sign * amount for amount in amounts)
        spend = self.spend[slice]
        spend[0 if sure else 1] += cost
        spend[2] += sign
        spend[3] += input_tokens
        spend[4] += output_tokens
        if task is not None and sure:  # a task tells what its replies used, not what a cut call may have
            sums = self.tasks[task]
            sums[0] += input_tokens
            sums[1] += output_tokens
            sums[2] += cost

    def budget(self, program: str, cost: int, tokens: int, sure: bool) -> None:
        """Book on the budget of a program and of those around it."""
        sums = self.budgets[program]
        for place, amount in ((0, cost), (2, tokens)):
            sums[place + (not sure)] += amount

    def write(self, session: WritingSession) -> None:
        db = session.db
        db.many("book_task", [(*sums, task) for task, sums in self.tasks.items() if any(sums)])
        db.many("book_spend", [(*slice, *sums) for slice, sums in self.spend.items()])
        db.many("book_flow", [(tenant, *sums) for tenant, sums in self.flows.items()])
        if self.budgets:
            db.many("book_budget", [(program, *sums) for program, sums in self.budgets.items()])


class Ledger(WritingSession):
    """`reserve`, `settle`, `release_uncertain`, `shift_stamps`."""

    def reserve(self, intents: Sequence[Reservation]) -> list[int]:
        ids = self.take_numbers("reservation", len(intents))
        self.db.many(
            "reserve",
            [
                (
                    id, r.task, r.claim_no, r.step, r.type, r.model, r.endpoint, r.tenant, r.node, r.at,
                    r.input_held, r.output_held, r.cost_held,
                )
                for id, r in zip(ids, intents, strict=True)
            ],
        )  # fmt: skip
        if bound := [(r.program, r.tokens_most, id) for id, r in zip(ids, intents, strict=True) if r.program]:
            self.db.many("bind_reservation", bound)
        booking = _Booking()
        for r in intents:
            booking.flow(r.tenant, (r.input_held + r.output_held, r.cost_held), (0, 0))
        booking.write(self)
        return list(ids)

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        held = {row[0]: row for row in self.db.rows("held", (as_list(s.id for s in settlements),))}
        booking = _Booking()
        rows, outcomes = [], []
        for settlement in settlements:
            intent = held.pop(settlement.id, None)
            outcomes.append(intent is not None)
            if intent is None:
                continue
            _, task, tenant, model, program, tokens_most, *held_amounts = intent
            amounts = _amounts(settlement, held_amounts)
            slice = int(settlement.done_at // SLICE_SECONDS)
            rows.append(
                (
                    settlement.state.value,
                    settlement.sent_at,
                    settlement.done_at,
                    slice,
                    *amounts,
                    settlement.id,
                )
            )
            input_held, output_held, cost_held = held_amounts
            booking.flow(
                tenant, (-input_held - output_held, -cost_held), (amounts[0] + amounts[1], amounts[2])
            )
            if settlement.state is not ReservationState.RELEASED:
                sure = settlement.state is ReservationState.SETTLED
                booking.use(task, (slice, tenant, model), amounts, sure)
                if program is not None:
                    tokens = amounts[0] + amounts[1] if sure else tokens_most
                    booking.budget(program, amounts[2], tokens, sure)
                if not sure and task is not None:
                    self.event(task, settlement.done_at, "uncertain", f'{{"reservation":{settlement.id}}}')
        self.db.many("settle", rows)
        booking.write(self)
        return outcomes

    def make_uncertain(self, ids: Iterable[int], now: float) -> int:
        """Book held reservations in full, for nobody will settle them; how many there were."""
        lost = [Settlement(id, ReservationState.UNCERTAIN, None, now) for id in ids]
        return sum(self.settle(lost)) if lost else 0

    def release_uncertain(self, ids: Sequence[int]) -> list[bool]:
        found = {row[0]: row for row in self.db.rows("uncertain", (as_list(ids),))}
        booking = _Booking()
        released, outcomes = [], []
        for id in ids:
            row = found.pop(id, None)
            outcomes.append(row is not None)
            if row is None:
                continue
            _, task, tenant, model, slice, program, tokens_most, *amounts = row
            released.append(id)
            booking.use(task, (slice, tenant, model), amounts, sure=False, sign=-1)
            if program is not None:
                booking.budget(program, -amounts[2], -tokens_most, sure=False)
            booking.flow(tenant, (0, 0), (-amounts[0] - amounts[1], -amounts[2]))
        self.db.do("release", (as_list(released),))
        booking.write(self)
        return outcomes

    def shift_stamps(self, delta: float, since: float) -> None:
        self.db.do("shift_ended", (delta, since))
        self.db.do("shift_held", (delta, since))


def _amounts(settlement: Settlement, held: Sequence[int]) -> tuple[int, int, int]:
    """What is booked: input tokens, output tokens, cost."""
    if settlement.state is ReservationState.SETTLED:
        return settlement.input_tokens, settlement.output_tokens, settlement.cost
    if settlement.state is ReservationState.UNCERTAIN:
        input_held, output_held, cost_held = held
        return input_held, output_held, cost_held
    return 0, 0, 0
