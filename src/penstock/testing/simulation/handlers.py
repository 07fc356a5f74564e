"""The handlers of simulated tasks: each kind of work in a few lines, told by its data what to do."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.errors import EventTimeout
from penstock.llm.endpoint import Endpoint
from penstock.manager import Manager
from penstock.model.options import TaskOptions
from penstock.runtime.client import ModelClient
from penstock.runtime.context import TaskContext
from penstock.testing.simulation.provider import BASE_URL, PATH, Provider


class Handlers:
    """Registers every type on a manager; `executions` of recorded steps are counted by `on_step`."""

    def __init__(self, manager: Manager, provider: Provider) -> None:
        self._manager, self._provider = manager, provider
        self._client: ModelClient | None = None
        for type in ("agent", "gather", "failing", "durable"):
            manager.register(type, getattr(self, type), model=lambda data: data["model"])
        for type in ("noop", "slow", "plain"):
            manager.register(type, getattr(self, type))

    async def chat(self, data: dict[str, Any], label: str) -> str:
        if self._client is None:
            endpoint = Endpoint(BASE_URL, "simulated")
            exchange = self._manager.node.services.exchange
            self._client = ModelClient(exchange, [endpoint], inner=self._provider.transport())
        name = f"{data['name']}/{label}"
        body: dict[str, Any] = {
            "model": data["model"],
            "user": name,
            "messages": [{"role": "user", "content": f"{name:.<200}"}],
        }
        if data["cap"] is not None:
            body["max_tokens"] = data["cap"]
        reply = await self._client.post(PATH, body)
        return str(reply.body["choices"][0]["message"]["content"])

    async def noop(self, context: TaskContext) -> str:
        return str(context.data["name"])

    def plain(self, context: TaskContext) -> str:
        return str(context.data["name"])

    async def agent(self, context: TaskContext) -> list[str]:
        """Step after step, each its own request; every other one stamped with a recorded instant."""
        data, said = context.data, []
        for step in range(data["steps"]):
            if step % 2:
                await context.now()
            said.append(await self.chat(data, str(step)))
        return said

    async def gather(self, context: TaskContext) -> list[str]:
        data = context.data
        found: list[str] = await context.gather(
            *[self.chat(data, f"branch {number}") for number in range(min(3, data["steps"]))]
        )
        return [*found, await self.chat(data, "sum")]

    async def failing(self, context: TaskContext) -> str:
        """Calls once, then raises in its first attempts."""
        data = context.data
        said = await self.chat(data, "once")
        if context.attempt <= data["fails"]:
            raise RuntimeError(f"simulated failure {context.attempt}")
        return said

    async def slow(self, context: TaskContext) -> int:
        """Steps that are no calls."""
        data = context.data
        for step in range(data["steps"]):
            await context.step("work", _work, step, data["seconds"])
        return int(data["steps"])

    async def durable(self, context: TaskContext) -> list[Any]:
        """Sleeps, waits for an event and for children, beside each other and one after the other."""
        data = context.data
        said: list[Any] = [await self.chat(data, "first")]
        await context.sleep(data["seconds"] * 3)
        kids = [
            await context.start_child("noop", {"name": f"{data['name']}/kid {number}"})
            for number in range(data["steps"] % 3)
        ]
        child = {**data, "name": f"{data['name']}/child", "steps": 1}
        said += await context.gather(
            self._event(context, data["seconds"] * 8),
            context.child("agent", child, options=TaskOptions(max_retries=9, timeout=60.0)),
            *[kid.result() for kid in kids],
        )
        if context.attempt <= data["fails"]:
            raise RuntimeError(f"simulated failure {context.attempt}")
        await context.sleep(data["seconds"] / 10)
        return [*said, await self.chat(data, "last")]

    async def _event(self, context: TaskContext, timeout: float) -> Any:
        try:
            return await context.wait_for_event("go", timeout)
        except EventTimeout:
            return "nothing came"


async def _work(step: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return step
