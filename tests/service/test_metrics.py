"""What is told to Prometheus, and what the dashboard and the alert rules ask for."""

import asyncio
import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from penstock import TaskType
from penstock.service.metrics import Labels
from penstock.service.request_counts import OTHER, RequestCounts

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


async def scrape(served):
    async with served.http() as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    families = {one.name: one for one in text_string_to_metric_families(answer.text)}
    return families, {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }


async def test_metrics_tell_of_tasks_money_limits_and_calls(serve):
    served = await serve(budget_limit=5.0, requests_per_minute=600)
    id = await served.manager.submit_task(TaskType.LLM_CALL, {"prompt": "hello", "model": "gpt-4o-mini"})
    await served.manager.wait_for_task(id, 20)
    families, samples = await scrape(served)
    labels = (("model", "gpt-4o-mini"), ("tenant", ""))
    assert samples["penstock_tasks", (("status", "completed"), ("type", "llm_call"))] == 1
    assert samples["penstock_tasks_ended_total", (("status", "completed"),)] == 1
    assert samples["penstock_calls_total", labels] == 1
    assert samples["penstock_cost_usd_total", labels] > 0
    assert samples["penstock_tokens_total", (("kind", "input"), *labels)] > 0
    assert samples["penstock_limit_limit", (("limit", "rpm"),)] == 600
    assert samples["penstock_limit_used", (("limit", "rpm"),)] == 1
    assert 0 < samples["penstock_budget_used_ratio", (("budget", "total budget"),)] < 1
    assert samples["penstock_step_seconds_count", (("model", "gpt-4o-mini"),)] == 1
    assert samples["penstock_queue_size", ()] == 0
    assert samples["penstock_store_writable", ()] == 1
    assert samples["penstock_slots_taken", ()] == 0
    _, again = await scrape(served)
    route = (("method", "GET"), ("route", "/metrics"), ("status", "200"))
    assert again["penstock_http_requests_total", route] == 1
    assert {name for name in families if not name.startswith("penstock")} == set()


async def test_waits_are_told_by_reason_and_the_oldest_by_its_age(serve, eventually):
    served = await serve(requests_per_minute=1)
    for _ in range(3):
        await served.manager.submit_task(TaskType.LLM_CALL, {"prompt": "hello"})
    await eventually(lambda: served.engine.node.admitter.waits())
    _, samples = await scrape(served)
    assert samples["penstock_waiting_calls", (("reason", "requests"),)] >= 1
    served.manager.pause()
    await served.manager.submit_task(TaskType.LLM_CALL, {"prompt": "hello"})
    await asyncio.sleep(0.02)
    _, samples = await scrape(served)
    assert samples["penstock_oldest_wait_seconds", ()] > 0
    assert samples["penstock_queue_size", ()] >= 1


async def test_sums_survive_a_restart(serve):
    served = await serve()
    id = await served.manager.submit_task(TaskType.LLM_CALL, {"prompt": "hello", "model": "gpt-4o-mini"})
    await served.manager.wait_for_task(id, 20)
    before = (await scrape(served))[1]
    await serve.stop(served)
    after = (await scrape(await serve()))[1]
    kept = [key for key in before if key[0] in ("penstock_cost_usd_total", "penstock_calls_total")]
    assert kept
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}


async def test_slots_set_aside_for_a_claim_are_not_taken(serve):
    served = await serve()
    slots = served.engine.node.services.slots
    slots.take()
    slots.claiming += 1
    try:
        _, samples = await scrape(served)
    finally:
        slots.claiming -= 1
        slots.give()
    assert samples["penstock_slots_taken", ()] == 0


def test_labels_are_bounded():
    labels, counts = Labels(3), RequestCounts()
    assert [labels.of(f"m{place}") for place in range(5)] == ["m0", "m1", "m2", OTHER, OTHER]
    assert labels.of("m1") == "m1"
    for place in range(5_000):
        counts.ended(f"/r{place}", "GET", 200, 0.1)
    assert len(counts.statuses) <= 1_001
    assert sum(counts.statuses.values()) == 5_000


async def test_many_tenants_and_models_share_the_last_series(serve):
    from penstock.stores.contract import SpendSum

    served = await serve()
    many = [SpendSum(f"t{place}", "m", 10**12, 0, 1, 1, 1) for place in range(2_000)]
    (cost, *_) = served.service.metrics._money(many)
    assert len(cost.samples) == 501
    assert sum(sample.value for sample in cost.samples) == 2_000


async def test_dashboard_and_alerts_name_only_metrics_that_there_are(serve):
    served = await serve(budget_limit=5.0, requests_per_minute=600)
    id = await served.manager.submit_task(TaskType.LLM_CALL, {"prompt": "hello"})
    await served.manager.wait_for_task(id, 20)
    await scrape(served)
    _, samples = await scrape(served)
    there = {name for name, _ in samples} | {"penstock_waiting_calls"}
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"\bpenstock_[a-z_]+", " ".join([*queries, *re.findall(r"expr: (.*)", rules)])))
    assert len(named) > 20
    assert named <= there, named - there
    for said in ("0.8", "0.9", "penstock_oldest_wait_seconds"):
        assert said in rules
