"""Sizes and times that are none are refused where a task comes in, before anything is ranked by them."""

import math
import time

import pytest

from penstock import Manager, Settings
from penstock.errors import InvalidTask


async def idle(context):
    return None


@pytest.mark.parametrize("field", ["size", "estimated_tokens", "estimated_seconds"])
@pytest.mark.parametrize("given", [-1, math.nan, math.inf, "large"])
async def test_a_size_is_0_or_a_number_above(tmp_path, field, given):
    manager = Manager(Settings(store=str(tmp_path / "a.db")))
    manager.register("idle", idle)
    async with manager:
        with pytest.raises(InvalidTask, match=f"{field} of a 'idle' task must be"):
            await manager.submit("idle", **{field: given})


@pytest.mark.parametrize("fields", [{"deadline": 1e300}, {"slo_seconds": 1e300}, {"delay": 1e300}])
async def test_an_instant_that_no_calendar_shows_is_refused(tmp_path, fields):
    """One such task kept every listing of the store as JSON from being written."""
    manager = Manager(Settings(store=str(tmp_path / "a.db")))
    manager.register("idle", idle)
    async with manager:
        with pytest.raises(InvalidTask, match="must be"):
            await manager.submit("idle", **fields)
        await manager.wait(await manager.submit("idle", deadline=time.time() + 3e9, size=0))
