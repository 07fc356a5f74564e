"""Strategies, settings, budgets, limits, figures and schedules over REST."""

import pytest

TYPE = "echo"


@pytest.fixture
async def served(serve):
    started = await serve(requests_per_minute=100)

    async def echo(context):
        return context.data

    started.engine.register(TYPE, echo)
    return started


@pytest.fixture
async def http(served):
    async with served.http() as client:
        yield client


async def test_strategies_are_listed_and_switched(http):
    names = {one["name"]: one for one in (await http.get("/scheduler/strategies")).json()}
    assert names["priority"]["in_force"]
    assert "time_slice" in names["round_robin"]["settings"]
    reply = await http.put("/scheduler/strategy", json={"strategy": "round_robin", "time_slice": 2.0})
    assert (reply.status_code, reply.json()["time_slice"]) == (200, 2.0)
    assert (await http.get("/stats")).json()["strategy"] == "round_robin"
    reply = await http.put("/scheduler/strategy", json={"strategy": "priority_based", "time_slice": 2.0})
    assert reply.json()["strategy"] == "priority"
    for body in (
        {"strategy": "nonsense"},
        {"strategy": "fifo", "settings": {"x": 1}},
        {"strategy": "priority", "settings": {"self": 1}},
        {"strategy": "fair", "settings": {"inside": [1]}},
        {"strategy": "round_robin", "settings": {"time_slice": {}}},
    ):
        reply = await http.put("/scheduler/strategy", json=body)
        assert reply.status_code == 400, body


async def test_figures(http, served):
    body = {"task_type": TYPE, "payload": 1}
    reply = await http.post("/tasks", json=body)
    await http.get(f"/tasks/{reply.json()['task_id']}/result", params={"wait": 20})
    told = (await http.get("/stats")).json()
    assert (told["total"], told["completed"], told["failed"], told["queued_tasks"]) == (1, 1, 0, 0)
    assert told["avg_wait_time"] >= 0
    assert told["details"]["performance"]["total_processed"] == 1


async def test_settings_change_at_once(http, served):
    assert (await http.get("/settings")).json()["requests_per_minute"] == 100
    changes = {"requests_per_minute": None, "max_concurrent": 7, "daily_limit": 3.5}
    told = (await http.patch("/settings", json=changes)).json()
    assert (told["requests_per_minute"], told["max_concurrent"], told["daily_limit"]) == (None, 7, 3.5)
    assert served.manager.get_statistics()["concurrency"]["max_concurrent"] == 7
    assert (await http.patch("/settings", json={"max_concurrent": None})).status_code == 400
    assert (await http.patch("/settings", json={"max_concurrent": 0})).status_code == 422
    assert (await http.patch("/settings", json={"nothing": 0})).status_code == 422


async def test_budgets_and_limits(http):
    told = (await http.patch("/budgets", json={"total": 10.0, "tenants": {"acme": 2.0}})).json()
    assert sorted(one["limit"] for one in told) == [2.0, 10.0]
    assert all(one["remaining"] == one["limit"] for one in told)
    told = (await http.patch("/budgets", json={"tenants": {"acme": None}})).json()
    assert [one["limit"] for one in told] == [10.0]
    assert (await http.post("/budgets/reset")).status_code == 200
    models = {"gpt-4o": {"requests_per_minute": 5, "max_concurrent": 2}}
    told = (
        await http.patch("/limits", json={"models": models, "tenants": {"t": {"tokens_per_minute": 9}}})
    ).json()
    assert sorted(one["limit"] for one in told) == [5, 9, 100]
    assert len((await http.patch("/limits", json={"models": {"gpt-4o": None}})).json()) == 2
    assert len((await http.get("/limits")).json()) == 2


async def test_schedules(http, served):
    body = {
        "when": "daily at 9:00",
        "zone": "Europe/Berlin",
        "task_type": TYPE,
        "payload": {"n": 1},
        "name": "x",
    }
    put = await http.put("/schedules/morning", json=body)
    assert put.status_code == 200, put.text
    told = put.json()
    assert (told["cron"], told["payload"], len(told["upcoming"])) == ("0 9 * * *", {"n": 1}, 3)
    assert (await http.get("/schedules")).json() == [told]
    assert (await http.get("/schedules/morning")).json() == told
    assert (await http.post("/schedules/morning/pause")).json()["enabled"] is False
    assert (await http.post("/schedules/morning/resume")).json()["enabled"] is True
    id = (await http.post("/schedules/morning/run")).json()["task_id"]
    one = (await http.get(f"/tasks/{id}")).json()
    assert (one["name"], one["tags"]) == ("x", ["schedule:morning"])
    assert (await http.delete("/schedules/morning")).json() == {"removed": True}
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/run"),
        ("POST", "/pause"),
        ("POST", "/resume"),
    ):
        assert (await http.request(method, f"/schedules/morning{path}")).status_code == 404
    assert (await http.put("/schedules/x", json={**body, "when": "never"})).status_code == 400
    assert (await http.put("/schedules/x", json={**body, "zone": "Mars/Base"})).status_code == 400
