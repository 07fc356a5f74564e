"""Hypothesis profiles: the same examples every time, and HYPOTHESIS_PROFILE=explore for new ones. And a wait
that tests of many rooms use."""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, settings

# A shared two-core machine is slow now and then: time is pytest-timeout's business.
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "same")


@pytest.fixture
def eventually():
    """Wait until a condition holds."""

    async def wait(condition, seconds=20):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (conditions of many kinds)
                await asyncio.sleep(0.005)

    return wait
