"""Analyse many repositories in one task: progress while it runs, a callback at the end, all figures."""

import asyncio

from describe_statistics import describe

from penstock import AITask, Priority, TaskConfig, TaskType, create_ai_task_manager

REPOSITORIES = [
    {
        "name": f"project-{number}",
        "description": f"A library that does thing number {number}",
        "language": "Python",
        "stargazers_count": 100 * number,
        "readme": f"# project-{number}\n\nInstall it, import it, be happy.",
    }
    for number in range(1, 9)
]


async def on_done(task: AITask) -> None:
    metrics = task.metrics
    print(
        f"task {task.task_id} is {task.status}: {metrics.tokens_used} tokens, {metrics.actual_cost:.6f} USD, "
        f"{metrics.queue_time:.2f} s in the queue, {metrics.execution_time:.2f} s at work"
    )


async def on_error(task: AITask) -> None:
    print(f"task {task.task_id} failed: {task.error}")


async def on_progress(progress: float, current: float, total: float | None) -> None:
    print(f"{progress:4.0%}: {current:g} of {total:g} repositories")


async def main() -> None:
    manager = await create_ai_task_manager(max_concurrent=4, rate_limit=600, budget_limit=1.0)
    try:
        id = await manager.submit_task(
            TaskType.BATCH_ANALYSIS,
            {"repositories": REPOSITORIES},
            priority=Priority.HIGH,
            config=TaskConfig(
                max_retries=3,
                timeout=300.0,
                callback=on_done,
                error_callback=on_error,
                progress_callback=on_progress,
            ),
            metadata={"requested_by": "examples"},
        )
        for one in await manager.wait_for_task(id, timeout=300):
            told = one["result"]["summary"] if one["success"] else f"failed: {one['error']}"
            print(f"- {one['repo_name']}: {told[:60]}")
        status = manager.get_task_status(id)
        assert status is not None
        print(f"created {status['created_at']}, completed {status['completed_at']}")
        print(describe(manager.get_statistics()))
    finally:
        await manager.stop()


if __name__ == "__main__":
    asyncio.run(main())
