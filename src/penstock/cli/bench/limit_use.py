"""How much of a provider's limit is used, and how many calls it refuses, by the simulator's own books."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import mean
from typing import Any

import httpx2

from penstock.cli.bench.limit_cases import LimitCase, limit_cases
from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement
from penstock.cli.bench.processes import SPAWN, simulator_process
from penstock.cli.bench.rig import scratch
from penstock.errors import ConfigurationError, PenstockError
from penstock.llm.endpoint import Endpoint
from penstock.manager import Manager, Submission
from penstock.runtime.client import ModelClient
from penstock.runtime.settings import Limits, Settings
from penstock.task_types import llm_request

# More than fits, so that the line never runs dry; the first window of a bucket holds two limits.
SURPLUS, CHUNK = 1.5, 200


@dataclass(frozen=True, slots=True)
class CaseUse:
    """Use of each window that counts (all but the first and the last), and calls that were refused."""

    windows: list[float]
    refused: int


def _limits(options: BenchOptions) -> Iterator[Figure]:
    cases = limit_cases(options.cases)
    if not cases:
        raise ConfigurationError(
            f"no case of limits has {options.cases!r} in its name, such as {limit_cases()[0].name!r}"
        )
    if options.windows < 3:
        raise ConfigurationError("--windows must be at least 3: the first and the last do not count")
    with ProcessPoolExecutor(options.parallel, mp_context=SPAWN) as pool:
        runs = [pool.submit(limit_use, options, case) for case in cases]
        try:
            for case, run in zip(cases, runs, strict=True):
                yield from _figures(case, run.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _figures(case: LimitCase, use: CaseUse) -> Iterator[Figure]:
    each = f"{case.name}: windows " + " ".join(f"{share:.1%}" for share in use.windows)
    yield Figure(f"{case.name}: use", mean(use.windows) * 100, "%", None, case.use_target, each)
    yield Figure(f"{case.name}: least window", min(use.windows) * 100, "%")
    yield Figure(f"{case.name}: refused", use.refused, "calls", None, case.refused_target)


def limit_use(options: BenchOptions, case: LimitCase) -> CaseUse:
    """Run one case to the end of its last window."""
    with (
        scratch(options.directory) as folder,
        simulator_process(case.provider(options.window_seconds)) as base_url,
    ):
        settings = Settings(
            store=str(folder / "bench.db"),
            durability=options.durable("normal")[0],
            max_concurrent=300,
            limits=Limits(rates=case.rates(options.window_seconds)),
            counts=case.counted,
        )
        return asyncio.run(_use(options, case, settings, base_url))


async def _use(options: BenchOptions, case: LimitCase, settings: Settings, base_url: str) -> CaseUse:
    manager = Manager(settings)
    client: ModelClient

    manager.register(
        llm_request.NAME,
        llm_request.handler(lambda: client),
        check=llm_request.check,
        model=llm_request.model,
    )
    await manager.start()
    try:
        client = ModelClient(manager.node.services.exchange, [Endpoint(base_url, "key-of-the-bench")])
        await _add(
            manager, case, int(SURPLUS * case.per_second() * options.window_seconds * (options.windows + 2))
        )
        stats = await _last_window(options, base_url)
    finally:
        await manager.stop(now=True)
    books = stats["limits"]["default"][case.bound]
    return CaseUse(books["utilisation"][1 : options.windows - 1], stats["refused"])


async def _add(manager: Manager, case: LimitCase, count: int) -> None:
    data = ({"url": "/v1/chat/completions", "body": body} for body in itertools.islice(case.bodies(), count))
    while chunk := list(itertools.islice(data, CHUNK)):
        await manager.submit_many([Submission(llm_request.NAME, one) for one in chunk])


async def _last_window(options: BenchOptions, base_url: str) -> dict[str, Any]:
    """The simulator's statistics once the last window is over."""
    patience = time.monotonic() + (options.windows + 3) * options.window_seconds + 30
    async with httpx2.AsyncClient() as client:
        while time.monotonic() < patience:
            await asyncio.sleep(options.window_seconds / 20)
            stats: dict[str, Any] = (await client.get(httpx2.URL(base_url).join("/simulator/stats"))).json()
            if any(len(book["windows"]) > options.windows for book in _books(stats)):
                return stats
    raise PenstockError(f"the simulator saw fewer than {options.windows} windows of calls; it says {stats}")


def _books(stats: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for limiter in stats["limits"].values():
        yield limiter["requests"]
        yield limiter["tokens"]


LIMITS = Measurement(
    "limits", "use of a provider's limit and refused calls, against the simulator", _limits, long=True
)
