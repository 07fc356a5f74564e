"""A handler that wants to end the program ends its own attempt."""

import sys

import pytest

from penstock import TaskFailed, TaskOptions


@pytest.mark.parametrize("kind", ["async", "plain", "branch"])
async def test_sys_exit_fails_the_attempt_and_nobody_else(world, kind, eventually):
    async def leaves(context):
        sys.exit(3)

    def leaves_plainly(context):
        sys.exit(3)

    async def leaves_in_a_branch(context):
        await context.gather(context.gather(leaves(context)), context.sleep(60))

    kinds = {"async": leaves, "plain": leaves_plainly, "branch": leaves_in_a_branch}
    world.handle(kinds[kind], "leaving")

    async def stays(context):
        return "well"

    world.handle(stays, "staying")
    await world.start()
    leaving = await world.manager.submit("leaving", options=TaskOptions(max_retries=0))
    staying = await world.manager.submit("staying")
    assert await world.manager.wait(staying, timeout=10) == "well"
    with pytest.raises(TaskFailed, match="SystemExit"):
        await world.manager.wait(leaving, timeout=10)
    await eventually(world.idle_again)
