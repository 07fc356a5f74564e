"""Calls that wait: held, told to come back to their place, kept alive, given up."""

import asyncio
from dataclasses import replace

import pytest
from openai import APIError, AsyncOpenAI

from penstock.admission import RateLimit
from penstock.simulator import Latency, SimulatorConfig

MODEL = "gpt-4o-mini"
CHAT = "/v1/chat/completions"
SHUT = (RateLimit("requests", 1, 1000.0),)


def body(text="Say hello", **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


async def shut(serve, **settings):
    """A face whose gate lets nobody through any more."""
    served = await serve(rates=SHUT, **settings)
    async with served.http() as http:
        assert (await http.post(CHAT, json=body("the first"))).status_code == 200
    return served


def open_gate(served):
    engine = served.engine
    engine.adjust(replace(engine.settings, limits=replace(engine.settings.limits, rates=())))


def waiting(served):
    return len(served.engine.node.admitter.waiters())


async def test_a_held_call_is_told_to_come_back(serve):
    served = await shut(serve, hold_seconds=0.15)
    async with served.http() as http:
        reply = await http.post(CHAT, json=body())
    assert reply.status_code == 429
    assert reply.json()["error"]["code"] == "still_waiting"
    assert reply.headers["x-should-retry"] == "true"
    assert 0 < int(reply.headers["retry-after"]) <= 120
    assert int(reply.headers["retry-after-ms"]) > 0
    assert reply.headers["x-ratelimit-limit-requests"] == "1"
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
    assert reply.headers["x-request-id"]
    assert waiting(served) == 0
    assert len(served.service.gateway.tickets) == 1


async def test_a_ticket_keeps_the_place(serve, eventually):
    served = await shut(serve, max_concurrent=1)
    order = []

    async def call(http, text, hold):
        reply = await http.post(CHAT, json=body(text), headers={"x-penstock-hold": str(hold)})
        if reply.status_code == 200:
            order.append(text)
        return reply.status_code

    async with served.http() as http:
        assert await call(http, "early", 0.1) == 429
        others = asyncio.create_task(call(http, "late", 30))
        await eventually(lambda: waiting(served) == 1)
        again = asyncio.create_task(call(http, "early", 30))
        await eventually(lambda: waiting(served) == 2)
        open_gate(served)
        assert await asyncio.gather(others, again) == [200, 200]
    assert order == ["early", "late"]
    assert len(served.service.gateway.tickets) == 0


async def test_the_sdk_comes_back_by_itself(serve, eventually):
    served = await shut(serve, hold_seconds=0.2)
    async with AsyncOpenAI(base_url=served.base_url, api_key="k", max_retries=20) as client:
        call = asyncio.create_task(client.chat.completions.create(**body()))
        await eventually(lambda: len(served.service.gateway.tickets) == 1)
        await eventually(lambda: waiting(served) == 1)  # it is here again
        open_gate(served)
        assert (await call).choices[0].message.content


async def test_a_client_that_goes_away_leaves_the_line_without_cost(serve, eventually):
    served = await shut(serve)
    async with served.http() as http:
        for stream in (False, True):
            call = asyncio.create_task(http.post(CHAT, json=body(stream=stream)))
            await eventually(lambda: waiting(served) == 1)
            call.cancel()
            await eventually(lambda: waiting(served) == 0)
            await eventually(lambda: served.service.gateway.parked == 0)
    booked = served.engine.peek(lambda reader: reader.recent_reservations(0.0))
    assert len(booked) == 1
    assert served.engine.node.services.slots.taken == 0


async def test_a_deadline_that_passes_in_line(serve):
    served = await shut(serve)
    async with served.http() as http:
        reply = await http.post(CHAT, json=body(), headers={"x-penstock-deadline": "0.15"})
        assert reply.status_code == 408
        assert reply.headers["x-should-retry"] == "false"
        passed = await http.post(CHAT, json=body(), headers={"x-penstock-deadline": "2001-01-01T00:00:00Z"})
    assert passed.status_code == 400
    assert passed.json()["error"]["param"] == "x-penstock-deadline"


async def test_a_stream_is_kept_alive_while_it_waits(serve, eventually):
    served = await shut(serve, keep_alive_seconds=0.05)
    async with served.http() as http, http.stream("POST", CHAT, json=body(stream=True)) as reply:
        assert reply.status_code == 200
        assert "event-stream" in reply.headers["content-type"]
        lines = reply.aiter_lines()
        for _ in range(3):
            assert await anext(lines) == ": waiting"
            assert await anext(lines) == ""
        open_gate(served)
        rest = [line async for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert any(line.startswith(": cost 0.0") for line in rest)
    assert any(line.startswith("data: {") for line in rest)


async def test_an_error_behind_the_headers_of_a_stream(serve, eventually):
    served = await shut(serve, keep_alive_seconds=0.05, simulator=SimulatorConfig(models=(MODEL,)))
    async with AsyncOpenAI(base_url=served.base_url, api_key="k", max_retries=0) as client:
        stream = asyncio.create_task(client.chat.completions.create(**{**body(stream=True), "model": "no"}))
        chunks = (await stream).__aiter__()  # its headers are here
        open_gate(served)
        with pytest.raises(APIError, match="no"):
            await anext(chunks)


async def test_a_reader_that_goes_away_mid_stream_is_booked(serve, eventually):
    served = await serve(simulator=SimulatorConfig(latency=Latency(0.0, 0.0, 0.05)))
    async with served.http() as http:
        async with http.stream("POST", CHAT, json=body(stream=True, max_tokens=64)) as reply:
            await anext(reply.aiter_bytes())

        def booked():
            return served.engine.peek(lambda reader: reader.recent_reservations(0.0))

        await eventually(lambda: [one.state for one in booked()] == ["uncertain"])
    assert booked()[0].cost_held > 0
    await eventually(lambda: served.engine.node.services.slots.taken == 0)


async def test_a_plain_call_under_way_is_finished_for_a_client_that_left(serve, eventually):
    served = await serve(simulator=SimulatorConfig(latency=Latency(0.4)))
    async with served.http() as http:
        call = asyncio.create_task(http.post(CHAT, json=body()))
        await eventually(lambda: served.engine.node.services.slots.taken == 1)
        call.cancel()

        def states():
            return [one.state for one in served.engine.peek(lambda reader: reader.recent_reservations(0.0))]

        await eventually(lambda: states() == ["settled"])


async def test_a_graceful_restart_keeps_the_places(serve, eventually):
    served = await shut(serve)
    async with served.http() as http:
        plain = asyncio.create_task(http.post(CHAT, json=body("plain")))
        stream = asyncio.create_task(http.post(CHAT, json=body("stream", stream=True)))
        await eventually(lambda: waiting(served) == 2)
        stopping = asyncio.create_task(serve.stop(served))
        for reply in (await plain, await stream):
            assert reply.status_code == 503
            assert reply.headers["x-should-retry"] == "true"
            assert "place is kept" in reply.json()["error"]["message"]
    await stopping
    served = await serve()
    assert len(served.service.gateway.tickets) == 2
    async with served.http() as http:
        assert (await http.post(CHAT, json=body("plain"))).status_code == 200
    assert len(served.service.gateway.tickets) == 1


async def test_visitors_share_fairly_and_follow_a_switch(serve, eventually):
    # In tokens: how many seconds a call takes is up to the machine.
    served = await shut(serve, strategy="fair", max_concurrent=1, size_in="tokens")
    order = []

    async def call(http, tenant, number, priority="MEDIUM"):
        headers = {"x-penstock-tenant": tenant, "x-penstock-priority": priority}
        reply = await http.post(CHAT, json=body(f"{tenant} {number}", max_tokens=8), headers=headers)
        assert reply.status_code == 200
        order.append(tenant)

    async with served.http() as http:
        first = [asyncio.create_task(call(http, "ada", n)) for n in range(6)]
        await eventually(lambda: waiting(served) == 6)
        second = [asyncio.create_task(call(http, "bob", n)) for n in range(3)]
        await eventually(lambda: waiting(served) == 9)
        open_gate(served)
        await asyncio.gather(*first, *second)
        assert order[:6].count("bob") == 3
        shares = served.engine.node.services.shares
        assert not shares.visitors
        assert len(shares.flows) == 0


async def test_parked_calls_are_ranked_anew_when_the_strategy_changes(serve, eventually):
    served = await shut(serve, strategy="fifo", max_concurrent=1)
    order = []

    async def call(http, priority):
        headers = {"x-penstock-priority": priority}
        assert (await http.post(CHAT, json=body(priority), headers=headers)).status_code == 200
        order.append(priority)

    async with served.http() as http:
        calls = []
        for number, priority in enumerate(("LOW", "MEDIUM", "URGENT"), 1):
            calls.append(asyncio.create_task(call(http, priority)))
            await eventually(lambda number=number: waiting(served) == number)
        await served.manager.switch_strategy("priority")
        open_gate(served)
        await asyncio.gather(*calls)
    assert order == ["URGENT", "MEDIUM", "LOW"]


async def test_too_many_waiting_calls(serve, eventually):
    served = await shut(serve, most_parked=1)
    async with served.http() as http:
        first = asyncio.create_task(http.post(CHAT, json=body("one")))
        await eventually(lambda: waiting(served) == 1)
        reply = await http.post(CHAT, json=body("two"))
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "too_many_waiting"
        open_gate(served)
        assert (await first).status_code == 200


async def test_the_x_ratelimit_headers(serve):
    served = await serve(
        rates=(RateLimit("requests", 50, 60.0), RateLimit("tokens", 10_000, 60.0)), tokens_per_minute=90_000
    )
    async with served.http() as http:
        reply = await http.post(CHAT, json=body(max_tokens=20))
    assert reply.headers["x-ratelimit-limit-requests"] == "50"
    assert reply.headers["x-ratelimit-remaining-requests"] == "49"
    assert reply.headers["x-ratelimit-limit-tokens"] == "10000"
    left = int(reply.headers["x-ratelimit-remaining-tokens"])
    assert 10_000 - left == reply.json()["usage"]["total_tokens"]
    assert reply.headers["x-ratelimit-reset-requests"].endswith(("s", "ms"))
