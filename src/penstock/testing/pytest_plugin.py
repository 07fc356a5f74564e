"""Fixtures for tests of one's own tasks. Loaded in every run of pytest, so nothing is imported until a test
asks for it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from penstock import AITaskManager, SyncTaskManager
    from penstock.simulator import SimulatorConfig
    from penstock.testing import Harness, SimulatedProvider

_OPENED = pytest.StashKey[list[Any]]()


@pytest.fixture
def penstock_simulator_config() -> SimulatorConfig | None:
    """How the simulator answers where a test says nothing; to be overridden."""
    return None


@pytest.fixture
def penstock_settings() -> dict[str, Any]:
    """Keywords for the managers, as `AITaskManager` takes them; to be overridden."""
    return {}


@pytest.fixture
def penstock_simulator(
    penstock_simulator_config: SimulatorConfig | None,
) -> Iterator[SimulatedProvider]:
    """A simulated provider in this process: a `penstock.testing.SimulatedProvider`."""
    from penstock.testing import SimulatedProvider

    with SimulatedProvider(penstock_simulator_config) as provider:
        yield provider


@pytest.fixture
def penstock_manager(
    request: pytest.FixtureRequest, penstock_simulator: SimulatedProvider, penstock_settings: dict[str, Any]
) -> AITaskManager:
    """An `AITaskManager` on a store in memory and the simulator; it runs while an async test runs."""
    manager = penstock_simulator.manager(**penstock_settings)
    _opened_by(request).append(manager)
    return manager


@pytest.fixture
def penstock_harness(request: pytest.FixtureRequest, penstock_manager: AITaskManager) -> Harness:
    """The same manager in a `penstock.testing.Harness`: nothing starts by itself."""
    from penstock.testing import Harness

    harness = Harness(penstock_manager)
    _opened_by(request).insert(0, harness)  # it starts the manager, which finds itself running then
    return harness


@pytest.fixture
def penstock_sync_manager(
    penstock_simulator: SimulatedProvider, penstock_settings: dict[str, Any]
) -> Iterator[SyncTaskManager]:
    """A running `SyncTaskManager` on a store in memory and the simulator, for plain tests."""
    from penstock.manager.synchronous import SyncTaskManager

    given = {"store": "memory", "requests_per_minute": None, "seed": 0, **penstock_settings}
    with SyncTaskManager(penstock_simulator.client(), **given) as manager:
        yield manager


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Open what the fixtures made on the loop that the test runs on, whoever runs it."""
    opened = item.stash.get(_OPENED, None)
    if not opened:
        yield
        return
    from penstock.testing.opening import everything_open, to_open

    test = getattr(item, "obj", None)
    token = to_open.set(tuple(opened))
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def opened_test(*args: Any, **kwargs: Any) -> Any:
            async with everything_open():
                return await test(*args, **kwargs)

        item.obj = opened_test  # type: ignore[attr-defined]
    try:
        yield
    finally:
        to_open.reset(token)
        if inspect.iscoroutinefunction(test):
            item.obj = test  # type: ignore[attr-defined]


def _opened_by(request: pytest.FixtureRequest) -> list[Any]:
    opened: list[Any] = request.node.stash.setdefault(_OPENED, [])
    return opened
