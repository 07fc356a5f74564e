"""Workflows over HTTP: run as data, looked at, stopped; and nobody reaches another tenant with one."""

import asyncio

import pytest

from penstock import TaskFailed
from penstock.service.auth import KeyRing, Principal

ALL = frozenset({"submit", "read", "admin"})
WHO = {
    "ann": Principal("ann", "acme", frozenset({"submit", "read"})),
    "bob": Principal("bob", "beta", ALL),
    "pat": Principal("pat", "", frozenset({"submit", "read"})),
    "root": Principal("root", "", ALL),
}


class Named(KeyRing):
    """Believes the header x-who."""

    async def principal(self, request):
        return WHO[request.headers["x-who"]]


async def echo(context):
    return context.data


async def fail(context):
    raise ValueError("it broke")


async def wait(context):
    return await context.wait_for_event("go")


async def start(serve, **settings):
    served = await serve(suspend_after=0.05, **settings)
    for handler in (echo, fail, wait):
        served.manager.register_type(handler.__name__, handler)
    return served


def node(id, type="echo", data=None, **fields):
    return {"id": id, "type": type, "data": data, **fields}


CHAIN = {
    "name": "chain",
    "nodes": [node("a", data={"n": 1}), node("b", data={"$result": "a", "path": "/n"})],
}


async def run(http, form, **details):
    reply = await http.post("/workflows", json=form, **details)
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/workflows/{reply.json()['task_id']}"
    return reply.json()["task_id"]


async def ended(http, id, **details):
    reply = await http.get(f"/tasks/{id}/result?wait=20", **details)
    assert reply.status_code == 200, reply.text
    return reply.json()


def error(reply):
    return reply.status_code, reply.json()["error"]["code"]


async def test_a_workflow_from_its_form_to_its_analysis(serve):
    served = await start(serve)
    async with served.http() as http:
        id = await run(http, CHAIN)
        assert (await ended(http, id))["result"] == 1
        whole = (await http.get(f"/workflows/{id}")).json()
        assert whole["workflow"] == id
        assert (whole["name"], whole["status"], whole["result"]) == ("chain", "completed", 1)
        assert (whole["total"], whole["done"], whole["open"], whole["progress"]) == (2, 2, 0, 1.0)
        assert whole["by_status"] == {"completed": 2, "failed": 0, "cancelled": 0}
        nodes = (await http.get(f"/workflows/{id}/nodes")).json()
        assert [(one["node"], one["status"], one["task_type"]) for one in nodes] == [
            ("a", "completed", "echo"),
            ("b", "completed", "echo"),
        ]
        task = (await http.get(f"/tasks/{id}")).json()
        assert task["subtasks"] == [one["task_id"] for one in nodes]
        assert (task["name"], task["task_type"]) == ("chain", "workflow")
        b = (await http.get(f"/tasks/{nodes[1]['task_id']}")).json()
        assert (b["result"], b["workflow"], b["dependencies"]) == (1, id, [nodes[0]["task_id"]])
        listed = (await http.get(f"/tasks?workflow={id}")).json()
        assert [one["id"] for one in listed] == [one["task_id"] for one in reversed(nodes)]
        page = await http.get(f"/workflows/{id}/nodes?limit=1")
        assert [one["node"] for one in page.json()] == ["a"]
        cursor = page.headers["x-next-cursor"]
        rest = await http.get(f"/workflows/{id}/nodes?limit=1&cursor={cursor}")
        assert [one["node"] for one in rest.json()] == ["b"]
        assert "x-next-cursor" not in rest.headers


