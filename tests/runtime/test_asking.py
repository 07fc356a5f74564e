"""Several questions of one task at once, and what is asked wrongly."""

import asyncio

import pytest

from penstock import Manager, Settings, TaskFailed
from penstock.testing import virtually


def make_manager():
    return Manager(Settings(store="memory", seed=1))


async def asked(manager, count):
    while len(found := await manager.approvals()) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return found


@virtually
async def test_an_answer_goes_to_the_branch_whose_details_were_shown():
    manager = make_manager()

    async def handler(context):
        return [
            decision.approved
            for decision in await context.gather(
                *(context.approve("Publish?", details=page) for page in ("good", "bad", "good"))
            )
        ]

    manager.register("report", handler)
    async with manager:
        id = await manager.submit("report")
        for one in await asked(manager, 3):
            await manager.decide(id, one.details == "good", name=one.name)
        assert await manager.wait(id) == [True, False, True]


@virtually
async def test_events_of_one_name_come_in_the_order_of_their_waits():
    manager = make_manager()

    async def handler(context):
        return await context.gather(*(context.wait_for_event("part") for _ in range(8)))

    manager.register("parts", handler)
    async with manager:
        id = await manager.submit("parts")
        await asyncio.sleep(0.5)
        for number in range(8):
            await manager.send_event(id, "part", number)
        assert await manager.wait(id) == list(range(8))


@virtually
async def test_an_approval_runs_in_an_asyncio_task():
    manager = make_manager()

    async def handler(context):
        async with asyncio.TaskGroup() as group:
            running = group.create_task(context.approve("Publish?"))
        return running.result().by

    manager.register("report", handler)
    async with manager:
        id = await manager.submit("report")
        (one,) = await asked(manager, 1)
        await manager.decide(id, True, name=one.name, by="Ada")
        assert await manager.wait(id) == "Ada"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda context: "yes" if context.approve("Pay?") else "no", "nobody was asked yet: write `await`"),
        (lambda context: context.approve(""), "a question is a text"),
        (lambda context: context.approve(None), "a question is a text"),
        (lambda context: context.approve("Pay?", details=object()), "details of a question must be JSON"),
    ],
)
@virtually
async def test_wrong_questions(ask, said):
    manager = make_manager()

    async def handler(context):
        return await ask(context)

    manager.register("report", handler)
    async with manager:
        with pytest.raises(TaskFailed, match=said):
            await manager.wait(await manager.submit("report"))
