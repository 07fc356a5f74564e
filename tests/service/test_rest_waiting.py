"""Events, approvals and forks over HTTP."""

import asyncio
import json

from penstock.model.waits import Wait
from penstock.service.auth import KeyRing, Principal
from penstock.service.routes.waiting import _approvals
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import NOW, Probe

WHO = {
    "ann": Principal("ann", "acme", frozenset({"submit", "read"})),
    "bob": Principal("bob", "beta", frozenset({"submit", "read", "admin"})),
    "root": Principal("root", "", frozenset({"submit", "read", "admin"})),
}


class Named(KeyRing):
    """Believes the header x-who."""

    async def principal(self, request):
        return WHO[request.headers["x-who"]]


async def ask(context):
    """Asks a person, then waits for an event."""
    decision = await context.approve("Send it?", details={"to": "all"}, name="send")
    event = await context.wait_for_event("go", timeout=600)
    return {**decision.as_dict(), "event": event}


async def ask_twice(context):
    found = await context.gather(*(context.approve(f"{name}?", name=name) for name in ("one", "two")))
    return [one.approved for one in found]


async def parent(context):
    return [await context.child("echo", number) for number in range(3)]


async def echo(context):
    return context.data


async def two_steps(context):
    first = await context.step("first", str, "a")
    return await context.step("second", lambda: f"{first} {context.data}")


TYPES = {"ask": ask, "ask_twice": ask_twice, "parent": parent, "echo": echo, "two_steps": two_steps}


async def served_with_types(serve, **settings):
    served = await serve(suspend_after=0.05, **settings)
    for name, handler in TYPES.items():
        served.manager.register_type(name, handler)
    return served


async def submit(http, type, headers=None, **fields):
    reply = await http.post("/tasks", json={"task_type": type, **fields}, headers=headers)
    assert reply.status_code == 202, reply.text
    return reply.json()["task_id"]


