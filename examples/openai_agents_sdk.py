"""An agent of the OpenAI Agents SDK inside a task: its model calls are queued, limited, booked and journaled,
and so are the tool calls that say so. After a crash it goes on where it was, and pays for nothing again.

Needs: pip install openai-agents
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import Any

from penstock import AITaskManager, TaskConfig, TaskContext

try:
    from agents import Agent, RunContextWrapper, Runner, function_tool, set_tracing_disabled
except ImportError:
    sys.exit("this example needs the OpenAI Agents SDK: pip install openai-agents")

set_tracing_disabled(True)  # it would send every run to OpenAI


@dataclass
class Desk:
    """What the agents' tools are given."""

    task: TaskContext


@function_tool
async def send_letter(desk: RunContextWrapper[Desk], to: str) -> str:
    """Send a letter to somebody."""

    async def really() -> str:
        print(f"sent a letter to {to}")
        return f"the letter to {to} is sent"

    # Recorded: a letter that was sent is not sent again after a crash.
    return str(await desk.context.task.step("send", really, key=to))


# The agent knows nothing of Penstock; it may just as well come from another module.
clerk = Agent[Desk](
    name="clerk",
    instructions="You answer the mail.",
    model=os.environ.get("MODEL", "gpt-4o-mini"),
    tools=[send_letter],
)


async def answer(task: TaskContext) -> dict[str, Any]:
    with task.capturing():
        result = await Runner.run(clerk, task.data["ask"], context=Desk(task))
    return {"answer": result.final_output, "requests": result.context_wrapper.usage.requests}


async def main() -> None:
    async with AITaskManager(max_concurrent=4, requests_per_minute=600, budget_limit=1.0) as manager:
        manager.register_type("answer", answer)
        id = await manager.submit_task(
            "answer",
            {"ask": "Thank Ada for the book."},
            config=TaskConfig(idempotency_key="Ada's book", timeout=120),
        )
        result = await manager.wait_for_task(id, timeout=60)
        task = manager.get_task(id)
        assert task is not None
        print(f"the agent says: {result['answer'][:60]}")
        used = task.metrics
        print(f"{result['requests']} model calls, {used.tokens_used} tokens, {used.actual_cost:.6f} USD")


if __name__ == "__main__":
    asyncio.run(main())
