"""The gateway beside calling the provider directly: what it adds to a call, and what waiting calls weigh."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from penstock.cli.bench.gateway_process import GatewayProcess, gateway_process
from penstock.cli.bench.measurement import BenchOptions, Figure, Measurement, at_most
from penstock.cli.bench.processes import peak_bytes, simulator_process
from penstock.cli.bench.rig import scratch
from penstock.model.reservation import Reservation, ReservationState, Settlement
from penstock.simulator import SimulatorConfig
from penstock.stores.sqlite.store import Durability, SqliteStore

CHAT = "/chat/completions"
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 300}], "max_tokens": 16}
ADDED_MS, PARKED_MB = 2.0, 300.0
WARM_UP = 20
PARK_SECONDS = 120.0


def _gateway(options: BenchOptions) -> Iterator[Figure]:
    with simulator_process(SimulatorConfig()) as upstream:
        for durability in options.durable("normal", "full"):
            yield from _overhead(options, upstream, durability)
        yield from _parked(options, upstream)


def _overhead(options: BenchOptions, upstream: str, durability: Durability) -> Iterator[Figure]:
    count = options.size(1_000, 60)
    with scratch(options.directory) as folder, gateway_process(folder, upstream, durability) as gateway:
        direct, through, commit = measured(folder, upstream, gateway, durability, count)
    added = through - direct - 2 * commit
    yield Figure(f"direct call, {durability}", direct, "ms")
    yield Figure(f"commit, {durability}", commit, "ms")
    yield Figure(f"call through the gateway, {durability}", through, "ms", direct)
    yield Figure(
        f"added beyond two commits, {durability}",
        added,
        "ms",
        None,
        at_most(ADDED_MS),
        "medians of calls in turn, one at a time; raw: the same call to the provider directly",
    )


def measured(
    folder: Path, upstream: str, gateway: GatewayProcess, durability: Durability, count: int
) -> tuple[float, float, float]:
    """Milliseconds of a direct call, of one through the gateway and of a commit: medians, taken in turn."""
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    with (
        httpx2.Client(headers={"authorization": "Bearer none"}, timeout=30) as client,
        contextlib.closing(SqliteStore.open(folder / "beside.db", durability)) as store,
    ):
        for number in range(-WARM_UP, count):
            # The direct call last: while it runs, the gateway's settlement is committed.
            for place, url in ((1, gateway.base_url), (0, upstream)):
                begun = time.perf_counter()
                client.post(url + CHAT, json=BODY).raise_for_status()
                times[place].append(time.perf_counter() - begun)
            times[2].append(_commit(store))
            if number < 0:
                for one in times:
                    one.clear()
    direct, through, commit = (1000.0 * statistics.median(one) for one in times)
    return direct, through, commit


def _commit(store: SqliteStore) -> float:
    """Seconds of a commit as a call makes two: half of an intent and its settlement."""
    begun = time.perf_counter()
    now = time.time()
    intent = Reservation(None, 0, "", "gateway", "m", "e", "", 1, now, 80, 20, 1000)
    [id] = store.run(lambda transaction: transaction.reserve([intent]))
    settlement = Settlement(id, ReservationState.SETTLED, now, now, 80, 16, 1000)
    store.run(lambda transaction: transaction.settle([settlement]))
    return (time.perf_counter() - begun) / 2


def _parked(options: BenchOptions, upstream: str) -> Iterator[Figure]:
    count = options.size(2_000, 100)
    with scratch(options.directory) as folder, gateway_process(folder, upstream, "normal", 1) as gateway:
        before = peak_bytes(gateway.pid)
        seconds = asyncio.run(park(gateway, count))
        after = peak_bytes(gateway.pid)
    yield Figure(f"{count:,} calls parked in", seconds, "s")
    if before is not None and after is not None:
        yield Figure("memory of the server before", before / 1e6, "MB")
        yield Figure(
            f"peak memory of the server, {count:,} calls parked",
            after / 1e6,
            "MB",
            None,
            at_most(PARKED_MB),
            "half of the parked calls are streams",
        )


async def park(gateway: GatewayProcess, count: int) -> float:
    """Seconds until so many calls wait in the server at once, each on a connection of its own."""
    begun = time.perf_counter()
    host, _, port = gateway.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
    writers: list[asyncio.StreamWriter] = []
    try:
        for number in range(count + 1):  # the first one goes through
            _, writer = await asyncio.open_connection(host, int(port))
            writers.append(writer)
            writer.write(_request(host, number))
            await writer.drain()
        async with asyncio.timeout(PARK_SECONDS):
            while await asyncio.to_thread(gateway.parked) < count:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        return time.perf_counter() - begun
    finally:
        for writer in writers:
            writer.close()


def _request(host: str, number: int) -> bytes:
    message = {"role": "user", "content": f"{number} " + "x" * 300}
    body = json.dumps({**BODY, "messages": [message], "stream": bool(number % 2)}).encode()
    head = (
        f"POST /v1{CHAT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


GATEWAY = Measurement(
    "gateway", "what the gateway adds to a model call that need not wait, and 2,000 calls that wait", _gateway
)
