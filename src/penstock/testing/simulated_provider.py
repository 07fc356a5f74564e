"""A provider that says what a test wants to hear, at an address that only this process knows."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from penstock.errors import ConfigurationError
from penstock.model.clock import SystemClock
from penstock.simulator.app import create_app
from penstock.simulator.config import Script, SimulatorConfig
from penstock.simulator.faults import Fault, FaultDealer
from penstock.testing.in_process import served

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.client import OpenAICompatibleClient

Reply = Any
"""What `SimulatedProvider.say` takes."""

_numbers = itertools.count(1)
_due: ContextVar[Script | Fault | None] = ContextVar("penstock_scripted_reply", default=None)


@dataclass(slots=True)
class ProviderCall:
    """One request as it arrived; `status` once it was answered."""

    path: str
    body: dict[str, Any]
    status: int | None = None

    @property
    def text(self) -> str:
        """The text of its last message, or its input."""
        messages = self.body.get("messages")
        given = messages[-1].get("content") if messages else self.body.get("input", "")
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)

    @property
    def answered(self) -> bool:
        return self.status == 200


class SimulatedProvider:
    """The simulator at an address that managers of this process find, with replies and faults of a test.

    with SimulatedProvider() as provider:
        provider.say("first reply", Fault.ERROR_500, "third reply")
        async with provider.manager() as manager:
            ...

    Nothing listens on a port and nothing waits for a network, so it serves in virtual time too. `config` says
    how it answers where nothing was said.
    """

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        config = config or SimulatorConfig()
        self.host = f"provider-{next(_numbers)}.test"
        self.calls: list[ProviderCall] = []
        self._scripts = _Scripts(config.scripts)
        self.config = replace(config, scripts=self._scripts)
        self._app = create_app(self.config, clock=lambda: SystemClock().monotonic())
        self._said: deque[Reply] = deque()
        self._served = ExitStack()
        self.reset()

    def __enter__(self) -> Self:
        self._served.enter_context(served(self.host, self))
        return self

    def __exit__(self, *exc: object) -> None:
        self._served.close()

    @property
    def root_url(self) -> str:
        return f"http://{self.host}"

    @property
    def base_url(self) -> str:
        """What clients take for `base_url`; ends with `/v1`."""
        return f"{self.root_url}/v1"

    def client(self, **config: Any) -> OpenAICompatibleClient:
        """A client for a manager; `config` are fields of `APIConfig`."""
        from penstock.manager.client import APIConfig, OpenAICompatibleClient

        return OpenAICompatibleClient(APIConfig(**{"api_key": "none", "base_url": self.base_url, **config}))

    def manager(self, **settings: Any) -> AITaskManager:
        """A task manager on this provider and a store in memory, without rate limits unless `settings` (those
        of `AITaskManager`) say so. It is not started."""
        from penstock.manager.ai_task_manager import AITaskManager

        given = {"store": "memory", "requests_per_minute": None, "seed": 0, **settings}
        return AITaskManager(self.client(), **given)

    def say(self, *replies: Reply) -> None:
        """Answer the next model calls with these, one each.

        A text is what the model says; a dict or list the same as JSON; a `Script` a tool call; a `Fault` goes
        wrong that way; a number is an error of that HTTP status; a pair is a status and a whole body; an
        exception is raised in place of a connection. A function gets the `ProviderCall` and returns one.
        """
        for reply in replies:
            _scripted(reply)  # what cannot be said is refused here
        self._said.extend(replies)

    def when(self, pattern: str, reply: Reply) -> None:
        """Answer every call in whose last user text the regular expression is found with a text or JSON;
        `$1` is its first group."""
        self._scripts.added.append(Script(pattern, reply if isinstance(reply, str) else json.dumps(reply)))

    @property
    def unsaid(self) -> int:
        """How many replies of `say` nobody asked for yet."""
        return len(self._said)

    @property
    def repeated(self) -> list[ProviderCall]:
        """Calls that were paid although an equal one was answered before."""
        seen: set[str] = set()
        found = []
        for call in self.calls:
            if call.answered:
                text = json.dumps([call.path, call.body], sort_keys=True)
                found += [call] if text in seen else []
                seen.add(text)
        return found

    def stats(self) -> dict[str, Any]:
        """The books of the simulator: calls, tokens, limits, what was paid."""
        report: dict[str, Any] = self._app.state.provider.run.report()
        return report

    def reset(self) -> None:
        """Forget what happened and what was to be said."""
        provider = self._app.state.provider
        provider.reset()
        provider.run.dealer = _Dealer(self.config.faults, self.config.seed)
        self._said.clear()
        self.calls.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        raw = await _whole(receive)
        call = ProviderCall(scope["path"], _object(raw))
        self.calls.append(call)
        reply = self._said.popleft() if self._said else None
        while callable(reply) and not isinstance(reply, type):
            reply = reply(call)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
            await send(message)

        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, int):
            reply = (reply, _error(reply))
        if isinstance(reply, tuple):
            await _send_json(sent, *reply)
            return
        token = _due.set(_scripted(reply))
        try:
            await self._app(scope, _again(raw, receive), sent)
        finally:
            _due.reset(token)


class _Scripts(tuple[Script, ...]):
    """The scripts of a configuration, behind the reply that is due and those that a test added."""

    added: list[Script]

    def __new__(cls, scripts: tuple[Script, ...]) -> _Scripts:
        made = super().__new__(cls, scripts)
        made.added = []
        return made

    def __iter__(self) -> Iterator[Script]:
        due = _due.get()
        if isinstance(due, Script):
            yield due
        yield from self.added
        yield from super().__iter__()


class _Dealer(FaultDealer):
    def deal(self, arrival: int, now: float) -> Fault | None:
        due = _due.get()
        if due is None:
            return super().deal(arrival, now)
        return due if isinstance(due, Fault) else None


def _again(raw: bytes, receive: Receive) -> Receive:
    """Receives a body that was read already, and then what comes."""
    first: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again


def _scripted(reply: Reply) -> Script | Fault | None:
    """What the simulator is to do for a text, JSON, script or fault; `None` for replies of other kinds."""
    if isinstance(reply, Script | Fault):
        return reply
    if not isinstance(reply, str | dict | list):
        return None
    text = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
    if "$0" in text:
        raise ConfigurationError(
            f"the simulator reads $0 as part of the prompt; say (200, body): {text[:80]!r}"
        )
    return Script("", text)  # a pattern that every text has


async def _whole(receive: Receive) -> bytes:
    raw, more = b"", True
    while more:
        message = await receive()
        raw += message.get("body", b"")
        more = message.get("more_body", False)
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error(status: int) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": f"the test wanted status {status}", "type": kind, "code": None}}


async def _send_json(send: Send, status: int, body: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-request-id", b"req_test")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