async def test_the_analysis_in_three_forms(serve):
    served = await start(serve)
    async with served.http() as http:
        id = await run(http, {**CHAIN, "name": "<b>"})
        await ended(http, id)
        path = f"/workflows/{id}/analysis"
        analysis = (await http.get(path)).json()
        assert analysis["critical_path"] == ["a", "b"]
        assert [one["id"] for one in analysis["nodes"]] == ["a", "b"]
        for details, kind, begin in (
            ({"params": {"format": "text"}}, "text/plain; charset=utf-8", "workflow <b>: 2 nodes"),
            ({"params": {"format": "svg"}}, "image/svg+xml", "<svg "),
            ({"headers": {"accept": "text/html, image/svg+xml;q=0.9"}}, "image/svg+xml", "<svg "),
            ({"headers": {"accept": "text/plain"}}, "text/plain; charset=utf-8", "workflow <b>:"),
            ({"headers": {"accept": "text/plain"}, "params": {"format": "json"}}, "application/json", "{"),
        ):
            reply = await http.get(path, **details)
            assert (reply.status_code, reply.headers["content-type"]) == (200, kind)
            assert reply.text.startswith(begin)
        picture = await http.get(f"{path}?format=svg")
        assert "<b>" not in picture.text
        assert picture.headers["content-security-policy"].startswith("default-src 'none'")
        assert error(await http.get(f"{path}?format=pdf")) == (422, "invalid_request")


async def test_all_that_is_wrong_is_told_at_once(serve):
    served = await start(serve)
    async with served.http() as http:
        form = {
            "nodes": [
                node("a", after=["b"]),
                node("b", after=["a"]),
                node("b"),
                node("c", "ehco"),
                node("d", data={"$result": "cc"}),
                node("e", colour="red"),
                node("f", "llm_call", {"prompt": 7}),
            ],
            "on_failure": "shrug",
        }
        for path, body in (("/workflows", form), ("/tasks", {"task_type": "workflow", "payload": form})):
            reply = await http.post(path, json=body)
            assert error(reply) == (422, "invalid_workflow")
            problems = {one["path"]: one["message"] for one in reply.json()["error"]["problems"]}
            assert {"on_failure", "nodes.5.colour", "nodes.2.id", "nodes.3.type"} <= set(problems)
            assert "echo" in problems["nodes.3.type"]
            assert any("a → b → a" in message or "b → a → b" in message for message in problems.values())
            assert any(path.startswith("nodes.4") for path in problems)
            assert reply.json()["error"]["param"] in problems
        bad_data = await http.post("/workflows", json={"nodes": [node("f", "llm_call", {"prompt": 7})]})
        assert error(bad_data) == (422, "invalid_workflow")
        assert bad_data.json()["error"]["problems"][0]["path"] == "nodes.0.data"
        for wrong in ([], "x", 7, {}, {"nodes": []}, {"nodes": "x"}, {"nodes": [7]}):
            assert error(await http.post("/workflows", json=wrong)) == (422, "invalid_workflow"), wrong
        assert error(await http.post("/workflows", content=b"{"))[0] == 422
        assert (
            error(await http.post("/workflows", content=b"{}", headers={"content-type": "text/csv"}))[0]
            == 422
        )
        hidden = {"nodes": [node("a", "webhook", {"url": "http://example.org", "task_id": "0" * 32})]}
        assert error(await http.post("/workflows", json=hidden)) == (422, "invalid_workflow")
        reserved = {**CHAIN, "metadata": {"penstock.webhook": "http://127.0.0.1"}}
        assert error(await http.post("/workflows", json=reserved)) == (422, "invalid_workflow")
        counted = (await http.get("/stats")).json()
        assert counted["total"] == 0


async def test_the_same_key_is_the_same_run(serve):
    served = await start(serve)
    async with served.http() as http:
        key = {"idempotency-key": "once"}
        id = await run(http, CHAIN, headers=key)
        await ended(http, id)
        again = await http.post("/workflows", json=CHAIN, headers=key)
        assert (again.json()["task_id"], again.json()["status"]) == (id, "completed")
        assert again.json()["message"] == "this task was submitted before"
        other = await http.post("/workflows", json={**CHAIN, "name": "other"}, headers=key)
        assert error(other) == (409, "idempotency_conflict")
        assert (
            error(await http.post("/workflows", json=CHAIN, headers={"idempotency-key": "x" * 201}))[0] == 422
        )


