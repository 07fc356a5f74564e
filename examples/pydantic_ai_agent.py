"""A Pydantic AI agent inside a task: its model calls are queued, limited, booked and journaled, and so are
the tool calls that say so. After a crash it goes on where it was, and pays for nothing again.

Needs: pip install 'pydantic-ai-slim[openai]'
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import Any

from penstock import AITaskManager, TaskConfig, TaskContext

try:
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
except ImportError:
    sys.exit("this example needs Pydantic AI: pip install 'pydantic-ai-slim[openai]'")

STOCK = {"lamp": 3, "chair": 0}


@dataclass
class Shop:
    """What the agent's tools are given."""

    task: TaskContext


# The agent knows nothing of Penstock; it may just as well come from another module.
agent = Agent(
    OpenAIChatModel(
        os.environ.get("MODEL", "gpt-4o-mini"),
        provider=OpenAIProvider(
            base_url=os.environ.get("OPENAI_BASE_URL"), api_key=os.environ.get("OPENAI_API_KEY", "none")
        ),
    ),
    deps_type=Shop,
    system_prompt="You order what is missing in the shop.",
)


@agent.tool
async def order(shop: RunContext[Shop], item: str, count: int) -> str:
    """Order an item from the supplier."""

    async def really() -> str:
        STOCK[item] = STOCK.get(item, 0) + count
        print(f"ordered {count} of {item}")
        return f"{count} of {item} are on their way"

    # Recorded: an order that was placed is not placed again after a crash.
    return str(await shop.deps.task.step("order", really, key=f"{item} {count}"))


async def shopkeeper(task: TaskContext) -> dict[str, Any]:
    with task.capturing():
        result = await agent.run(task.data["ask"], deps=Shop(task))
    return {"answer": result.output, "requests": result.usage.requests}


async def main() -> None:
    async with AITaskManager(max_concurrent=4, requests_per_minute=600, budget_limit=1.0) as manager:
        manager.register_type("shopkeeper", shopkeeper)
        id = await manager.submit_task(
            "shopkeeper",
            {"ask": "We are out of chairs. Order four."},
            config=TaskConfig(idempotency_key="chairs of today", timeout=120),
        )
        result = await manager.wait_for_task(id, timeout=60)
        task = manager.get_task(id)
        assert task is not None
        print(f"the agent says: {result['answer'][:60]}")
        used = task.metrics
        print(f"{result['requests']} model calls, {used.tokens_used} tokens, {used.actual_cost:.6f} USD")


if __name__ == "__main__":
    asyncio.run(main())
