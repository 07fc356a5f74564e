"""Tasks over REST: submission, lists, results, control of one and of many."""

import asyncio
import json

import pytest

TYPE = "echo"
WRONG = [
    (b"", 422, "invalid_request"),
    (b"{", 422, "invalid_request"),
    (b'{"task_type": "echo", "payload": 1e400}', 422, "invalid_request"),
    (b'{"task_type": "echo", "payload": NaN}', 422, "invalid_request"),
    (b'{"task_type": "echo", "payload": ' + b"9" * 5000 + b"}", 422, "invalid_request"),
    (b'{"task_type": "echo", "payload": ' + b"[" * 200 + b"]" * 200 + b"}", 422, "invalid_request"),
    (b'{"task_type": "echo", "payload": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422, "invalid_request"),
    (b'{"task_type": "echo", "priority": 101}', 422, "invalid_request"),
    (b'{"task_type": "echo", "priority": ' + b"9" * 30 + b"}", 422, "invalid_request"),
    (b'{"task_type": "echo", "tags": ["\\u0000"]}', 422, "invalid_request"),
    (b'{"task_type": "echo", "tags": ["\\ud800"]}', 422, "invalid_request"),
    (b'{"task_type": "\\ud800"}', 422, "invalid_request"),
    (b'{"task_type": "echo", "\\ud800": 1}', 422, "invalid_request"),
    (b'{"task_type": "echo", "tags": ["penstock.x"]}', 422, "invalid_request"),
    (b'{"task_type": "nothing"}', 422, "unknown_task_type"),
    (b'{"task_type": "webhook"}', 422, "unknown_task_type"),
    (b'{"task_type": "echo", "deadline": "1990-01-01T00:00:00Z"}', 422, "invalid_task"),
    (b'{"task_type": "echo", "after": ["' + b"0" * 32 + b'"]}', 404, "task_not_found"),
    (b'{"task_type": "echo", "webhook": "http://127.0.0.1/x"}', 422, "invalid_task"),
    (b"\xff\xfe", 422, "invalid_request"),
]


@pytest.fixture
async def served(serve):
    started = await serve(requests_per_minute=None)

    async def echo(context):
        data = context.data or {}
        if "fail" in data:
            raise ValueError(data["fail"])
        return data

    started.engine.register(TYPE, echo)
    return started


@pytest.fixture
async def http(served):
    async with served.http() as client:
        yield client


def task(**fields):
    return {"task_type": TYPE, "payload": {"n": 1}, **fields}


async def submitted(http, **fields):
    reply = await http.post("/tasks", json=task(**fields))
    assert reply.status_code == 202, reply.text
    return reply.json()["task_id"]


async def ended(http, id):
    reply = await http.get(f"/tasks/{id}/result", params={"wait": 20})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_a_task_is_submitted_and_read_back(http):
    reply = await http.post(
        "/tasks",
        json={
            "name": "first",
            "payload": {"n": 1},
            "priority": "HIGH",
            "task_type": TYPE,
            "estimated_time": 1.5,
            "tags": ["a", "b"],
            "metadata": {"who": "Ada"},
        },
    )
    assert reply.status_code == 202
    told = reply.json()
    assert told["status"] == "queued"
    assert set(told) == {"task_id", "status", "message"}
    assert (await ended(http, told["task_id"]))["result"] == {"n": 1}
    one = (await http.get(f"/tasks/{told['task_id']}")).json()
    assert one == (await http.get(f"/task/{told['task_id']}")).json()
    assert one["name"] == "first"
    assert one["priority"] == 30
    assert one["status"] == "completed"
    assert one["estimated_time"] == 1.5
    assert one["tags"] == ["a", "b"]
    assert one["metadata"] == {"who": "Ada"}
    assert one["retry_count"] == 0
    assert one["dependencies"] == one["subtasks"] == []
    assert one["wait_time"] >= 0
    assert one["execution_time"] >= 0


async def test_the_short_route_submits_too(http):
    reply = await http.post("/task", json=task(priority=0))
    assert reply.status_code == 202


async def test_an_idempotency_key_gives_the_same_task(http):
    headers = {"idempotency-key": "k1"}
    first = await http.post("/tasks", json=task(), headers=headers)
    second = await http.post("/tasks", json=task(), headers=headers)
    assert first.json()["task_id"] == second.json()["task_id"]
    other = await http.post("/tasks", json=task(payload={"n": 2}), headers=headers)
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "idempotency_conflict"


async def test_what_is_wrong_is_refused_by_name(http):
    for body, status, code in WRONG:
        reply = await http.post("/tasks", content=body, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code), (body[:80], reply.text)


async def test_odd_characters_come_back_as_they_were(http):
    payload = b'{"\\ud800": "\\u0000 \\ud83d\\ude00"}'
    body = b'{"task_type": "echo", "payload": ' + payload + b', "metadata": {"a": "\\ud800"}}'
    reply = await http.post("/tasks", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 202, reply.text
    result = (await ended(http, reply.json()["task_id"]))["result"]
    assert result == {"\ud800": "\0 \U0001f600"}
    assert (await http.get("/tasks")).json()[0]["metadata"] == {"a": "\ud800"}


async def test_a_body_that_is_too_large_is_refused(serve):
    served = await serve(max_body=1000)
    async with served.http() as http:
        reply = await http.post("/tasks", json=task(payload="x" * 2000))
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")

        async def pieces():
            for _ in range(100):
                yield b" " * 100

        reply = await http.post("/tasks", content=pieces(), headers={"content-type": "application/json"})
        assert reply.status_code == 413


async def test_nonsense_ids_are_not_found(http):
    for id in ("x", "0" * 32, "%00", "\u20ac", "a" * 199):
        for reply in (
            await http.get(f"/tasks/{id}"),
            await http.get(f"/tasks/{id}/result"),
            await http.post(f"/tasks/{id}/cancel"),
            await http.get(f"/tasks/{id}/events"),
        ):
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "task_not_found")


async def test_the_beginning_of_an_id_is_not_an_id(http):
    id = await submitted(http)
    assert (await http.get(f"/tasks/{id[:20]}")).status_code == 404


async def test_lists_are_filtered_and_go_on_by_cursor(http, served):
    await served.engine.pause()
    ids = [
        await submitted(http, name=f"n{n}", priority=n, tags=["t", f"t{n}"], metadata={"n": n})
        for n in range(7)
    ]
    got = []
    path = "/tasks?limit=3&tag=t"
    while path:
        reply = await http.get(path)
        got += [one["id"] for one in reply.json()]
        path = reply.links.get("next", {}).get("url")
    assert got == ids[::-1]
    for query, expected in (
        ({"tag": ["t", "t3"]}, [3]),
        ({"priority": [2, 5]}, [5, 2]),
        ({"status": "queued", "priority": 1}, [1]),
        ({"status": ["completed", "failed"]}, []),
        ({"name": "n4"}, [4]),
        ({"metadata": json.dumps({"n": 6})}, [6]),
        ({"task_type": "other"}, []),
        ({"task_type": [TYPE, "x"], "tag": "t0"}, [0]),
    ):
        reply = await http.get("/tasks", params=query)
        assert [one["id"] for one in reply.json()] == [ids[n] for n in expected], query
    assert (await http.get("/tasks", params={"limit": 10**30})).status_code == 422
    assert (await http.get("/tasks", params={"metadata": "[1]"})).status_code == 422


async def test_large_results_are_left_out_of_lists(http):
    id = await submitted(http, payload={"x": "y" * 5000})
    assert (await ended(http, id))["result"] == {"x": "y" * 5000}
    (listed,) = (await http.get("/tasks")).json()
    assert (listed["result"], listed["result_omitted"]) == (None, True)


async def test_a_result_is_waited_for(http, served):
    await served.engine.pause()
    id = await submitted(http)
    reply = await http.get(f"/tasks/{id}/result", params={"wait": 0.05})
    assert (reply.status_code, reply.json()["done"]) == (202, False)
    waiting = asyncio.create_task(http.get(f"/tasks/{id}/result", params={"wait": 20}))
    await served.engine.resume()
    reply = await waiting
    assert (reply.status_code, reply.json()["result"]) == (200, {"n": 1})


async def test_a_failed_task_tells_why_and_can_be_tried_again(http):
    id = await submitted(http, payload={"fail": "no luck"}, max_retries=0)
    told = await ended(http, id)
    assert (told["status"], told["error_code"]) == ("failed", "handler_error")
    assert "no luck" in told["error"]
    reply = await http.post(f"/tasks/{id}/retry")
    assert reply.status_code == 202
    assert (await http.get(f"/tasks/{reply.json()['task_id']}")).json()["retry_of"] == id
    done = await submitted(http)
    await ended(http, done)
    assert (await http.post(f"/tasks/{done}/retry", json={"fresh": True})).status_code == 422


async def test_one_task_is_paused_resumed_and_cancelled(http, served):
    await served.engine.pause()
    id = await submitted(http)
    assert (await http.post(f"/tasks/{id}/pause")).json() == {
        "task_id": id,
        "changed": True,
        "status": "paused",
    }
    assert (await http.post(f"/tasks/{id}/resume")).json()["status"] == "queued"
    assert (await http.post(f"/tasks/{id}/cancel")).json() == {
        "task_id": id,
        "changed": True,
        "status": "cancelled",
    }
    assert (await http.post(f"/tasks/{id}/cancel")).json()["changed"] is False


async def test_many_are_controlled_at_once(http, served):
    await served.engine.pause()
    ids = [await submitted(http, tags=["x"] if n % 2 else [], workflow="w") for n in range(6)]
    assert (await http.post("/control/pause", json={"tag": "x"})).json()["changed"] == 3
    assert (await http.get("/tasks", params={"status": "paused"})).json()[0]["id"] == ids[5]
    assert (await http.post("/control/resume", json={"tag": "x"})).json()["changed"] == 3
    assert (await http.post("/control/pause", json={"task_type": TYPE})).status_code == 200
    assert (await http.get("/control")).json() == {"paused": ["all", f"type:{TYPE}"]}
    assert (await http.post("/control/cancel", json={"workflow": "w"})).json()["changed"] == 6
    assert (await http.post("/control/cancel", json={})).status_code == 422
    await http.post("/control/resume", json={"task_type": TYPE})
    await http.post("/control/resume", json={"everything": True})
    assert (await http.get("/control")).json() == {"paused": []}
    assert (await http.get("/workflows/w")).json()["done"] == 6
    assert (await http.get("/workflows/other")).status_code == 404


async def test_a_batch_is_all_or_nothing_and_tells_its_progress(http, served):
    bad = await http.post("/batches", json={"tasks": [task(), {"task_type": "nothing"}]})
    assert bad.status_code == 422
    assert (await http.get("/tasks")).json() == []
    headers = {"idempotency-key": "again"}
    body = {"tasks": [task(payload={"n": n}) for n in range(5)]}
    first = await http.post("/batches", json=body, headers=headers)
    assert first.status_code == 202, first.text
    assert (await http.post("/batches", json=body, headers=headers)).json() == first.json()
    id, ids = first.json()["batch_id"], first.json()["task_ids"]
    for one in ids:
        await ended(http, one)
    told = (await http.get(f"/batches/{id}")).json()
    assert (told["total"], told["done"], told["progress"]) == (5, 5, 1.0)
    assert (await http.get("/batches")).json() == [told]
    assert len((await http.get("/tasks", params={"batch_id": id})).json()) == 5
    assert (await http.get(f"/tasks/{ids[0]}")).json()["batch_id"] == id
    assert (await http.get("/batches/none")).status_code == 404


async def test_what_a_task_waits_for_is_told(http, served):
    await served.engine.pause()
    first = await submitted(http)
    reply = await http.post("/tasks", json=task(after=[first]))
    assert reply.json()["status"] == "blocked"
    id = reply.json()["task_id"]
    assert (await http.get(f"/tasks/{id}")).json()["dependencies"] == [first]
    assert (await http.get(f"/tasks/{first}")).json()["dependents"] == [id]


async def test_the_queue_can_be_full(serve):
    served = await serve(max_queue_size=1)
    served.engine.register(TYPE, lambda context: None)
    await served.engine.pause()
    async with served.http() as http:
        await submitted(http)
        reply = await http.post("/tasks", json=task())
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "queue_full")
        assert reply.headers["retry-after"]


async def test_what_is_tried_again_keeps_its_tags_and_its_batch(http):
    body = {"tasks": [task(payload={"fail": "x"}, max_retries=0, tags=["t"], workflow="w")]}
    batch = (await http.post("/batches", json=body)).json()
    (id,) = batch["task_ids"]
    await ended(http, id)
    again = (await http.post(f"/tasks/{id}/retry")).json()["task_id"]
    one = (await http.get(f"/tasks/{again}")).json()
    assert (one["tags"], one["workflow"], one["batch_id"]) == (["t"], "w", batch["batch_id"])
