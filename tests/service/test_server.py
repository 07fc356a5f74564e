"""`penstock serve` as a process: what it says, what it refuses, and how it stops."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from penstock.cli import main
from penstock.simulator import Latency, Simulator, SimulatorConfig
from penstock.stores.sqlite.store import SqliteStore

SOURCE = str(Path(__file__).resolve().parents[2] / "src")
UPSTREAM_KEY = "sk-canary-4f1b7c99e0aa41d2"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
TASK = {"task_type": "llm_call", "payload": {"prompt": "hello", "model": "gpt-4o-mini"}}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of this kind are of POSIX")


class Process:
    """One `penstock serve`."""

    def __init__(self, folder, *arguments, **environment):
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        given = {**os.environ, "PYTHONPATH": SOURCE, "CANARY_KEY": UPSTREAM_KEY, **environment}
        command = [sys.executable, "-m", "penstock", "serve", "--port", "0", *arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=given, stderr=log)
        self.url = ""

    @property
    def text(self):
        return self.log.read_text()

    async def ready(self):
        async with asyncio.timeout(30):
            while not (found := re.search(r"serves (https?://\S+)", self.text)):
                assert self.process.poll() is None, self.text
                await asyncio.sleep(0.02)
        self.url = found[1]
        return self

    def http(self, **settings):
        return httpx2.AsyncClient(base_url=self.url, timeout=20, **settings)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    async def left(self, seconds=20):
        async with asyncio.timeout(seconds):
            while self.process.poll() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return self.process.returncode


@pytest.fixture
def run(tmp_path):
    started = []

    def start(*arguments, **environment):
        started.append(Process(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


@pytest.fixture
async def upstream():
    async with Simulator(SimulatorConfig()) as running:
        yield running


@pytest.fixture
async def slow():
    async with Simulator(SimulatorConfig(latency=Latency(a=0.8))) as running:
        yield running


async def in_flight(provider, count):
    async with asyncio.timeout(20):
        while provider.stats()["in_flight"] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def nobody_listens(url):
    with contextlib.suppress(httpx2.TransportError):
        async with asyncio.timeout(20), httpx2.AsyncClient() as http:
            while await http.get(url + "/healthz"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def configured(folder, provider, more=""):
    path = folder / "penstock.toml"
    path.write_text(
        f'{more}\n[[upstreams]]\nbase_url = "{provider.base_url}"\nkey_env = "CANARY_KEY"\n'
        '[prices."gpt-4o-mini"]\ninput = 1\noutput = 2\n'
    )
    return ("--config", str(path))


async def test_it_says_where_it_is_and_stops_without_losing_a_task(run, upstream, tmp_path):
    config = configured(tmp_path, upstream, "[limits]\nrequests_per_minute = 1\n[budgets]\ntotal = 5\n")
    server = await run(*config).ready()
    for said in (
        "http://127.0.0.1:", "penstock.db", "this machine only", "1 requests a minute", "5.0 USD in all",
        upstream.base_url,
    ):  # fmt: skip
        assert said in server.text, said
    async with server.http() as http:
        ids = [(await http.post("/tasks", json=TASK)).json()["task_id"] for _ in range(3)]
        parked = asyncio.create_task(http.post("/v1/chat/completions", json=CHAT))
        await asyncio.sleep(0.5)
        server.signal()
        answer = await parked
    assert answer.status_code in (429, 503)
    assert float(answer.headers["retry-after"]) > 0
    assert await server.left() == 0
    assert "stopped" in server.text
    again = await run(*configured(tmp_path, upstream)).ready()
    async with again.http() as http:
        for id in ids:
            async with asyncio.timeout(20):
                while (await http.get(f"/tasks/{id}")).json()["status"] != "completed":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    again.signal(signal.SIGINT)
    assert await again.left() == 0


async def test_a_call_in_flight_ends_while_the_server_stops(run, slow, tmp_path):
    server = await run(*configured(tmp_path, slow)).ready()
    async with server.http() as http:
        # Of an endpoint that nobody knows yet, the first reply is waited for.
        assert (await http.post("/v1/chat/completions", json=CHAT)).status_code == 200
        call = asyncio.create_task(http.post("/v1/chat/completions", json=CHAT))
        task = (await http.post("/tasks", json=TASK)).json()["task_id"]
        await in_flight(slow, 2)
        server.signal()
        await nobody_listens(server.url)
        assert (await call).status_code == 200
    assert await server.left() == 0
    with SqliteStore.open(tmp_path / "penstock.db") as store:
        view = store.read(lambda reader: reader.task(task))
        spent = store.read(lambda reader: reader.spend_sums())
    # The task ended, or goes on later with the reply that is recorded: both calls were paid once.
    assert view.status == "completed" or len(view.steps) == 1
    assert [(one.calls, one.uncertain) for one in spent] == [(3, 0)]


async def test_a_second_signal_leaves_at_once_and_nothing_is_lost(run, tmp_path):
    async with Simulator(SimulatorConfig(latency=Latency(a=60.0))) as stuck:
        server = await run(*configured(tmp_path, stuck)).ready()
        async with server.http() as http:
            task = (await http.post("/tasks", json=TASK)).json()["task_id"]
            call = asyncio.create_task(http.post("/v1/chat/completions", json=CHAT))
            await in_flight(stuck, 1)  # of an endpoint that nobody knows yet, the first reply is waited for
            server.signal()
            await asyncio.sleep(0.3)
            assert server.process.poll() is None
            server.signal()
            assert await server.left() == 130
            await asyncio.gather(call, return_exceptions=True)
    with SqliteStore.open(tmp_path / "penstock.db") as store:
        view = store.read(lambda reader: reader.task(task))
        assert not view.status.final


async def test_a_call_that_takes_longer_than_the_grace_is_cut_off(run, tmp_path):
    async with Simulator(SimulatorConfig(latency=Latency(a=60.0))) as stuck:
        config = configured(tmp_path, stuck, "[server]\ngrace_seconds = 1\n")
        server = await run(*config).ready()
        async with server.http() as http:
            task = (await http.post("/tasks", json=TASK)).json()["task_id"]
            await in_flight(stuck, 1)
            server.signal()
            assert await server.left() == 0
    with SqliteStore.open(tmp_path / "penstock.db") as store:
        assert not store.read(lambda reader: reader.task(task)).status.final


async def test_beyond_this_machine_it_asks_for_keys(run, upstream, tmp_path, capsys, monkeypatch):
    config = configured(tmp_path, upstream)
    refused = run(*config, "--host", "0.0.0.0")
    assert await refused.left() == 2
    assert "penstock keys add" in refused.text
    assert "Traceback" not in refused.text
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(
            ["keys", "add", "ci", "--tenant", "acme", "--requests-per-minute", "30", "--store", "penstock.db"]
        )
    key = capsys.readouterr().out.strip()
    server = await run(*config, "--host", "0.0.0.0").ready()
    assert "1 for 1 tenant" in server.text
    assert key not in server.text
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    async with server.http() as http:
        assert (await http.get("/tasks")).status_code == 401
        assert (await http.get("/tasks", headers={"x-api-key": key})).status_code == 200
        with pytest.raises(SystemExit):
            main(["keys", "remove", "ci", "--store", "penstock.db"])
        async with asyncio.timeout(10):
            while (await http.get("/tasks", headers={"x-api-key": key})).status_code == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await http.get("/tasks")).status_code == 401  # not open to everybody


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[upstreams]]\nbase_url = "http://x/v1"\napi_key = "sk-canary-secret"\n', "key_env or key_file"),
        ("[server]\ngrace_seconds = 'sk-canary-secret'\n", "server.grace_seconds"),
        ("[server]\nprot = 1\n", "no such setting"),
        ('[[upstreams]]\nbase_url = "http://x/v1"\nkey_env = "NOT_THERE"\n', "NOT_THERE"),
        ("[server\n", "no TOML"),
        ('[server]\nhost = "203.0.113.77"\n', "cannot listen"),
        ("[tenants.a]\nweight = 2\n", "strategy fair"),
        ("[engine]\nmodules = ['no_such_module']\n", "no_such_module"),
    ],
)
def test_what_a_user_can_mend_is_one_line(tmp_path, capsys, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(SystemExit) as left:
        main(["serve", "--config", "wrong.toml", "--port", "0"])
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert said in told
    assert "sk-canary" not in told
    assert told.count("\n") == 1


async def test_a_store_that_another_server_uses_and_a_port_that_is_taken(run, upstream, tmp_path):
    first = await run(*configured(tmp_path, upstream)).ready()
    second = run(*configured(tmp_path, upstream))
    assert await second.left() == 2
    assert str(first.process.pid) in second.text
    third = run(
        *configured(tmp_path, upstream), "--port", first.url.rpartition(":")[2], "--store", "other.db"
    )
    assert await third.left() == 2
    assert "cannot listen" in third.text
    assert "Traceback" not in second.text + third.text


async def test_slow_and_large_clients_are_cut_off(run, upstream, tmp_path):
    bounds = "header_seconds = 0.4\nbody_seconds = 0.4\nheader_bytes = 4096\nmax_upload = 100000\n"
    server = await run(*configured(tmp_path, upstream, f"[server]\n{bounds}")).ready()
    port = int(server.url.rpartition(":")[2])

    async def talk(*parts, pause=0.0):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            return await asyncio.wait_for(reader.read(65_536), 5)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    began = time.monotonic()
    silent, trickling = await asyncio.gather(
        talk(), talk(*[bytes([letter]) for letter in b"GET / HTTP/1.1"], pause=0.1)
    )
    assert (silent, trickling) == (b"", b"")
    assert time.monotonic() - began < 4
    head = b"POST /tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    assert b"408" in (await talk(head + b"content-length: 5000\r\n\r\n{")).split(b"\r\n")[0]
    many = b"".join(b"x-%d: 1\r\n" % place for place in range(150))
    assert b"431" in (await talk(b"GET /tasks HTTP/1.1\r\nhost: localhost\r\n" + many + b"\r\n"))
    large = b"x-large: " + b"a" * 9_000 + b"\r\n"
    assert (await talk(b"GET /tasks HTTP/1.1\r\nhost: localhost\r\n" + large + b"\r\n")).split()[1] in (
        b"400", b"431",
    )  # fmt: skip
    async with server.http() as http:
        answer = await http.post(
            "/tasks", content=b"[" + b" " * 200_000, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize("format", ["text", "json"])
async def test_secrets_are_nowhere(run, tmp_path, capsys, monkeypatch, format):
    """The key of the upstream, which it echoes in its errors, and that of a client."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["keys", "add", "all", "--scopes", "admin", "--store", "penstock.db"])
    key = capsys.readouterr().out.strip()
    echo = await asyncio.start_server(echoing, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{echo.sockets[0].getsockname()[1]}/v1"
    more = f'[log]\nformat = "{format}"\nlevel = "debug"\nrequests = true\n'
    provider = type("Provider", (), {"base_url": address})
    server = await run(*configured(tmp_path, provider, more)).ready()
    seen = []
    async with server.http(headers={"authorization": f"Bearer {key}"}) as http:
        task = {**TASK, "max_retries": 0}
        id = (await http.post("/tasks", json=task)).json()["task_id"]
        for _ in range(200):
            answer = await http.get(f"/tasks/{id}")
            if answer.json()["status"] == "failed":
                break
            await asyncio.sleep(0.05)
        seen.append(answer.text)
        for path in (f"/tasks?status=failed&key={key}", "/stats", "/metrics", "/settings", "/v1/models"):
            seen.append((await http.get(path)).text)
        seen.append((await http.post("/v1/chat/completions", json=CHAT)).text)
        seen.append((await http.post("/tasks", content=b"{", headers={"x-api-key": key})).text)
    server.signal()
    assert await server.left() == 0
    echo.close()
    everything = "\n".join([*seen, server.text])
    for file in (one for one in tmp_path.rglob("penstock.db*") if one.is_file()):
        everything += file.read_bytes().decode("latin-1")
    for secret in (UPSTREAM_KEY, key):
        place = everything.find(secret)
        assert place < 0, everything[max(0, place - 300) : place + 100]
    if format == "json":
        lines = [json.loads(line) for line in server.text.splitlines() if line.startswith("{")]
        assert len(lines) > 5
        assert any(one.get("task_id") == id for one in lines)
        assert any(one["logger"] == "penstock.access" and one["status"] == 202 for one in lines)


async def echoing(reader, writer):
    """A provider that answers with the headers it was sent."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    body = json.dumps(
        {"error": {"message": f"wrong: {head}", "code": "invalid_api_key", "type": "x"}}
    ).encode()
    writer.write(
        b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    writer.write(body)
    await writer.drain()
    writer.close()
