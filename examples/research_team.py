"""Three agents write a report together: one searches, one analyses, one writes.

The team is one durable task, and each agent a child task of its own: kill this program at any point and start
it again, and it goes on where it was. research_team_replies.json are replies for the simulator.
"""

import asyncio

from describe_statistics import describe

from penstock import Agent, AITaskManager, TaskConfig
from penstock.workflows.agent_patterns import sequence

# What a search engine would know; put a real one in its place.
LIBRARY = {
    "hydropower": "Hydropower made 14 % of the world's electricity, 4,200 TWh, in 2023.",
    "solar": "Solar power made 5.5 % of the world's electricity in 2023, a quarter more than in 2022.",
    "storage": "Pumped storage is nine tenths of all electricity storage.",
}


async def search(topic: str) -> list[str]:
    """Find what is known on a topic, such as hydropower, solar or storage."""
    print(f"searching for {topic}")
    return [text for name, text in LIBRARY.items() if name in topic.lower()] or ["nothing found"]


def growth(before: float, after: float, years: int = 1) -> str:
    """Growth in per cent a year between two numbers."""
    return f"{((after / before) ** (1 / years) - 1) * 100:.1f} % a year"


SEARCHER = Agent(
    "searcher",
    "Find the facts that the question needs. Give each with its number. Do not judge.",
    tools=[search],
    max_turns=6,
)
ANALYST = Agent(
    "analyst",
    "Say what follows from the facts you are given. Calculate with your tools, never by yourself.",
    tools=[growth],
    max_turns=6,
)
WRITER = Agent("writer", "Write a report of at most 200 words with a heading, in Markdown.", max_turns=2)


async def main() -> None:
    async with AITaskManager(max_concurrent=5, requests_per_minute=600) as manager:
        manager.add_team("research", sequence(SEARCHER, ANALYST, WRITER))
        question = "How do hydropower and solar power compare?"
        # The same key gives the same task: a second start of this program goes on with the first.
        config = TaskConfig(timeout=None, idempotency_key="hydropower and solar")
        id = await manager.submit_task("research", {"prompt": question}, config=config)
        report = await manager.wait_for_task(id, timeout=300)
        for one in report["agents"]:
            print(f"{one['agent']} is done" + (f", stopped by {one['stopped']}" if one["stopped"] else ""))
        print(report["text"])
        print(describe(manager.get_statistics()))


if __name__ == "__main__":
    asyncio.run(main())
