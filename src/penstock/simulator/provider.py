"""The simulated provider: what happens to a call between its arrival and its last byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from penstock.simulator import failures
from penstock.simulator.config import SimulatorConfig
from penstock.simulator.exchange import EVENT_TYPE, ConnectionCut, Exchange
from penstock.simulator.faults import BILLED, Fault, FaultDealer
from penstock.simulator.limits import Admission, OverLimit, RateLimiter, Resource
from penstock.simulator.openai_wire import model_not_found
from penstock.simulator.replies import compose
from penstock.simulator.stats import Stats, request_digest
from penstock.simulator.wire import BadCall, Call, Failure, Gauges, Json, Wire, dump, retry_headers

Clock = Callable[[], float]
_RESOURCES: tuple[Resource, ...] = ("requests", "tokens")


class Run:
    """All that a reset forgets. Calls in flight keep the run they came in."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self._limiters: dict[str | None, RateLimiter] = {}
        self.stats = Stats()
        self.dealer = FaultDealer(config.faults, config.seed)
        self.origin: float | None = None

    def begin(self, now: float) -> None:
        """Windows start at the first call."""
        if self.origin is None:
            self.origin = now
            self._limiters = {None: RateLimiter(self._config.limits, now)}
            for model, rules in self._config.limits_by_model.items():
                self._limiters[model] = RateLimiter(rules, now)

    def limiter(self, model: str) -> RateLimiter:
        """The limits of a model: its own, or those it shares with all that have none."""
        return self._limiters.get(model) or self._limiters[None]

    def slowness(self, now: float) -> float:
        return self.dealer.slowness(now - (now if self.origin is None else self.origin))

    def report(self) -> dict[str, Any]:
        """The statistics with the books of every limit, as JSON."""
        limits: dict[str, dict[str, Any]] = {}
        for model, limiter in self._limiters.items():
            rules = limiter.rules
            limits["default" if model is None else model] = {
                "kind": rules.kind,
                "counting": rules.counting,
                "window_seconds": rules.window_seconds,
                "requests": limiter.requests.report(rules.kind),
                "tokens": limiter.tokens.report(rules.kind),
            }
        books = [one[name] for one in limits.values() for name in _RESOURCES]
        return {
            **self.stats.report(),
            "violations": sum(book["violations"] for book in books),
            "limits": limits,
        }


class Turn:
    """One admitted call: what it costs, and that this is booked exactly once."""

    def __init__(self, run: Run, call: Call, admission: Admission, digest: bytes, number: int) -> None:
        self.run = run
        self.call = call
        self.number = number
        self.digest = digest
        self.limiter = run.limiter(call.model)
        self.fault: Fault | None = None
        self.output_tokens = 0
        self.gauges: Gauges = {}
        self._admission = admission
        self._counted = False

    def count_output(self, now: float) -> None:
        """The output is there: count it in the limits, the first time this is said."""
        if not self._counted:
            self._counted = True
            self.limiter.complete(self._admission, self.output_tokens, now)

    def close(self, answered: bool, now: float) -> None:
        """Bill the call, also when its reply never arrived."""
        self.count_output(now)
        if not answered and self.fault is None:
            self.run.stats.abandoned += 1
        self.run.stats.bill(self.digest, self.call.input_tokens, self.output_tokens, answered)


