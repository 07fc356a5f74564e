"""A tenant sees and touches its own tasks only; what concerns everybody is for admins of no tenant."""

import pytest

from penstock.service.auth import KeyRing, Principal
from penstock.stores.contract import TaskFilter

TYPE = "echo"
WHO = {
    "ada": Principal("ada", "acme", frozenset({"submit", "read", "admin"})),
    "bob": Principal("bob", "other", frozenset({"submit", "read", "admin"})),
    "root": Principal("root", "", frozenset({"submit", "read", "admin"})),
}


class Named(KeyRing):
    """Believes the header x-who."""

    async def principal(self, request):
        return WHO[request.headers["x-who"]]


@pytest.fixture
async def served(serve):
    started = await serve(
        keys=Named(), tenant_budgets={"acme": 5.0, "other": 7.0}, allowed_hosts=["hook.test"]
    )

    async def echo(context):
        return context.data

    started.engine.register(TYPE, echo)
    await started.engine.pause()
    return started


@pytest.fixture
async def ask(served):
    async with served.http() as http:

        async def send(who, method, path, **details):
            return await http.request(method, path, headers={"x-who": who}, **details)

        yield send


def task(**fields):
    return {"task_type": TYPE, "payload": 1, **fields}


async def test_tasks_of_others_are_not_there(ask):
    id = (await ask("ada", "POST", "/tasks", json=task())).json()["task_id"]
    assert (await ask("ada", "GET", f"/tasks/{id}")).json()["tenant"] == "acme"
    for method, path in (
        ("GET", f"/tasks/{id}"),
        ("GET", f"/task/{id}"),
        ("GET", f"/tasks/{id}/result"),
        ("GET", f"/tasks/{id}/events"),
        ("POST", f"/tasks/{id}/cancel"),
        ("POST", f"/tasks/{id}/pause"),
        ("POST", f"/tasks/{id}/resume"),
        ("POST", f"/tasks/{id}/retry"),
    ):
        reply = await ask("bob", method, path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "task_not_found"), path
        assert (await ask("root", method, path.replace("/events", ""))).status_code != 404
    assert (await ask("bob", "POST", "/tasks", json=task(after=[id]))).status_code == 404
    assert (await ask("bob", "GET", "/tasks")).json() == []
    assert (await ask("bob", "GET", "/stats")).json()["total"] == 0
    assert (await ask("ada", "GET", "/stats")).json()["total"] == 2  # the retry
    assert (await ask("ada", "GET", "/stats")).json()["details"] is None


async def test_only_an_admin_of_no_tenant_names_another(ask):
    assert (await ask("bob", "POST", "/tasks", json=task(tenant="acme"))).status_code == 403
    assert (await ask("bob", "GET", "/tasks", params={"tenant": "acme"})).status_code == 403
    assert (await ask("bob", "POST", "/control/cancel", json={"tenant": "acme"})).status_code == 403
    reply = await ask("bob", "POST", "/tasks/bulk", content=b'{"task_type": "echo", "tenant": "acme"}')
    assert '"foreign_tenant"' in reply.text
    assert (await ask("root", "POST", "/tasks", json=task(tenant="acme"))).status_code == 202
    assert [one["tenant"] for one in (await ask("ada", "GET", "/tasks")).json()] == ["acme"]


async def test_names_of_one_tenant_mean_nothing_to_another(ask):
    body = {"tasks": [task(workflow="w", idempotency_key="k")], "batch_id": "b"}
    first = (await ask("ada", "POST", "/batches", json=body)).json()["task_ids"]
    for path in ("/batches/b", "/batches/b/events", "/workflows/w"):
        assert (await ask("bob", "GET", path)).status_code == 404
    assert (await ask("bob", "GET", "/batches")).json() == []
    second = (await ask("bob", "POST", "/batches", json=body)).json()["task_ids"]
    assert first != second
    assert (await ask("bob", "POST", "/control/cancel", json={"everything": True})).json()["changed"] == 1
    (kept,) = (await ask("ada", "GET", "/tasks")).json()
    assert (kept["status"], kept["workflow"], kept["batch_id"]) == ("queued", "w", "b")
    assert (await ask("root", "GET", "/workflows/w", params={"tenant": "acme"})).json()["total"] == 1


async def test_what_concerns_everybody_is_forbidden(ask):
    for method, path, body in (
        ("GET", "/settings", None),
        ("PATCH", "/settings", {"max_concurrent": 1}),
        ("PATCH", "/budgets", {"total": 1.0}),
        ("PATCH", "/limits", {}),
        ("POST", "/budgets/reset", None),
        ("PUT", "/scheduler/strategy", {"strategy": "fifo"}),
    ):
        reply = await ask("ada", method, path, **({} if body is None else {"json": body}))
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "forbidden"), path
        assert (
            await ask("root", method, path, **({} if body is None else {"json": body}))
        ).status_code == 200
    budgets = (await ask("ada", "GET", "/budgets")).json()
    assert [one["limit"] for one in budgets] == [5.0]
    assert len((await ask("root", "GET", "/budgets")).json()) == 3


async def test_schedules_and_webhooks_are_apart(ask):
    body = {"when": "every 10 minutes", "task_type": TYPE}
    assert (await ask("ada", "PUT", "/schedules/s", json=body)).json()["tenant"] == "acme"
    assert (await ask("bob", "GET", "/schedules")).json() == []
    assert (await ask("bob", "GET", "/schedules/s")).status_code == 404
    assert (await ask("bob", "DELETE", "/schedules/s")).status_code == 404
    hook = (await ask("ada", "POST", "/webhooks", json={"url": "http://hook.test/"})).json()
    assert (await ask("bob", "GET", "/webhooks")).json() == []
    assert (await ask("bob", "DELETE", f"/webhooks/{hook['id']}")).status_code == 404
    secrets = {(await ask(who, "GET", "/webhook-secret")).json()["secret"] for who in WHO}
    assert len(secrets) == 3


async def test_deliveries_belong_to_who_asked_for_them(ask, served, eventually):
    """What the operator subscribed to is signed with the operator's secret, and no tenant's to cancel."""
    for who in ("root", "ada"):
        assert (await ask(who, "POST", "/webhooks", json={"url": "http://hook.test/"})).status_code == 201
    id = (await ask("ada", "POST", "/tasks", json=task())).json()["task_id"]
    await ask("ada", "POST", f"/tasks/{id}/cancel")

    def deliveries():
        where = TaskFilter(types=("webhook",))
        return sorted(view.tenant for view in served.engine.peek(lambda reader: reader.tasks(where)))

    await eventually(lambda: len(deliveries()) == 2)
    assert deliveries() == ["", "acme"]


async def test_events_are_of_ones_own(ask, served):
    await ask("ada", "POST", "/tasks", json=task())
    await ask("bob", "POST", "/tasks", json=task())
    await ask("bob", "POST", "/tasks", json=task(tags=["last"]))
    async with (
        served.http() as http,
        http.stream("GET", "/events?after=0", headers={"x-who": "bob"}) as reply,
    ):
        got = []
        async for line in reply.aiter_lines():
            got += [line] if line.startswith("id:") else []
            if len(got) == 2:
                break
    assert got == ["id: 2", "id: 3"]