async def test_a_failure_and_a_cancel(serve):
    served = await start(serve)
    async with served.http() as http:
        id = await run(http, {"nodes": [node("bad", "fail", max_retries=0), node("w", "wait")]})
        assert (await ended(http, id))["status"] == "failed"
        whole = (await http.get(f"/workflows/{id}")).json()
        assert (whole["stopped_by"], whole["error_code"]) == ("bad", "workflow_failed")
        assert "it broke" in whole["error"]
        bad = (await http.get(f"/workflows/{id}/nodes")).json()[0]
        assert (bad["status"], "it broke" in bad["error"]) == ("failed", True)
        late = (await http.post(f"/workflows/{id}/cancel")).json()
        assert (late["changed"], late["status"]) == (False, "failed")

        id = await run(http, {"nodes": [node("w", "wait")]})
        await nodes_of(http, id)
        told = (await http.post(f"/workflows/{id}/cancel")).json()
        assert told["changed"] is True
        assert (await ended(http, id))["status"] == "cancelled"
        (left,) = await nodes_of(http, id)
        assert (await ended(http, left["task_id"]))["status"] == "cancelled"  # it ran: it ends by itself

        undo = {"type": "echo", "data": {"undone": True}}
        form = {"nodes": [node("a", compensate=undo), node("w", "wait", after=["a"])]}
        id = await run(http, form)
        await nodes_of(http, id, completed=1)
        assert (await http.post(f"/workflows/{id}/cancel", json={"undo": True})).json()["changed"] is True
        assert (await ended(http, id))["error_code"] == "workflow_stopped"
        assert error(await http.post(f"/workflows/{id}/cancel", json={"undo": "yes"}))[0] == 422


async def nodes_of(http, id, completed=0):
    """Its nodes, as soon as they are there and so many of them have completed."""
    async with asyncio.timeout(20):
        while True:
            found = (await http.get(f"/workflows/{id}/nodes")).json()
            if found and sum(one["status"] == "completed" for one in found) >= completed:
                return found
            await asyncio.sleep(0.01)


async def test_what_is_no_workflow_is_not_found(serve):
    served = await start(serve)
    async with served.http() as http:
        plain = {"task_type": "echo", "payload": 1, "workflow": "nightly"}
        id = (await http.post("/tasks", json=plain)).json()["task_id"]
        for path in (f"/workflows/{id}/nodes", f"/workflows/{'0' * 32}/nodes", f"/workflows/{id}/analysis"):
            assert (await http.get(path)).status_code == 404, path
        assert (await http.post(f"/workflows/{id}/cancel")).status_code == 404
        assert error(await http.get(f"/workflows/{id}")) == (404, "workflow_not_found")
        await ended(http, id)
        nightly = (await http.get("/workflows/nightly")).json()
        assert (nightly["total"], nightly["by_status"]["completed"], nightly["status"]) == (1, 1, None)