class Provider:
    """Answers calls of any wire format under one configuration.

    `clock` is what limits are measured with, in seconds.
    """

    def __init__(self, config: SimulatorConfig, clock: Clock) -> None:
        self.config = config
        self.run = Run(config)
        self._clock = clock

    def reset(self) -> None:
        """Forget everything that was counted; windows and faults begin anew with the next call."""
        self.run = Run(self.config)

    async def handle(self, wire: Wire, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of the given wire format, from its first byte to its last."""
        run = self.run
        number = run.stats.arrive()
        exchange = Exchange(scope, receive, send, f"req_sim{number}")
        try:
            raw = await exchange.read_body()
            if raw is not None:
                await self._handle(run, wire, exchange, raw, number)
        finally:
            run.stats.leave()

    def check_key(self, exchange: Exchange) -> None:
        """Any of the headers that carry keys will do.

        Raises `BadCall` when a key is configured and not given.
        """
        key = self.config.api_key
        if key is None:
            return
        given = exchange.header(b"authorization").removeprefix("Bearer ")
        if key not in (given, exchange.header(b"api-key"), exchange.header(b"x-api-key")):
            raise failures.wrong_key(given)

    async def _handle(self, run: Run, wire: Wire, exchange: Exchange, raw: bytes, number: int) -> None:
        now = self._clock()
        run.begin(now)
        try:
            self.check_key(exchange)
            body = _parse_json(raw)
            call = wire.parse(body, exchange.path_parameters)
            if self.config.models and call.model not in self.config.models:
                raise model_not_found(call.model)
        except BadCall as bad:
            await self._fail(run, wire, exchange, bad.failure)
            return
        fault = run.dealer.deal(number, now)
        if fault is not None:
            run.stats.faults[fault.value] += 1
        refuses = fault is not None and fault not in BILLED
        counts = fault is not Fault.BURST_429 and self.config.faults.errors_count
        limiter = run.limiter(call.model)
        if fault is not None and refuses and not counts:
            await self._fail(run, wire, exchange, failures.of_fault(fault, run.dealer, now), limiter)
            return
        admission = limiter.admit(call.input_tokens, call.total_cap, now)
        if isinstance(admission, OverLimit):
            run.stats.refused += 1
            run.stats.too_large += admission.retry_after is None
            failure = failures.over_limit(admission, call.model, limiter.rules.window_seconds)
            await self._fail(run, wire, exchange, failure, limiter)
        elif fault is not None and refuses:
            limiter.complete(admission, 0, now)
            await self._fail(run, wire, exchange, failures.of_fault(fault, run.dealer, now), limiter)
        else:
            turn = Turn(run, call, admission, request_digest(exchange.scope["path"], body), number)
            turn.fault = fault
            if limiter.rules.headers_at == "admission":
                turn.gauges = self._gauges(limiter)
            await self._serve(turn, wire, exchange)

    async def _serve(self, turn: Turn, wire: Wire, exchange: Exchange) -> None:
        reply = compose(self.config, turn.call, turn.digest)
        turn.output_tokens = reply.output_tokens * turn.call.choices
        frames = None
        if turn.call.stream:
            frames = list(wire.frames(turn.call, reply, turn.number, self.config.stream_chunk_tokens))
        answered = False
        try:
            if frames is None:
                body = dump(wire.plain(turn.call, reply, turn.number))
                answered = await self._send_plain(turn, wire, exchange, body)
            else:
                answered = await self._send_stream(turn, wire, exchange, frames)
        finally:
            turn.close(answered, self._clock())

    async def _send_plain(self, turn: Turn, wire: Wire, exchange: Exchange, body: bytes) -> bool:
        """Send a whole reply after its time.

        Returns whether it arrived whole and sound, as far as a server can tell.
        """
        latency = self.config.latency
        seconds = latency.first(turn.call.input_tokens) + latency.c * turn.output_tokens
        if await exchange.gone_within(seconds * turn.run.slowness(self._clock())):
            return False
        turn.count_output(self._clock())
        if turn.fault is Fault.HANG:
            await exchange.gone_within(None)
            return False
        turn.run.stats.by_status[200] += 1
        headers = wire.limit_headers(turn.gauges or self._gauges(turn.limiter))
        if turn.fault is Fault.CUT:
            await exchange.reply_half(200, body, headers)
        if turn.fault is Fault.MALFORMED:
            body = body[: len(body) // 2]
        await exchange.reply(200, body, headers)
        return turn.fault is None

    async def _send_stream(
        self, turn: Turn, wire: Wire, exchange: Exchange, frames: list[tuple[bytes, int]]
    ) -> bool:
        """Send a reply as events spread over its output time; whether it arrived whole and sound."""
        slowness = turn.run.slowness(self._clock())
        if await exchange.gone_within(self.config.latency.first(turn.call.input_tokens) * slowness):
            return False
        if turn.fault is Fault.HANG:
            turn.count_output(self._clock())
            await exchange.gone_within(None)
            return False
        turn.run.stats.by_status[200] += 1
        await exchange.start(
            200, [EVENT_TYPE, *wire.limit_headers(turn.gauges or self._gauges(turn.limiter))]
        )
        loop_time = asyncio.get_running_loop().time
        due = loop_time()
        last, middle = len(frames) - 1, len(frames) // 2
        for position, (frame, tokens) in enumerate(frames):
            # Times add up from the start, so that late timers do not stretch the stream.
            due += tokens * self.config.latency.c * slowness
            if tokens and await exchange.gone_within(due - loop_time()):
                return False
            if position == middle and turn.fault is Fault.CUT:
                raise ConnectionCut
            if position == middle and turn.fault is Fault.MALFORMED:
                frame = frame[: len(frame) // 2] + b"\n\n"
            if position == last:
                turn.count_output(self._clock())
            await exchange.write(frame, more=position < last)
        return turn.fault is None

    def _gauges(self, limiter: RateLimiter) -> Gauges:
        now = self._clock()
        return {name: gauge for name in _RESOURCES if (gauge := limiter.gauge(name, now)) is not None}

    async def _fail(
        self, run: Run, wire: Wire, exchange: Exchange, failure: Failure, limiter: RateLimiter | None = None
    ) -> None:
        status, body = wire.failure(failure, exchange.request_id)
        run.stats.by_status[status] += 1
        headers = [] if limiter is None else wire.limit_headers(self._gauges(limiter))
        await exchange.reply(status, dump(body), [*retry_headers(failure), *headers])


def _parse_json(raw: bytes) -> Json:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise failures.not_json() from None
    if not isinstance(body, dict):
        raise failures.not_json()
    return body
