"""The gateway at its true sizes: 60 requests a minute, 2,000 parked calls, and what it adds to a call."""

import asyncio

import pytest
from openai import AsyncOpenAI

from penstock.cli.bench.gateway import GATEWAY
from penstock.cli.bench.measurement import BenchOptions
from penstock.simulator import Latency, Limits, SimulatorConfig


def test_the_measurement_runs(tmp_path):
    figures = {one.name: one for one in GATEWAY.run(BenchOptions(quick=True, durabilities=("normal",)))}
    assert figures["call through the gateway, normal"].value > 0
    assert figures["100 calls parked in"].value > 0


@pytest.mark.slow
def test_two_thousand_calls_parked_and_little_added():
    missed = [one for one in GATEWAY.run(BenchOptions(durabilities=("normal",))) if one.missed]
    assert missed == []


@pytest.mark.slow
async def test_25_calls_at_60_a_minute(serve, eventually):
    limits = Limits(requests_per_window=60, window_seconds=60.0)
    served = await serve(
        simulator=SimulatorConfig(latency=Latency(0.2), limits=limits), requests_per_minute=60
    )
    order = []
    async with AsyncOpenAI(base_url=served.base_url, api_key="k") as client:

        async def call(kind, headers):
            message = {"role": "user", "content": f"{kind} {len(order)}"}
            await client.chat.completions.create(
                model="gpt-4o-mini", messages=[message], extra_headers=headers
            )
            order.append(kind)

        ordinary = [asyncio.create_task(call("ordinary", {})) for _ in range(20)]
        await eventually(lambda: len(served.engine.node.admitter.waiters()) >= 10)
        before = len(order)
        urgent = [asyncio.create_task(call("urgent", {"x-penstock-priority": "URGENT"})) for _ in range(5)]
        await asyncio.gather(*ordinary, *urgent)
    late = order[before:]
    under_way = 6  # the bucket of a limit of 60
    assert max(place for place, kind in enumerate(late) if kind == "urgent") < 5 + under_way
    assert served.simulator.stats()["refused"] == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/completions"])
async def test_numbers_beyond_all_measure_are_the_providers_to_refuse(serve, path):
    served = await serve()
    huge = 10**4_000
    messages = [{"role": "user", "content": "x"}]
    body = {"model": "gpt-4o-mini", "messages": messages, "input": "x", "prompt": "x"}
    body |= {"n": huge, "best_of": huge, "max_tokens": huge, "max_output_tokens": huge}
    async with served.http() as http:
        reply = await http.post(path, json=body)
    assert reply.status_code < 500, reply.text