@pytest.mark.parametrize("path", ["/workflows", "/tasks", "/batches", "/schedules/s"])
async def test_no_workflow_reaches_another_tenant(serve, path):
    served = await start(serve, keys=Named())
    theirs = node("a", tenant="beta")
    inner = {"nodes": [theirs]}
    filled = {"nodes": [node("x"), node("y", "workflow", {"$result": "x"})]}
    forms = [
        {"nodes": [theirs]},
        {"nodes": [node("a", tenant="")]},
        {"nodes": [node("a")], "tenant": "beta"},
        {"nodes": [node("w", "workflow", inner)]},
        {"nodes": [node("w", "workflow", {"$literal": inner})]},
        {"nodes": [node("w", fallback={"type": "workflow", "data": inner})]},
        {"nodes": [node("w", compensate={"type": "workflow", "data": {"$literal": inner}})]},
        filled,
    ]
    async with served.http() as http:
        for who, refused in (("ann", forms), ("pat", [forms[0], *forms[2:]])):
            for form in refused:
                reply = await send(http, path, form, who)
                assert error(reply)[0] == (422 if form is filled else 403), (who, form, reply.text)
        assert (await send(http, path, filled, "root")).status_code < 300
        if path == "/workflows":
            id = (await send(http, path, CHAIN, "ann")).json()["task_id"]
            view = await served.engine.get(id)
            assert view.tenant == "acme"
            await ended(http, id, headers={"x-who": "ann"})
            for one in (f"/workflows/{id}", f"/workflows/{id}/nodes", f"/workflows/{id}/analysis"):
                assert (await http.get(one, headers={"x-who": "bob"})).status_code == 404
                assert (await http.get(one, headers={"x-who": "ann"})).status_code == 200
                assert (await http.get(one, headers={"x-who": "root"})).status_code == 200
            cancel = await http.post(f"/workflows/{id}/cancel", headers={"x-who": "bob"})
            assert cancel.status_code == 404
            assert (await http.get(f"/tasks?workflow={id}", headers={"x-who": "bob"})).json() == []
            nodes = (await http.get(f"/tasks?workflow={id}", headers={"x-who": "ann"})).json()
            assert {one["tenant"] for one in nodes} == {"acme"}
            assert len(nodes) == 2
            named = {"nodes": [node("a", tenant="beta"), node("b")], "tenant": "acme"}
            id = (await send(http, path, named, "root")).json()["task_id"]
            nodes = await ended_nodes(http, id)
            assert sorted(one["tenant"] for one in nodes) == ["acme", "beta"]


async def ended_nodes(http, id):
    await ended(http, id, headers={"x-who": "root"})
    return (await http.get(f"/tasks?workflow={id}", headers={"x-who": "root"})).json()


async def send(http, path, form, who):
    task = {"task_type": "workflow", "payload": form}
    bodies = {"/workflows": form, "/tasks": task, "/batches": {"tasks": [task]}}
    headers = {"x-who": who}
    if path in bodies:
        return await http.post(path, json=bodies[path], headers=headers)
    return await http.put(path, json={**task, "when": "daily at 9:00"}, headers=headers)


async def test_a_budget_is_looked_at_and_changed(serve):
    served = await start(serve, keys=Named())
    ann, bob = {"x-who": "ann"}, {"x-who": "bob"}
    async with served.http() as http:
        held = {"name": "held", "nodes": [node("w", "wait")], "budget": 0.5}
        id = await run(http, held, headers=ann)
        path = f"/workflows/{id}/budget"
        told = {"workflow": id, "budget": 0.5, "spent": 0.0, "uncertain": 0.0}
        told |= {"max_tokens": None, "tokens": 0, "uncertain_tokens": 0}
        while (await http.get(path, headers=ann)).json()["budget"] is None:  # noqa: ASYNC110 - until it began
            await asyncio.sleep(0.01)
        assert (await http.get(path, headers=ann)).json() == told
        reply = await http.patch(path, json={"budget": 2.5, "max_tokens": 100}, headers=ann)
        assert (reply.status_code, reply.json()) == (200, {**told, "budget": 2.5, "max_tokens": 100})
        reply = await http.patch(path, json={"budget": None}, headers=ann)
        assert reply.json() == {**told, "budget": None, "max_tokens": 100}
        assert error(await http.patch(path, json={}, headers=ann)) == (422, "invalid_task")
        for wrong in ({"budget": -1}, {"max_tokens": 0}, {"max_tokens": 1.5}, {"money": 1}):
            assert error(await http.patch(path, json=wrong, headers=ann)) == (422, "invalid_request")
        assert error(await http.get(path, headers=bob)) == (404, "workflow_not_found")
        assert error(await http.patch(path, json={"budget": 1}, headers=bob)) == (404, "workflow_not_found")
        for id in ("nope", "0" * 32):
            for one in ("", "/budget", "/nodes", "/analysis"):
                reply = await http.get(f"/workflows/{id}{one}", headers=ann)
                assert error(reply) == (404, "workflow_not_found"), one
        task = (await http.post("/tasks", json={"name": "e", "task_type": "echo"}, headers=ann)).json()
        missing = f"/workflows/{task['task_id']}/budget"
        assert error(await http.get(missing, headers=ann)) == (404, "workflow_not_found")


