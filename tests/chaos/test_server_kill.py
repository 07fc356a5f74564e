"""`kill -9` of the server under load: what was acknowledged ends exactly once, streams resume without gap or
duplicate, and a client that sends its request again with the same key has one task."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
from collections import Counter

import httpx2
import pytest
from rig import MODEL, PENSTOCK

from penstock.simulator import Latency, Output, SimulatorConfig
from penstock.stores.contract import TaskFilter
from penstock.stores.sqlite.store import SqliteStore

SENDERS = 8


def free_port():
    """One that the system gives nobody by itself: it has to be free at each start again."""
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_server(("127.0.0.1", random.randint(20_000, 30_000))) as one,
        ):
            return one.getsockname()[1]


class Served:
    """`penstock serve` in a process, started again after each kill."""

    def __init__(self, folder, provider):
        self.store, self.port = folder / "tasks.db", free_port()
        self.log = open(folder / "serve.log", "ab")  # noqa: SIM115 - open as long as this
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "key-1f9c"}
        self.process = None

    async def start(self):
        options = ["--port", str(self.port), "--store", str(self.store), "--max-concurrent", "16"]
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
            [*PENSTOCK, "serve", *options], env=self.environment, stdout=self.log, stderr=self.log
        )
        async with asyncio.timeout(60), httpx2.AsyncClient() as http:
            while True:
                assert self.process.poll() is None, "the server ended"
                with contextlib.suppress(httpx2.TransportError):
                    if (await http.get(f"{self.url}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.log.close()


class Load:
    """Clients that submit one task after another, each again with the same key until it is acknowledged."""

    def __init__(self, url):
        self.url, self.acknowledged, self.keys, self.going = url, {}, 0, True

    async def send(self):
        async with httpx2.AsyncClient(base_url=self.url, timeout=10) as http:
            while self.going:
                self.keys += 1
                key = f"key-{self.keys}"
                message = {"role": "user", "content": f"Question {self.keys:06}"}
                payload = {"model": MODEL, "messages": [message], "max_tokens": 40}
                body = {"task_type": "llm_call", "payload": payload, "name": key}
                while key not in self.acknowledged:
                    with contextlib.suppress(httpx2.TransportError):
                        reply = await http.post("/tasks", json=body, headers={"idempotency-key": key})
                        if reply.status_code == 202:
                            self.acknowledged[key] = reply.json()["task_id"]
                            break
                        assert reply.status_code == 503, reply.text
                    await asyncio.sleep(0.05)


async def follow(url, seen, until):
    """Follow all events, resuming behind the last one seen, until so many were seen when `until` says."""
    async with httpx2.AsyncClient(base_url=url, timeout=httpx2.Timeout(10, read=30)) as http:
        while True:
            headers = {"last-event-id": str(seen[-1]) if seen else "0"}
            with contextlib.suppress(httpx2.TransportError):
                async with http.stream("GET", "/events", headers=headers) as reply:
                    if reply.status_code == 200:
                        async for line in reply.aiter_lines():
                            if line.startswith("id: "):
                                seen.append(int(line[4:]))
                            if until() is not None and len(seen) >= until():
                                return
            await asyncio.sleep(0.02)


async def kills(folder, provider, count):
    served, chance, seen, events = Served(folder, provider), random.Random(11), [], None
    try:
        await served.start()
        load = Load(served.url)
        senders = [asyncio.create_task(load.send()) for _ in range(SENDERS)]
        following = asyncio.create_task(follow(served.url, seen, lambda: events))
        for _ in range(count):
            enough = len(load.acknowledged) + chance.randint(30, 90)
            async with asyncio.timeout(60):
                while len(load.acknowledged) < enough:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            served.kill()
            await served.start()
        load.going = False
        async with asyncio.timeout(60):
            await asyncio.gather(*senders)
        async with asyncio.timeout(120), httpx2.AsyncClient(base_url=served.url) as http:
            while (now := (await http.get("/stats")).json())["queued_tasks"] + now["running_tasks"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            # Something after the end wakes the follower, which may have seen all by then.
            reader = SqliteStore.open(served.store, read_only=True)
            events = reader.read(lambda reader: reader.last_event()) + 1
            reader.close()
            last = {"task_type": "llm_call", "payload": {"prompt": "last"}, "delay": 1e6}
            assert (await http.post("/tasks", json=last)).status_code == 202
            await following
    finally:
        served.close()
    return served, load, seen


def check(served, load, seen):
    store = SqliteStore.open(served.store, read_only=True)
    try:
        views = store.read(lambda reader: reader.tasks(TaskFilter(), limit=100_000))
        events = store.read(lambda reader: reader.events(0, 10_000_000))
    finally:
        store.close()
    ends = Counter(event.task_id for event in events if event.kind == "finished")
    by_id = {view.id: view for view in views}
    lost = [id for id in load.acknowledged.values() if id not in by_id]
    assert lost == [], "acknowledged, and not there"
    assert len(views) == len(load.acknowledged) + 1 == len(set(load.acknowledged.values())) + 1
    unfinished = {id: ends[id] for id in load.acknowledged.values() if ends[id] != 1}
    assert unfinished == {}, "acknowledged tasks end once"
    bad = [view for view in views if str(view.status) == "failed"]
    assert {view.error["code"] for view in bad} <= {"poison"}
    assert seen == [event.no for event in events][: len(seen)], "a gap or a duplicate in the stream"
    assert len(seen) == len(events)
    return f"{len(load.acknowledged)} acknowledged, {len(bad)} poisoned, {len(seen)} events followed"


def run(tmp_path, serve, count):
    provider = serve(SimulatorConfig(latency=Latency(0.05), output=Output(20)))
    return json.dumps(count) + " kills: " + check(*asyncio.run(kills(tmp_path, provider, count)))


def test_a_server_killed_twice_loses_nothing(tmp_path, serve, figures):
    figures(run(tmp_path, serve, 2))


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_a_server_killed_ten_times_loses_nothing(tmp_path, serve, figures):
    figures(run(tmp_path, serve, 10))
