"""A limit of one tenant, model or workflow keeps nobody else from going on."""

import asyncio

from penstock import TaskConfig
from penstock.simulator.config import Latency, SimulatorConfig
from penstock.testing import SimulatedProvider, virtually


@virtually
async def test_who_waits_for_a_tenants_money_does_not_hold_up_others():
    with SimulatedProvider(SimulatorConfig(latency=Latency(a=25.0))) as provider:
        settings = {
            "prices": {"m": "1,2"},
            "requests_per_minute": 600,
            "max_concurrent": 10,
            "tenant_budgets": {"acme": 0.00015},  # one estimate, and not two
        }
        async with provider.manager(**settings) as manager:

            async def submit(prompt, tenant):
                data = {"prompt": prompt, "max_tokens": 50, "model": "m"}
                return await manager.submit_task("llm_call", data, config=TaskConfig(tenant=tenant))

            for number in range(2):
                await submit(f"hello {number}", "acme")
            await asyncio.sleep(3.0)
            for number in range(3):
                await submit(f"hi {number}", "other")
            await asyncio.sleep(10.0)
            waits = manager.engine.peek(lambda reader: reader.waits())
            assert {(row.reason, row.key) for row in waits} == {("money", "total budget of acme")}
            assert len(waits) == 1
            assert len(provider.calls) == 4