async def test_nodes_are_controlled_by_the_id_of_their_workflow(serve):
    served = await start(serve, keys=Named())
    async with served.http() as http:
        id = await run(http, {"nodes": [node("v", "wait"), node("w", "wait")]}, headers={"x-who": "ann"})

        async def changed(who, verb, **where):
            reply = await http.post(
                f"/control/{verb}", json={"workflow": id, **where}, headers={"x-who": who}
            )
            return reply.json()["changed"]

        async def until(status):
            while {one.status for one in await served.engine.workflow(id).nodes()} != {status}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        await until("suspended")
        assert await changed("bob", "pause") == 0
        assert await changed("ann", "pause") == 2
        await until("paused")
        assert await changed("bob", "resume") == 0
        assert await changed("root", "resume", tenant="acme") == 2
        await until("suspended")
        assert await changed("root", "pause") == 2
        assert await changed("bob", "cancel") == 0
        assert await changed("ann", "cancel") == 2
        assert (await ended(http, id, headers={"x-who": "ann"}))["status"] == "failed"


async def test_suspended_tasks_are_paused_with_the_others(serve):
    served = await start(serve)
    async with served.http() as http:
        body = {"name": "w", "task_type": "wait", "tags": ["x"]}
        id = (await http.post("/tasks", json=body)).json()["task_id"]

        async def until(status):
            while (await http.get(f"/tasks/{id}")).json()["status"] != status:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        await until("suspended")
        for path, wanted in (("control", {"tag": "x"}), (f"tasks/{id}", None)):
            assert (await http.post(f"/{path}/pause", json=wanted)).json()["changed"] in (1, True)
            await until("paused")
            assert (await http.post(f"/{path}/resume", json=wanted)).json()["changed"] in (1, True)
            await until("suspended")
        await http.post(f"/tasks/{id}/pause")
        await http.post(f"/tasks/{id}/events", json={"name": "go", "data": 5})
        assert (await http.get(f"/tasks/{id}")).json()["status"] == "paused"
        await http.post("/control/resume", json={"tag": "x"})
        assert (await ended(http, id))["result"] == 5


async def test_a_retry_and_a_fork_keep_what_is_done(serve):
    served = await start(serve)
    ran = []

    async def shaky(context):
        ran.append(context.data)
        if len(ran) == 2:
            raise ValueError("not yet")
        return context.data

    served.manager.register_type("shaky", shaky)
    async with served.http() as http:
        after = {"after": ["a"], "max_retries": 0}
        form = {"nodes": [node("a", "shaky", "a"), node("b", "shaky", "b", **after)]}
        id = await run(http, form)
        assert (await ended(http, id))["status"] == "failed"
        again = (await http.post(f"/tasks/{id}/retry")).json()["task_id"]
        assert (await ended(http, again))["result"] == "b"
        assert ran == ["a", "b", "b"]
        fork = (await http.post(f"/tasks/{again}/fork", json={"step": "b"})).json()["task_id"]
        assert (await ended(http, fork))["result"] == "b"
        assert ran == ["a", "b", "b", "b"]
        assert error(await http.post(f"/tasks/{again}/fork", json={"step": "x"})) == (422, "invalid_task")


async def test_a_fork_of_a_workflow_reaches_no_other_tenant(serve):
    served = await start(serve, keys=Named())
    async with served.http() as http:
        ann = {"x-who": "ann"}
        id = await run(http, CHAIN, headers=ann)
        await ended(http, id, headers=ann)
        data = {"nodes": [node("a", tenant="beta")]}
        reply = await http.post(f"/tasks/{id}/fork", json={"step": 1, "data": data}, headers=ann)
        assert error(reply) == (403, "foreign_tenant")


