"""Budgets in all, per day and per hour: warn at 80 %, go on until a task is refused, then raise and go on."""

import asyncio

from describe_statistics import describe

from penstock import AITaskManager, PenstockError, TaskType

# USD per million tokens; dear on purpose, so that the budget is used up soon.
PRICES = {"gpt-4o-mini": {"input": 50, "output": 200}}


def warn(manager: AITaskManager) -> bool:
    """Say so when a budget is nearly used up."""
    costs = manager.get_statistics()["cost"]
    nearly = [name for name, cost in costs.items() if (cost["percentage"] or 0) >= 80]
    if nearly:
        print(f"warning: more than 80 % of the {' and '.join(nearly)} budget is spent")
    return bool(nearly)


async def spend_until_refused(manager: AITaskManager) -> int:
    """Ask one question after the other; how many were answered."""
    answered = 0
    while True:
        try:
            id = await manager.submit_task(
                TaskType.LLM_CALL, {"prompt": f"Question {answered}: why is the sea salt?", "max_tokens": 40}
            )
            await manager.wait_for_task(id, timeout=60)
        except PenstockError as error:
            print(f"refused after {answered} answers: {error}")
            return answered
        answered += 1
        warn(manager)


async def main() -> None:
    async with AITaskManager(
        max_concurrent=2,
        requests_per_minute=600,
        budget_limit=1.0,
        daily_limit=0.10,
        hourly_limit=0.05,
        prices=PRICES,
    ) as manager:
        assert await spend_until_refused(manager) > 0
        print(describe(manager.get_statistics()))

        print("raising the hourly limit to that of the day")
        manager.adjust_settings(hourly_limit=0.10)
        assert await spend_until_refused(manager) > 0

        spent = manager.get_statistics()["cost"]
        assert spent["hourly"]["cost"] <= 0.10
        assert spent["daily"]["cost"] <= 0.10
        manager.cost_controller.reset_total_cost()
        assert manager.get_statistics()["cost"]["total"]["cost"] == 0
        print(describe(manager.get_statistics()))


if __name__ == "__main__":
    asyncio.run(main())