async def asked(http, headers=None, count=1):
    """The open questions, as soon as there are so many."""
    async with asyncio.timeout(20):
        while len(found := (await http.get("/approvals", headers=headers)).json()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def suspended(http, id):
    async with asyncio.timeout(20):
        while (task := (await http.get(f"/tasks/{id}")).json())["status"] != "suspended":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return task


async def result(http, id, headers=None):
    reply = await http.get(f"/tasks/{id}/result?wait=20", headers=headers)
    return reply.json()


def error(reply):
    return reply.status_code, reply.json()["error"]["code"]


async def test_an_event_and_an_answer_reach_a_suspended_task(serve):
    served = await served_with_types(serve)
    async with served.http() as http:
        id = await submit(http, "ask")
        early = await http.post(f"/tasks/{id}/events", json={"name": "go", "data": {"n": 1}})
        assert (early.status_code, early.json()["task_id"], early.json()["name"]) == (202, id, "go")
        (question,) = await asked(http)
        assert question["task_id"] == id
        assert (question["name"], question["question"], question["details"]) == (
            "send",
            "Send it?",
            {"to": "all"},
        )
        assert (question["task_type"], question["tenant"], question["until"]) == ("ask", "", None)
        assert (await suspended(http, id))["error"] is None
        stats = (await http.get("/stats")).json()
        assert (stats["by_status"]["suspended"], stats["queued_tasks"], stats["running_tasks"]) == (1, 1, 0)
        metrics = (await http.get("/metrics")).text
        assert "penstock_approvals_open 1.0" in metrics
        assert 'penstock_tasks{status="suspended",type="ask"} 1.0' in metrics
        answer = {"approved": True, "comment": "fine", "data": [1]}
        told = await http.post(f"/tasks/{id}/decision", json=answer)
        assert told.status_code == 202
        done = await result(http, id)
        assert done["status"] == "completed"
        assert done["result"]["event"] == {"n": 1}
        kept = {name: done["result"][name] for name in ("approved", "by", "comment", "data")}
        assert kept == {**answer, "by": "local"}
        assert (await http.get("/approvals")).json() == []
        assert "penstock_approvals_open 0.0" in (await http.get("/metrics")).text
        stream = (await http.get(f"/tasks/{id}/events?after=0")).text
        kinds = [line.partition(" ")[2] for line in stream.splitlines() if line.startswith("event:")]
        assert kinds[0] == "submitted"
        assert {"asked", "event", "suspended", "resumed", "finished"} <= set(kinds)
        (data,) = [json.loads(line[6:]) for line in stream.splitlines() if '"kind":"asked"' in line]
        assert data["data"] == {"name": "send", "question": "Send it?", "details": {"to": "all"}}


async def test_what_is_wrong_is_refused(serve):
    served = await served_with_types(serve)
    async with served.http() as http:
        id = await submit(http, "ask_twice")
        await asked(http, count=2)
        path = f"/tasks/{id}/decision"
        both = await http.post(path, json={"approved": True})
        assert error(both) == (409, "event_refused")
        assert "one, two" in both.json()["error"]["message"]
        assert error(await http.post(path, json={"approved": True, "name": "three"}))[0] == 409
        for wrong in ({}, {"approved": "yes"}, {"approved": 1}, {"approved": True, "by": "me"}, [], "x"):
            assert error(await http.post(path, json=wrong)) == (422, "invalid_request"), wrong
        assert (await http.post(path, json={"approved": False, "name": "one"})).status_code == 202
        again = await http.post(path, json={"approved": True, "name": "one"})
        assert error(again) == (409, "event_refused")
        assert (await http.post(path, json={"approved": True})).status_code == 202
        done = (await result(http, id))["result"]
        assert done == [False, True]
        late = await http.post(f"/tasks/{id}/events", json={"name": "go"})
        assert error(late) == (409, "event_refused")
        for wrong in (
            {},
            {"name": ""},
            {"name": "x" * 201},
            {"name": "approval:send"},
            {"name": "a\u200bb"},
            {"name": "a\nb"},
            {"name": 7},
            {"name": "go", "sender": "me"},
        ):
            assert error(await http.post(f"/tasks/{id}/events", json=wrong)) == (422, "invalid_request"), (
                wrong
            )
        for unknown in ("0" * 32, "nonsense", id[:30]):
            assert error(await http.post(f"/tasks/{unknown}/events", json={"name": "go"}))[0] == 404
            assert error(await http.post(f"/tasks/{unknown}/decision", json={"approved": True}))[0] == 404
            assert error(await http.post(f"/tasks/{unknown}/fork", json={"step": 1}))[0] == 404


async def test_each_tenant_has_its_own_questions(serve):
    ours, theirs, whole = ({"x-who": name} for name in WHO)
    served = await served_with_types(serve, keys=Named())
    async with served.http() as http:
        id = await submit(http, "ask", ours)
        assert [one["task_id"] for one in await asked(http, ours)] == [id]
        assert (await http.get("/approvals", headers=theirs)).json() == []
        assert [one["tenant"] for one in (await http.get("/approvals", headers=whole)).json()] == ["acme"]
        assert (await http.get("/approvals?tenant=beta", headers=whole)).json() == []
        assert error(await http.get("/approvals?tenant=acme", headers=theirs)) == (403, "foreign_tenant")
        for path, body in (
            ("decision", {"approved": True}),
            ("events", {"name": "go"}),
            ("fork", {"step": 1}),
        ):
            assert error(await http.post(f"/tasks/{id}/{path}", json=body, headers=theirs))[0] == 404
        await http.post(f"/tasks/{id}/decision", json={"approved": False}, headers=ours)
        await http.post(f"/tasks/{id}/events", json={"name": "go"}, headers=whole)
        assert (await result(http, id, ours))["result"]["by"] == "ann"


async def test_children_are_subtasks(serve):
    served = await served_with_types(serve)
    async with served.http() as http:
        id = await submit(http, "parent")
        assert (await result(http, id))["result"] == [0, 1, 2]
        children = (await http.get(f"/tasks/{id}")).json()["subtasks"]
        assert [(await http.get(f"/tasks/{child}")).json()["result"] for child in children] == [0, 1, 2]
        of_it = (await http.get(f"/tasks?workflow={id}")).json()
        assert sorted(one["id"] for one in of_it) == sorted(children)


async def test_a_fork(serve):
    served = await served_with_types(serve)
    async with served.http() as http:
        id = await submit(http, "two_steps", payload="a")
        assert (await result(http, id))["result"] == "a a"
        forked = await http.post(f"/tasks/{id}/fork", json={"step": "second", "data": "b"})
        assert forked.status_code == 202
        new = forked.json()["task_id"]
        assert forked.headers["location"] == f"/tasks/{new}"
        done = await result(http, new)
        assert done["result"] == "a b", done
        assert (await http.get(f"/tasks/{new}")).json()["retry_of"] == id
        unknown = await http.post(f"/tasks/{id}/fork", json={"step": "third"})
        assert error(unknown) == (422, "invalid_task")
        assert "1 first, 2 second" in unknown.json()["error"]["message"]
        for wrong in ({}, {"step": 0}, {"step": True}, {"step": 1.5}, {"step": ""}, {"step": 1, "x": 1}):
            assert error(await http.post(f"/tasks/{id}/fork", json=wrong)) == (422, "invalid_request"), wrong


def test_pages_of_questions_lose_none_of_one_instant(tmp_path):
    with SqliteStore.open(tmp_path / "tasks.db") as store:
        probe = Probe(store)
        instants = [NOW, NOW + 1, NOW + 1, NOW + 1, NOW + 2, NOW + 3]
        for number, at in enumerate(instants):
            task = probe.running(at)
            ask_at(probe, task, str(number), at)
        for limit in (1, 2, 3, 4, 10):
            names, after = [], 0.0
            while True:
                page, more = store.read(lambda reader: _approvals(None, after, limit, reader))  # noqa: B023
                names += [one.what for one in page]
                if not more:
                    break
                after = page[-1].asked_at
            assert names == [f"event:approval:{number}" for number in range(6)], limit


def ask_at(probe, task, name, at):
    wait = Wait(f"event:approval:{name}", None, '{"question": "?"}')
    probe.store.run(lambda tx: tx.begin_wait(task.seq, task.claim_no, wait, at))