PLAN = {
    "subtasks": [
        {"id": "look", "name": "Look", "description": "Look around", "dependencies": [], "estimated_time": 5},
        {
            "id": "tell",
            "name": "Tell",
            "description": "Tell it",
            "dependencies": ["look"],
            "estimated_time": 5,
        },
    ]
}


async def test_a_goal_is_a_task_whose_workflow_can_be_looked_at(serve):
    served = await start(serve)
    async with served.http() as http:
        data = {"goal": "Know what is there", "plan": PLAN, "model": "gpt-4o-mini"}
        shown = {"task_type": "goal", "payload": {**data, "dry_run": True}}
        id = (await http.post("/tasks", json=shown)).json()["task_id"]
        plan = (await ended(http, id))["result"]["plan"]
        assert [one["id"] for one in plan["subtasks"]] == ["look", "tell"]
        id = (await http.post("/tasks", json={"task_type": "goal", "payload": data})).json()["task_id"]
        told = (await ended(http, id))["result"]
        assert told["report"]
        assert (await http.get(f"/tasks/{id}")).json()["subtasks"] == [told["workflow"]]
        whole = (await http.get(f"/workflows/{told['workflow']}")).json()
        assert (whole["status"], whole["open"]) == ("completed", 0)
        broken = {"subtasks": [{**PLAN["subtasks"][0], "dependencies": ["sell"]}]}
        wrong = {"task_type": "goal", "payload": {**data, "plan": broken}}
        reply = await http.post("/tasks", json=wrong)
        assert reply.status_code == 422
        assert "sell" in reply.json()["error"]["message"]


@pytest.mark.parametrize("type", ["goal_tool", "goal_report"])
async def test_what_goals_use_inside_is_not_for_submissions(serve, type):
    served = await start(serve, keys=Named())
    data = {"tool": "echo", "arguments": {}}
    inner = {"nodes": [node("a", type, data)]}
    nested = {"nodes": [node("w", "workflow", {"$literal": inner})]}
    async with served.http() as http:
        for path, form in (
            ("/tasks", {"task_type": type, "payload": data}),
            ("/tasks", {"task_type": "workflow", "payload": inner}),
            ("/workflows", inner),
        ):
            reply = await http.post(path, json=form, headers={"x-who": "ann"})
            assert reply.status_code in (400, 404, 422), reply.text
            assert "not for submissions" in reply.text
        id = (await http.post("/workflows", json=nested, headers={"x-who": "ann"})).json()["task_id"]
        with pytest.raises(TaskFailed, match="not for submissions"):
            await served.engine.wait(id, 20)


async def test_the_example_of_the_document_is_a_workflow(serve):
    served = await start(serve)
    async with served.http() as http:
        document = (await http.get("/openapi.json")).json()
        body = document["paths"]["/workflows"]["post"]["requestBody"]["content"]["application/json"]
        assert body["schema"]["$ref"].endswith("/WorkflowDefinition")
        id = await run(http, body["example"])
        assert (await ended(http, id))["status"] == "completed"


async def test_texts_and_numbers_that_no_store_can_take(serve):
    served = await start(serve)
    async with served.http() as http:
        for text in (
            r'{"name": "\ud800", "nodes": [{"id": "a", "type": "echo"}]}',
            r'{"nodes": [{"id": "a", "type": "echo", "data": ["\udc00"]}]}',
            r'{"nodes": [{"id": "a", "type": "echo"}], "max_concurrent": 100000000000000000000000}',
            r'{"nodes": [{"id": "a", "type": "echo", "pools": {"gpu": 100000000000000000000000}}]}',
            r'{"nodes": [{"id": "a", "type": "echo", "max_retries": 100000000000000000000000}]}',
        ):
            reply = await http.post("/workflows", content=text)
            assert error(reply) == (422, "invalid_workflow"), text
