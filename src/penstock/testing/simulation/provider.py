"""A provider in virtual time: it bills exactly, keeps its limits exactly, and fails as it is told.

It stands where an HTTP library has its connections, so everything above is the real thing.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2

from penstock.llm.request_body import request_hash
from penstock.testing.simulation.loop import Life, VirtualLoop, current_life

PATH = "/v1/chat/completions"
BASE_URL = "https://sim.example.test/v1"
PRICE_PER_MILLION = 1.0


@dataclass(frozen=True, slots=True)
class Weather:
    """How the provider behaves: chances per call, seconds, and storms of 429 as (begin, end)."""

    seconds: tuple[float, float] = (0.2, 2.0)
    slow: float = 0.0
    hang: float = 0.0
    server_error: float = 0.0
    cut: float = 0.0
    unreachable: float = 0.0
    storms: tuple[tuple[float, float], ...] = ()


class Window:
    """What was counted in the last seconds, and the fullest it ever was above its limit."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds = limit, seconds
        self._log: deque[tuple[float, int]] = deque()
        self.inside = 0

    def count(self, amount: int, now: float) -> int:
        """Count it; by how much the window is above its limit now (0: it is not)."""
        while self._log and self._log[0][0] <= now - self.seconds:
            self.inside -= self._log.popleft()[1]
        if amount > 0:
            self._log.append((now, amount))
            self.inside += amount
        return max(0, self.inside - self.limit)


@dataclass(slots=True)
class Flight:
    """One request on its way. `reply` is what its caller waits for."""

    digest: str
    name: str
    prompt: int
    output: int
    life: Life | None
    reply: asyncio.Future[httpx2.Response]
    over: bool = False


@dataclass(slots=True)
class Bill:
    """What the provider counted, by its own books."""

    arrived: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    """by tenant"""
    pico: int = 0
    refused: int = 0


class Provider:
    """`on_arrival(flight)` is asked when a request arrives, `say` told what happens."""

    def __init__(
        self,
        loop: VirtualLoop,
        chance: Random,
        weather: Weather,
        windows: dict[str, Window],
        say: Callable[[str, str], None],
    ) -> None:
        self.bill = Bill()
        self.on_arrival: Callable[[Flight], None] = lambda flight: None
        self.on_overrun: Callable[[str, int], None] = lambda key, excess: None
        self.on_served: Callable[[str, int], None] = lambda name, tokens: None
        self.calm = False
        self._loop, self._chance, self._weather, self._windows, self._say = (
            loop,
            chance,
            weather,
            windows,
            say,
        )
        self._flights: dict[int, Flight] = {}
        self._watched: set[int] = set()

    def transport(self) -> Any:
        """What a `ModelClient` takes as `inner`."""
        return _Connections(self)

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """The reply. A caller that goes away is noticed at once: what it asked for is billed in full then."""
        chance, weather = self._chance, self._weather
        await asyncio.sleep(chance.uniform(0.0, 0.01))
        if not self.calm and chance.random() < weather.unreachable:
            self._say("unreachable", "")
            raise httpx2.ConnectError("simulated", request=request)
        await request.extensions["trace"]("http11.send_request_body.complete", {})
        flight = self._opened(request)
        self._loop.in_world(chance.uniform(0.001, 0.015), self._arrive, flight)
        try:
            return await flight.reply
        finally:
            self._gone(flight)

    def _opened(self, request: httpx2.Request) -> Flight:
        body = json.loads(request.content)
        name, output = body["user"], self._chance.randint(1, body.get("max_tokens", 200))
        digest = request_hash("POST", PATH, request.content)[:32]
        prompt = tokens_of(body["messages"][0]["content"])
        life = current_life()
        flight = Flight(digest, name, prompt, output, life, self._loop.create_future())
        if life is not None:
            if life.number not in self._watched:
                self._watched.add(life.number)
                life.on_crash.append(lambda: self._crashed(life))
            self._flights[id(flight)] = flight
        return flight

    def _arrive(self, flight: Flight) -> None:
        now = self._loop.time()
        self.on_arrival(flight)
        self.bill.arrived[flight.digest] += 1
        if self._in_storm(now):
            self.bill.refused += 1
            self._say("429", flight.name)
            self._answer(flight, self._chance.uniform(0.0, 0.01), 429, _error("rate_limit_exceeded"), 1.0)
            return
        self._count("requests", 1)
        fault = "" if self.calm else self._fault()
        self._say("arrived", f"{flight.name} {fault}")
        if fault == "server_error":
            self._answer(flight, 0.05, 500, _error("server_error"))
            return
        self._count("tokens", flight.prompt)
        self.on_served(flight.name, flight.prompt)
        self.bill.pico += flight.prompt * 1_000_000
        if fault == "hang":
            return  # until its caller has had enough
        seconds = self._chance.uniform(*self._weather.seconds) * (8.0 if fault == "slow" else 1.0)
        self._loop.in_world(seconds, self._complete, flight, fault == "cut")

    def _complete(self, flight: Flight, cut: bool) -> None:
        if flight.over:
            return
        self._bill_output(flight)
        reply = json.dumps(_completion(flight)).encode()
        if cut:
            reply = reply[: len(reply) // 2]
        else:
            self.bill.answered[flight.digest] += 1
        self._answer(flight, self._chance.uniform(0.0, 0.01), 200, reply)

    def _bill_output(self, flight: Flight) -> None:
        flight.over = True
        self._count("tokens", flight.output)
        self.on_served(flight.name, flight.output)
        self.bill.pico += flight.output * 1_000_000

    def _answer(
        self, flight: Flight, delay: float, status: int, content: bytes, retry_after: float | None = None
    ) -> None:
        flight.over = True
        headers = {"content-type": "application/json"}
        if retry_after is not None:
            headers["retry-after"] = f"{retry_after:g}"

        def deliver() -> None:
            if not flight.reply.done() and not (flight.life is not None and flight.life.dead):
                flight.reply.set_result(httpx2.Response(status, headers=headers, content=content))

        self._loop.in_world(delay, deliver)

    def _gone(self, flight: Flight) -> None:
        self._flights.pop(id(flight), None)
        if not flight.over:
            self._say("gone", flight.name)
            self._bill_output(flight)

    def _crashed(self, life: Life) -> None:
        for flight in [one for one in self._flights.values() if one.life is life]:
            self._gone(flight)

    def _fault(self) -> str:
        drawn, weather = self._chance.random(), self._weather
        for name in ("slow", "hang", "server_error", "cut"):
            drawn -= getattr(weather, name)
            if drawn < 0:
                return name
        return ""

    def _in_storm(self, now: float) -> bool:
        return not self.calm and any(begin <= now < end for begin, end in self._weather.storms)

    def _count(self, key: str, amount: int) -> None:
        window = self._windows.get(key)
        if window is not None and (excess := window.count(amount, self._loop.time())):
            self.on_overrun(key, excess)


class _Connections:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._provider.send(request)

    async def aclose(self) -> None:
        """Nothing is open."""


def tokens_of(text: str) -> int:
    """What the provider counts for a prompt: a token for five bytes."""
    return len(text.encode()) // 5


def _error(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "simulated", "type": code}}).encode()


def _completion(flight: Flight) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"reply to {flight.name}"}
    return {
        "id": "simulated",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": flight.prompt,
            "completion_tokens": flight.output,
            "total_tokens": flight.prompt + flight.output,
        },
    }
