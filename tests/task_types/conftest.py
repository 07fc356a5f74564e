"""Runs one task of a built-in type against the simulator, or against replies written by hand."""

import contextlib
import json
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest

from penstock import Manager, Settings
from penstock.errors import InvalidTask
from penstock.llm.endpoint import Endpoint
from penstock.runtime.client import ModelClient
from penstock.simulator import Latency, Simulator, SimulatorConfig, SimulatorThread
from penstock.task_types.base import TaskKind, Toolbox

MODEL = "sim"
_SETTINGS = ("store", "max_concurrent", "limits", "prices")


class NoFunctions:
    """Stands for the registry of functions where a test registers none."""

    def named(self, name):
        raise InvalidTask(f"no function named {name!r} is registered; known: none")


@dataclass
class Scripted(httpx2.AsyncBaseTransport):
    """A provider that says what a test wrote: each reply is a text, a status with a body, a body, or a
    function of the request's body that gives one of these (the last one is for all further calls)."""

    replies: list[Any]
    bodies: list[dict[str, Any]]

    async def handle_async_request(self, request):
        body = json.loads(await request.aread())
        self.bodies.append(body)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        status, answer = reply_of(reply, body)
        return httpx2.Response(status, json=answer, request=request)


def reply_of(reply, body):
    if callable(reply):
        return reply_of(reply(body), body)
    if isinstance(reply, tuple):
        return reply
    if isinstance(reply, str):
        reply = chat_reply(reply)
    return 200, reply


def chat_reply(text=None, finish="stop", **message):
    """The body of a chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def tool_reply(name, arguments, finish="tool_calls", id="call_1"):
    """The body of a chat completion that calls a tool."""
    function = {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}
    return chat_reply(None, finish, tool_calls=[{"id": id, "type": "function", "function": function}])


class Tasks:
    """`await run_task(KIND, data, ...)` is the result of one task. The first call starts what it needs.

    Keywords: `replies=[...]` (a provider written by hand, see `Scripted`), `simulator=SimulatorConfig(...)`,
    `functions=`, fields of `Toolbox`, fields of `Settings`, and `options=TaskOptions(...)`.
    """

    def __init__(self, folder):
        self.folder = folder
        self.bodies = []
        self.progress = []
        self.manager = None
        self.simulator = None
        self.toolbox = None
        self._kinds = set()
        self._stack = contextlib.AsyncExitStack()

    async def __call__(self, kind: TaskKind, data: Any = None, *, options=None, timeout=20, **how):
        return await self.manager_wait(await self.submit(kind, data, options=options, **how), timeout)

    async def submit(self, kind, data=None, *, options=None, **how):
        """The id of one task; its data are checked as at the door."""
        if self.manager is None or how:
            await self.start(**how)
        read = kind.read(data)
        kind.refuse(read, self.toolbox)
        if kind.type not in self._kinds:
            self._kinds.add(kind.type)
            self.manager.register(str(kind.type), self._handler(kind))
        kept = read.model_dump(mode="json")  # as it may come back from a store
        return await self.manager.submit(str(kind.type), kept, options=options)

    async def manager_wait(self, id, timeout=20):
        return await self.manager.wait(id, timeout=timeout)

    def _handler(self, kind):
        async def handle(context):
            def note(current, total, message=""):
                self.progress.append((current, total, message))

            context.progress = note
            return await kind.run(context, kind.read(context.data), self.toolbox)

        return handle

    async def start(self, *, replies=None, simulator=None, functions=None, **how):
        """A manager on the store of this test; what an earlier call started is stopped."""
        await self.stop()
        settings = {name: how.pop(name) for name in _SETTINGS if name in how}
        store = str(self.folder / "work.db")
        self.manager = Manager(
            replace(Settings(store=store, durability="normal", max_concurrent=10, seed=1), **settings)
        )
        await self._stack.enter_async_context(self.manager)
        base_url, inner = "http://provider.test/v1", None
        if replies is not None:
            inner = Scripted(list(replies), self.bodies)
        else:
            self.simulator = Simulator(simulator or SimulatorConfig())
            inner = Watching(self.simulator.transport(), self.bodies)
        exchange = self.manager.node.services.exchange
        client = ModelClient(exchange, [Endpoint(base_url=base_url, api_key="none")], inner)
        how = {"model": MODEL, **how}
        self.toolbox = Toolbox(client=lambda: client, functions=functions or NoFunctions(), **how)
        self._kinds = set()

    async def stop(self):
        await self._stack.aclose()
        self.manager = None


class Watching(httpx2.AsyncBaseTransport):
    """Notes the bodies of the requests that pass to another transport."""

    def __init__(self, inner, bodies):
        self.inner = inner
        self.bodies = bodies

    async def handle_async_request(self, request):
        self.bodies.append(json.loads(await request.aread()))
        return await self.inner.handle_async_request(request)

    async def aclose(self):
        await self.inner.aclose()


@pytest.fixture
async def run_task(tmp_path):
    tasks = Tasks(tmp_path)
    yield tasks
    await tasks.stop()


@pytest.fixture
def refused():
    """`refused(KIND, data)`: the words with which the door refuses this data; fails when it does not."""
    toolbox = Toolbox(client=lambda: None, functions=NoFunctions())

    def words(kind, data):
        try:
            kind.refuse(kind.read(data), toolbox)
        except InvalidTask as error:
            return str(error)
        raise AssertionError(f"these data were taken: {str(data)[:200]}")

    return words


@pytest.fixture
def replies():
    """Makers of replies: `replies.chat(text, finish, **message)`, `replies.tool(name, arguments)`."""

    class Makers:
        chat = staticmethod(chat_reply)
        tool = staticmethod(tool_reply)

    return Makers


@pytest.fixture
def provider():
    """A simulator on a port, for processes of their own."""
    with SimulatorThread(SimulatorConfig(latency=Latency(0.02))) as simulator:
        yield simulator
