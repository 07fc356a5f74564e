"""One call through journal and gate: answered from the journal, or admitted, sent, settled and recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from penstock.admission import Ask
from penstock.admission.ask import RefusalKind
from penstock.errors import PenstockError, ReplyRejected
from penstock.llm.refusals import Refusal, RefusalReport, read_refusal
from penstock.llm.reply_shape import is_answer
from penstock.llm.request_body import ask_for_usage, request_hash
from penstock.llm.usage_reading import read_reply
from penstock.llm.wire import CallShape, Family, read_call, read_object
from penstock.model.json_text import json_text
from penstock.model.rank import Rank
from penstock.model.step import StepKey
from penstock.model.usage import Usage
from penstock.runtime.admitter import Admitter
from penstock.runtime.calls import MOST_REFUSALS, OF_THE_ROUTE, WAITED_OUT, Call
from penstock.runtime.context import current_validator
from penstock.runtime.flights import Flights
from penstock.runtime.lines import Afresh
from penstock.runtime.permit import Caller, Permit
from penstock.runtime.position import current_position
from penstock.runtime.recorder import accept
from penstock.runtime.replies import Route, WireReply, WireRequest, decode_reply, encode_reply
from penstock.runtime.services import Services
from penstock.runtime.settler import Settler
from penstock.runtime.streaming import relay
from penstock.runtime.visitor import Visit, Visitor
from penstock.runtime.weigher import Weighed, Weigher

log = logging.getLogger("penstock.calls")


class Exchange:
    """Makes every model call of this node."""

    def __init__(self, services: Services, admitter: Admitter, weigher: Weigher, flights: Flights) -> None:
        self.services = services
        self.admitter = admitter
        self.weigher = weigher
        self.flights = flights
        self.settler = Settler(services, admitter, weigher)
        self.calls = 0
        self.refused = 0
        self.replayed = 0
        self._warned: set[str] = set()

    async def call(self, request: WireRequest, routes: Sequence[Route]) -> WireReply:
        """The reply to `request` by one of `routes`.

        Raises what the HTTP library raises, `Refused` for what the gate can never admit, and `ReplyRejected`
        when a validator is set and the reply does not pass.
        """
        shape = read_call(request.method, request.path, request.body)
        position = current_position()
        context = position.context if position is not None else None
        scope = position.scope if position is not None else ""
        digest = request_hash(request.method, request.path, request.body)[:32]
        call = Call(request, shape, routes, context, StepKey(scope, f"{request.method} {shape.path}", digest))
        self._warn_once(call)
        if context is None:
            return await self._admit_and_send(call)
        known = await context.recorder.find_call(call.key)
        if known is not None:
            self.replayed += 1
            return decode_reply(known)
        options = context.options
        shared = (options.merge or options.cache_ttl is not None) and not shape.stream
        if not shared or shape.family is Family.UNKNOWN:
            return await self._admit_and_send(call)
        reply = await self.flights.share(
            call.tenant, digest, options, lambda: self._admit_and_send(call), context.off_slot
        )
        if reply.replayed:
            if not _acceptable(reply):
                return await self._admit_and_send(call)  # good enough for others, not for this caller
            await context.recorder.record(call.key, "http", encode_reply(reply))
        return reply

    async def visit(
        self, request: WireRequest, shape: CallShape, routes: Sequence[Route], visitor: Visitor
    ) -> WireReply:
        """The reply to a call from outside any task: in line with all others, limited and booked, but not
        journaled. Raises as `call` does, and `Parked` when the node stops."""
        key = StepKey("", f"{request.method} {shape.path}", "")
        return await self._admit_and_send(Call(request, shape, routes, None, key, visitor=visitor))

    # One call, as often as it takes to get past the limits of the provider

    async def _admit_and_send(self, call: Call) -> WireReply:
        refusals = 0
        while True:
            if call.context is not None:
                call.context.check_parked()
            weighed = [self._weigh(call, route) for route in call.routes]
            permit = await self._admitted(call, weighed)
            chosen = next(place for place, one in enumerate(weighed) if one.ask is permit.ask)
            route, others = call.routes[chosen], [*call.routes[:chosen], *call.routes[chosen + 1 :]]
            try:
                outcome = await self._send(call, route, weighed[chosen], permit)
            except route.unsent as error:
                if not others:
                    raise
                reason = type(error).__name__
                log.info("%s cannot be reached (%s); the call goes elsewhere", route.endpoint, reason)
                call.routes = others
                continue
            if isinstance(outcome, WireReply):
                if outcome.status >= 500 and others and call.visitor is not None:
                    log.info(
                        "%s failed with status %d; the call goes elsewhere", route.endpoint, outcome.status
                    )
                    call.routes = others
                    continue
                return outcome
            reply, report = outcome
            self.refused += 1
            reason = report.code or report.kind
            if report.kind in OF_THE_ROUTE:
                log.warning("%s refused a call (%s); it goes elsewhere", route.endpoint, reason)
                call.routes = others
                continue
            refusals += 1
            if refusals > MOST_REFUSALS:
                return reply
            log.info("%s refused a call (%s); it waits", route.endpoint, reason)
            if WAITED_OUT.get(report.kind) == "overloaded" and report.retry_after is None:
                # The endpoint serves others meanwhile; this call does not come back at once.
                await self._pause(call, min(8.0, 0.25 * 2.0 ** (refusals - 1)))

    async def _pause(self, call: Call, seconds: float) -> None:
        if call.context is None:
            await asyncio.sleep(seconds)
            return
        async with call.context.off_slot():
            await asyncio.sleep(seconds)

    def _weigh(self, call: Call, route: Route) -> Weighed:
        return call.weighed(self.weigher, route, self.admitter.gate.programs)

    def _afresh(self, call: Call, weighed: list[Weighed]) -> Afresh | None:
        """How to weigh a waiting call again when replies of its kind become known; `None` when they are."""
        model, type = call.shape.model or "", call.type
        if self.weigher.known(model, type):
            return None

        def afresh() -> list[Ask] | None:
            if not self.weigher.known(model, type):
                return None
            weighed[:] = [self._weigh(call, route) for route in call.routes]
            return [one.ask for one in weighed]

        return afresh

    async def _admitted(self, call: Call, weighed: list[Weighed]) -> Permit:
        context = call.context
        asks = [one.ask for one in weighed]
        afresh = self._afresh(call, weighed)
        if call.visitor is not None:
            return await self._visitor_admitted(call.visitor, weighed, afresh)
        if context is None:
            return await self.admitter.admit(asks, Caller(Rank(0, self.services.clock.wall())), afresh)
        context.holding.wait()
        try:
            permit = await self.admitter.admit(asks, context.footing.caller(call.key.digest), afresh)
        except PenstockError:
            await context.regain_slot()  # the handler hears of it and goes on
            raise
        except BaseException as error:
            context.holding.gave_up(error, call.key.scope)
            raise
        context.holding.call_begins()
        context.footing.admitted(permit.charged)
        return permit

    async def _visitor_admitted(
        self, visitor: Visitor, weighed: list[Weighed], afresh: Afresh | None
    ) -> Permit:
        for one in weighed:
            visitor.check(one)
        with Visit(visitor, weighed[0], self.services) as visit:
            permit = await self.admitter.admit([one.ask for one in weighed], visit.caller(), afresh)
            visit.admitted(next(one for one in weighed if one.ask is permit.ask))
            return permit

    async def _send(
        self, call: Call, route: Route, weighed: Weighed, permit: Permit
    ) -> WireReply | tuple[WireReply, RefusalReport]:
        """Send one admitted call; a reply for the caller, or a refusal to wait out."""
        self.calls += 1
        permit.speaks(call.shape.family)
        started = self.services.clock.monotonic()
        streaming = False
        try:
            request = self._prepared(call, weighed, permit)
            permit.sent()
            reply = await route.send(request)
            self.settler.observe(permit, weighed, reply)
            if not reply.ok:
                return await self._failed(call, reply, permit)
            if call.shape.stream and "event-stream" in reply.header("content-type"):
                streaming = True
                chunks = relay(self, call, weighed, permit, reply, started)
                await anext(chunks)
                self.admitter.gate.health.of(permit.ask).began()
                self.admitter.pump_soon()
                if call.context is not None:
                    call.context.holding.stream_begins(chunks)
                reply.chunks = chunks
                return reply
            await reply.read()
            return await self._answered(call, weighed, permit, reply, started)
        except route.unsent:
            permit.release()
            self._ails(call, permit)
            raise
        except BaseException as error:
            if not permit.ended:
                permit.uncertain()
                if isinstance(error, route.broken):
                    self._ails(call, permit, "timeout")
            raise
        finally:
            if not streaming:
                self.over(call)

    def _ails(self, call: Call, permit: Permit, alone: RefusalKind | None = None) -> None:
        """This endpoint does not work just now: let the others, if there are any, take the next calls."""
        kind: RefusalKind | None = "slow_down" if len(call.routes) > 1 else alone
        if kind is not None:
            self.admitter.gate.refused(permit.ask, kind, None, self.services.clock.monotonic())

    def over(self, call: Call) -> None:
        """The call is over: its slot goes back to the handler."""
        if call.context is not None:
            call.context.holding.call_ended()
        else:
            self.services.slots.give()

    def _prepared(self, call: Call, weighed: Weighed, permit: Permit) -> WireRequest:
        body, content = call.shape.body, call.request.body
        if body is not None and call.shape.stream and weighed.profile.stream_usage:
            asking, added = ask_for_usage(call.shape.family, body)
            if added:
                call.hide_usage = True
                content = json_text(asking).encode()
        return replace(call.request, body=content, on_sent=permit.sent)

    async def _answered(
        self, call: Call, weighed: Weighed, permit: Permit, reply: WireReply, started: float
    ) -> WireReply:
        family = call.shape.family
        body = read_object(reply.body)
        facts = read_reply(family, body)
        if not is_answer(family, body):
            # Of no use, and must not become a truth for ever: not recorded; billed, as far as anybody knows.
            if facts.usage is None:
                permit.uncertain()
            else:
                self.settler.settle(call, weighed, permit, facts, started)
            return reply
        validator = current_validator()
        if validator is not None and body is not None:
            try:
                accept(validator, body, call.key.name)
            except Exception:
                self.settler.settle(call, weighed, permit, facts, started)
                raise
        await self.settler.settle_and_record(call, weighed, permit, facts, reply, started)
        return reply

    async def _failed(
        self, call: Call, reply: WireReply, permit: Permit
    ) -> WireReply | tuple[WireReply, RefusalReport]:
        body = await reply.read()
        now = self.services.clock.monotonic()
        report = read_refusal(reply.status, dict(reply.headers), body, self.services.clock.wall())
        if report.kind is Refusal.TIMEOUT:
            permit.uncertain()
        else:
            permit.settle(Usage(), 0)
        if report.kind in OF_THE_ROUTE and len(call.routes) > 1:
            self._ails(call, permit)
            return reply, report
        if report.kind is Refusal.SERVER_ERROR:
            self._ails(call, permit)
        if not report.retryable:
            reply.headers.append(("x-should-retry", "false"))  # SDKs try every 429 again
        waited_out = WAITED_OUT.get(report.kind)
        if waited_out is None or not report.retryable:
            return reply
        self.admitter.gate.refused(permit.ask, waited_out, report.retry_after, now)
        return reply, report

    def _warn_once(self, call: Call) -> None:
        if call.context is None and "outside" not in self._warned:
            self._warned.add("outside")
            log.warning(
                "a model call was made outside any task: it is limited and metered, but not journaled"
            )
        path = call.shape.path
        if call.shape.family is Family.UNKNOWN and path not in self._warned and len(self._warned) < 100:
            self._warned.add(path)
            log.warning("%s is no known model call: it counts as one request, without tokens or money", path)


def _acceptable(reply: WireReply) -> bool:
    validator, body = current_validator(), read_object(reply.body)
    if validator is None or body is None:
        return True
    try:
        accept(validator, body, "shared reply")
    except ReplyRejected:
        return False
    return True
