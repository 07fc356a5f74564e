"""Refusals, faults, time and the books, over a port and without one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from penstock.simulator import (
    Faults,
    Latency,
    Limits,
    Output,
    Simulator,
    SimulatorConfig,
    create_app,
    request_hash,
)
from penstock.simulator.faults import draw_fault
from penstock.simulator.wire import go_duration
from penstock.testing import virtually

PATH = "/v1/chat/completions"


def chat(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def in_process(sim: Simulator) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=sim.transport(), base_url="http://sim")


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.012, "12ms"),
        (7.66, "7.66s"),
        (360, "6m0s"),
        (62.5, "1m2.5s"),
        (3602, "1h0m2s"),
        (59.9999, "1m0s"),
    ],
)
def test_durations_as_the_headers_write_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


async def test_a_refused_call_has_the_real_shape() -> None:
    async with Simulator(SimulatorConfig(limits=Limits(1, 500, 60.0, "fixed"))) as sim:
        async with openai.AsyncOpenAI(base_url=sim.base_url, api_key="k", max_retries=0) as client:
            with pytest.raises(
                openai.RateLimitError, match=r"Request too large .*Limit 500, Requested 1003"
            ) as huge:
                await client.chat.completions.create(**chat("x" * 4000))
            assert "retry-after" not in huge.value.response.headers
            await client.chat.completions.create(**chat())
            with pytest.raises(openai.RateLimitError, match="Rate limit reached") as refused:
                await client.chat.completions.create(**chat())
        headers = refused.value.response.headers
        assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "requests")
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert 55 <= int(headers["retry-after"]) <= 60
        assert 55_000 <= int(headers["retry-after-ms"]) <= 60_000
        async with anthropic.AsyncAnthropic(base_url=sim.root_url, api_key="k", max_retries=0) as claude:
            with pytest.raises(anthropic.RateLimitError) as other:
                await claude.messages.create(**chat(max_tokens=5))
        assert other.value.body["error"]["type"] == "rate_limit_error"
        assert other.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
        stats = sim.stats()
    assert (stats["calls"], stats["answered"], stats["refused"], stats["too_large"]) == (4, 1, 3, 1)
    assert stats["limits"]["default"]["requests"]["windows"] == [1]
    assert stats["violations"] == 0


async def test_models_have_limits_of_their_own() -> None:
    config = SimulatorConfig(limits=Limits(5), limits_by_model={"small": Limits(1)})
    sim = Simulator(config)
    async with in_process(sim) as http:
        found = [
            (await http.post(PATH, json=chat() | {"model": name})).status_code
            for name in ("m", "small", "small", "n")
        ]
    assert found == [200, 200, 429, 200]
    books = sim.stats()["limits"]
    assert (books["default"]["requests"]["windows"], books["small"]["requests"]["windows"]) == ([2], [1])


async def test_limits_follow_the_clock_that_was_given() -> None:
    now = 50.0
    app = create_app(SimulatorConfig(limits=Limits(1, None, 60.0, "sliding")), clock=lambda: now)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://sim") as http:
        first, second = await http.post(PATH, json=chat()), await http.post(PATH, json=chat())
        now += 60.0
        third = await http.post(PATH, json=chat())
    assert [reply.status_code for reply in (first, second, third)] == [200, 429, 200]
    assert second.headers["retry-after-ms"] == "60000"
    assert second.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert app.state.provider.run.report()["limits"]["default"]["requests"]["windows"] == [1, 1]


def test_faults_come_from_the_seed_and_the_number_alone() -> None:
    faults = Faults(error_500=0.1, hang=0.1, cut=0.1, malformed=0.1)
    drawn = [draw_fault(faults, 7, number) for number in range(4000)]
    assert drawn == [draw_fault(faults, 7, number) for number in range(4000)]
    assert drawn != [draw_fault(faults, 8, number) for number in range(4000)]
    for name in ("error_500", "hang", "cut", "malformed"):
        assert 0.08 < drawn.count(name) / 4000 < 0.12  # type: ignore[arg-type]
    assert set(drawn) == {None, "error_500", "hang", "cut", "malformed"}
    with pytest.raises(ValueError, match="faults:"):
        Faults(error_500=0.6, cut=0.6)


@pytest.mark.parametrize(
    ("fault", "status", "code", "kind"),
    [
        ("error_500", 500, None, "server_error"),
        ("error_503", 503, None, "server_error"),
        ("overloaded", 503, "server_is_overloaded", "server_error"),
        ("insufficient_quota", 429, "credit_balance_exhausted", "insufficient_quota"),
    ],
)
async def test_errors_are_not_billed(fault: str, status: int, code: str | None, kind: str) -> None:
    sim = Simulator(SimulatorConfig(faults=Faults(**{fault: 1.0}), limits=Limits(1)))
    async with in_process(sim) as http:
        replies = [await http.post(PATH, json=chat()) for _ in range(3)]
        messages = await http.post("/v1/messages", json=chat(max_tokens=4))
    assert {reply.status_code for reply in replies} == {status}
    error = replies[0].json()["error"]
    assert (error["code"], error["type"], "retry-after" in replies[0].headers) == (code, kind, False)
    assert messages.status_code == (529 if fault == "overloaded" else status)
    stats = sim.stats()
    assert (stats["billed"], stats["refused"], stats["faults"]) == (0, 0, {fault: 4})


async def test_errors_use_up_limits_when_told_to() -> None:
    sim = Simulator(SimulatorConfig(faults=Faults(error_500=1.0, errors_count=True), limits=Limits(2)))
    async with in_process(sim) as http:
        found = [(await http.post(PATH, json=chat())).status_code for _ in range(3)]
    assert found == [500, 500, 429]


async def test_a_burst_of_refusals_ends() -> None:
    now = 0.0
    config = SimulatorConfig(seed=1, faults=Faults(burst_429=0.02, burst_seconds=3.0))
    app = create_app(config, clock=lambda: now)
    codes, refused_at = set(), []
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://sim") as http:
        for step in range(400):
            now = step * 0.5
            reply = await http.post(PATH, json=chat())
            if reply.status_code == 429:
                refused_at.append(step)
                codes.add(reply.json()["error"]["code"])
                assert 0 < int(reply.headers["retry-after-ms"]) <= 3000
    assert codes == {"slow_down", "rate_limit_exceeded"}
    assert 0 < len(refused_at) < 200
    assert all(step + 1 in refused_at for step in refused_at if step - 1 not in refused_at)
    assert app.state.provider.run.report()["refused"] == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_reply_is_billed_and_not_answered(stream: bool) -> None:
    config = SimulatorConfig(faults=Faults(cut=1.0))
    body = chat(stream=stream)
    async with Simulator(config) as sim, httpx2.AsyncClient(base_url=sim.root_url) as http:
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.post(PATH, json=body)
        await until(lambda: sim.stats()["in_flight"] == 0)
        with pytest.raises(httpx2.RemoteProtocolError):
            async with in_process(sim) as direct:
                await direct.post(PATH, json=body)
        assert sim.paid_for(request_hash(PATH, body)) == (0, 2)
        assert sim.stats()["paid"]["answered_twice"] == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_malformed_reply_is_billed_and_broken(stream: bool) -> None:
    sim = Simulator(SimulatorConfig(faults=Faults(malformed=1.0)))
    async with in_process(sim) as http:
        reply = await http.post(PATH, json=chat(stream=stream))
    assert reply.status_code == 200
    lines = reply.text.split("\n\n") if stream else [reply.text]
    with pytest.raises(json.JSONDecodeError):
        [json.loads(line.removeprefix("data: ")) for line in lines if line and line != "data: [DONE]"]
    assert sim.paid_for(request_hash(PATH, chat())) == (0, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hang_lasts_until_the_client_goes(stream: bool) -> None:
    config = SimulatorConfig(faults=Faults(hang=1.0), limits=Limits(None, 1000, 60.0, "sliding"))
    async with Simulator(config) as sim, httpx2.AsyncClient(base_url=sim.root_url) as http:
        with pytest.raises(httpx2.ReadTimeout):
            await http.post(PATH, json=chat(stream=stream), timeout=httpx2.Timeout(20, read=0.2))
        await until(lambda: sim.stats()["billed"] == 1)
        stats = sim.stats()
    assert (stats["paid"]["cut"], stats["abandoned"], stats["in_flight"]) == (1, 0, 0)
    assert stats["limits"]["default"]["tokens"]["windows"] == [5 + 64]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_has_paid(stream: bool) -> None:
    config = SimulatorConfig(latency=Latency(0.05, 0.0, 1.0))
    async with Simulator(config) as sim, httpx2.AsyncClient(base_url=sim.root_url) as http:
        with pytest.raises(httpx2.ReadTimeout):
            await http.post(PATH, json=chat(stream=stream), timeout=httpx2.Timeout(20, read=0.2))
        await until(lambda: sim.stats()["billed"] == 1)
        stats = sim.stats()
    assert (stats["abandoned"], stats["answered"], stats["tokens"]) == (1, 0, {"input": 5, "output": 64})


async def test_stopping_drops_calls_in_flight() -> None:
    config = SimulatorConfig(latency=Latency(a=3600))
    async with Simulator(config) as sim, httpx2.AsyncClient(base_url=sim.root_url) as http:
        call = asyncio.create_task(http.post(PATH, json=chat()))
        await until(lambda: sim.stats()["in_flight"] == 1)
        await sim.stop()
        with pytest.raises(httpx2.HTTPError):
            (await call).raise_for_status()


@virtually
async def test_latency_and_its_slow_start() -> None:
    config = SimulatorConfig(
        latency=Latency(0.02, 0.002, 0.002),
        output=Output(mean=20),
        faults=Faults(slow_start_seconds=0.1, slow_start_factor=4.0),
    )
    sim = Simulator(config)
    time = asyncio.get_running_loop().time
    async with in_process(sim) as http:
        start = time()
        await http.post(PATH, json=chat())
        slow = time() - start
        start = time()
        await http.post(PATH, json=chat())
        usual = time() - start
    assert slow >= 0.07 * 4 - 0.002
    assert 0.07 - 0.002 <= usual < 0.28


async def test_a_stream_is_spread_over_its_output_time() -> None:
    config = SimulatorConfig(latency=Latency(0.05, 0.0, 0.005), output=Output(mean=40), stream_chunk_tokens=4)
    time = asyncio.get_running_loop().time
    async with Simulator(config) as sim, httpx2.AsyncClient(base_url=sim.root_url) as http:
        start = time()
        async with http.stream("POST", PATH, json=chat(stream=True)) as reply:
            seen = [time() - start async for line in reply.aiter_lines() if line.startswith("data: {")]
    assert seen[0] >= 0.05 - 0.002
    assert seen[-1] >= 0.25 - 0.002
    assert len({round(moment, 2) for moment in seen}) > 5


async def test_the_books_know_who_paid_twice() -> None:
    sim = Simulator()
    async with in_process(sim) as http:
        for text in ("a", "b", "a", "c", "a"):
            await http.post(PATH, json=chat(text))
        # The same request as a stream is the same request.
        await http.post(PATH, json=chat("c", stream=True, stream_options={"include_usage": True}))
        stats = (await http.get("/simulator/stats", params={"paid": "all"})).json()
        assert (await http.post("/simulator/reset")).json() == {"reset": True}
    paid = stats["paid"]
    names = {text: request_hash(PATH, chat(text)) for text in "abc"}
    assert paid["all"] == {names["a"]: [3, 0], names["b"]: [1, 0], names["c"]: [2, 0]}
    assert (paid["requests"], paid["twice"], paid["answered_twice"], paid["cut"]) == (3, 2, 2, 0)
    assert set(paid["more_than_once"]) == {names["a"], names["c"]}
    assert sim.stats()["calls"] == 0


async def test_many_calls_at_once_are_all_counted() -> None:
    async with Simulator(SimulatorConfig(latency=Latency(a=0.3))) as sim:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=sim.root_url, limits=limits, timeout=30) as http:
            replies = await asyncio.gather(*(http.post(PATH, json=chat(str(n))) for n in range(60)))
        stats = sim.stats()
    assert {reply.status_code for reply in replies} == {200}
    assert (stats["answered"], stats["paid"]["requests"], stats["in_flight"]) == (60, 60, 0)
    assert stats["max_in_flight"] > 20
