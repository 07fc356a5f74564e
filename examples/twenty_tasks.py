"""Twenty tasks at once on five slots, of four priorities, with a line that tells how things stand."""

import asyncio

from describe_statistics import describe

from penstock import AITaskManager, APIConfig, OpenAICompatibleClient, Priority, TaskType

TOPICS = ["tides", "owls", "bridges", "salt", "comets"]
PRIORITIES = [Priority.LOW, Priority.MEDIUM, Priority.HIGH, Priority.URGENT]


async def show(manager: AITaskManager) -> None:
    """A line that is written anew ten times a second."""
    while True:
        statistics = manager.get_statistics()
        done = statistics["tasks"]["by_status"]["completed"]
        running = statistics["concurrency"]["running_tasks"]
        cost = statistics["cost"]["total"]["cost"]
        waiting = manager.get_queue_status()["total_size"]
        print(f"\r{done:2} done, {running} run, {waiting:2} wait, {cost:.6f} USD", end="", flush=True)
        await asyncio.sleep(0.1)


async def main() -> None:
    client = OpenAICompatibleClient(APIConfig(timeout=60, rate_limit=600))
    async with AITaskManager(client, max_concurrent=5, requests_per_minute=600) as manager:
        line = asyncio.create_task(show(manager))
        ids = await manager.submit_batch(
            [
                {
                    "task_type": "LLM_CALL",
                    "data": {"prompt": f"Tell me one fact about {topic}.", "max_tokens": 60},
                    "priority": priority,
                }
                for topic in TOPICS
                for priority in PRIORITIES
            ]
        )
        kind = await manager.submit_task(
            TaskType.TEXT_CLASSIFICATION,
            {"text": "The tide comes twice a day.", "categories": ["sea", "sky", "land"]},
        )
        async for task in manager.as_completed(ids, timeout=120):
            assert task.status == "completed", task.error
        print(f"\nclassified as {(await manager.wait_for_task(kind))['category']}")
        line.cancel()
        print(describe(manager.get_statistics()))


if __name__ == "__main__":
    asyncio.run(main())
