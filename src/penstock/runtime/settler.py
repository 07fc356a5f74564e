"""What a reply comes to: its usage is settled, and limits and sizes are learned from it."""

from __future__ import annotations

import asyncio

from penstock.admission import Observed
from penstock.llm.ratelimit_headers import read_limits
from penstock.llm.usage_reading import ReplyFacts
from penstock.model.usage import Usage
from penstock.pricing import cost_pico
from penstock.runtime.admitter import Admitter
from penstock.runtime.calls import Call
from penstock.runtime.permit import Permit
from penstock.runtime.replies import WireReply, encode_reply
from penstock.runtime.services import Services
from penstock.runtime.weigher import Weighed, Weigher


class Settler:
    """Settles the calls of this node by their replies."""

    def __init__(self, services: Services, admitter: Admitter, weigher: Weigher) -> None:
        self._services = services
        self._gate = admitter.gate
        self._weigher = weigher

    def observe(self, permit: Permit, weighed: Weighed, reply: WireReply) -> None:
        """Take on what the reply's headers say of limits and of what remains of them."""
        now = self._services.clock.wall()
        report = read_limits(dict(reply.headers), now, weighed.profile.requests_header_seconds)
        if not report:
            return
        observed = [
            Observed(
                one.dimension,
                one.limit,
                one.remaining,
                None if one.reset_at is None else max(0.0, one.reset_at - now),
            )
            for one in report.limits
            if one.window_seconds == 60.0
        ]
        self._gate.observe(permit.grant, observed, self._services.clock.monotonic())

    async def settle_and_record(
        self,
        call: Call,
        weighed: Weighed,
        permit: Permit,
        facts: ReplyFacts,
        reply: WireReply,
        started: float,
    ) -> None:
        """Book the usage and journal the reply in one transaction, and return when that is durable."""
        settled, usage, cost = self.settle(call, weighed, permit, facts, started)
        if call.context is None:
            # A visitor's reply is not journaled and need not wait: until this is durable its hold counts.
            if call.visitor is None or call.shape.stream:
                await settled
            return
        await call.context.recorder.record(call.key, "http", encode_reply(reply), usage, cost)

    def settle(
        self, call: Call, weighed: Weighed, permit: Permit, facts: ReplyFacts, started: float
    ) -> tuple[asyncio.Future[object], Usage, int]:
        """Settle to what the reply says, or to the estimate where it says nothing."""
        usage = facts.usage
        if usage is None:
            usage = Usage(weighed.ask.input_tokens, round(weighed.ask.output_mean))
        else:
            self._weigher.learn(weighed, usage)
        cost = 0 if weighed.price is None else cost_pico(weighed.price, usage)
        now = self._services.clock.monotonic()
        future = permit.settle(usage, cost)
        self._gate.succeeded(permit.ask, now - started, usage.output_tokens, now)
        if call.context is not None:
            call.context.holding.under_way.counted(call.key.scope)
            call.context.footing.stepped(usage.total, now - started)
        elif call.visitor is not None:
            call.visitor.settled(weighed, usage, cost)
            kind = (call.type, weighed.ask.model, call.tenant)
            self._services.ranker.sizes.learn(kind, usage.total, now - started)
        return future, usage, cost
