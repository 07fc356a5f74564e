"""Webhooks: signed, tried again, from the durable queue."""

import asyncio
import hashlib
import hmac
import json

import pytest

from penstock.model.options import TaskOptions
from penstock.service import webhook_delivery

TYPE = "echo"


async def echo(context):
    if context.data == "fail":
        raise ValueError("no luck")
    return context.data


class Receiver:
    """A small HTTP server that keeps what it gets and answers as told, then 204."""

    def __init__(self):
        self.got, self.answers = [], []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *exc):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head) if name}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        status = self.answers.pop(0) if self.answers else 204
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()

    @property
    def messages(self):
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
async def receiver():
    async with Receiver() as running:
        yield running


@pytest.fixture
def start(serve, monkeypatch):
    options = TaskOptions(max_retries=5, retry_delay=0.02)
    monkeypatch.setattr(webhook_delivery, "OPTIONS", options)

    async def started():
        served = await serve(allowed_hosts=["127.0.0.1"])
        served.engine.register(TYPE, echo)
        return served

    return started


def check_signature(headers, body, *secrets):
    parts = [part.partition("=") for part in headers["penstock-signature"].split(",")]
    at = next(value for name, _, value in parts if name == "t")
    expected = [
        hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest() for key in secrets
    ]
    assert [value for name, _, value in parts if name == "v1"] == expected


async def test_a_task_tells_its_url_and_is_tried_again(start, receiver, eventually):
    served = await start()
    receiver.answers = [500, 302]
    async with served.http() as http:
        secret = (await http.get("/webhook-secret")).json()["secret"]
        reply = await http.post(
            "/tasks", json={"task_type": TYPE, "payload": 7, "name": "n", "webhook": receiver.url}
        )
        id = reply.json()["task_id"]
        await eventually(lambda: len(receiver.got) >= 3)
        assert (await http.get(f"/tasks/{id}")).json()["webhook"] == receiver.url
    for headers, body in receiver.got:
        check_signature(headers, body, secret)
    assert len({message["id"] for message in receiver.messages}) == 1
    told = receiver.messages[-1]
    assert told["type"] == "task.completed"
    assert (told["data"]["id"], told["data"]["name"], told["data"]["result"]) == (id, "n", 7)
    assert secret not in receiver.got[0][1].decode()


async def test_subscriptions_choose_ends(start, receiver, eventually):
    served = await start()
    async with served.http() as http:
        body = {"url": receiver.url, "task_type": TYPE, "statuses": ["failed"]}
        hook = (await http.post("/webhooks", json=body)).json()
        assert (await http.get("/webhooks")).json() == [hook]
        for payload in (1, "fail", 2):
            body = {"task_type": TYPE, "payload": payload, "max_retries": 0}
            await http.post("/tasks", json=body)
        await eventually(lambda: receiver.got)
        await served.engine.idle()
        assert [one["type"] for one in receiver.messages] == ["task.failed"]
        assert (await http.delete(f"/webhooks/{hook['id']}")).json() == {"removed": True}
        assert (await http.delete(f"/webhooks/{hook['id']}")).status_code == 404


async def test_subscriptions_to_what_people_are_asked(start, receiver, eventually):
    async def ask(context):
        return (await context.approve("Send it?", details=[1], name="send")).approved

    served = await start()
    served.engine.register("ask", ask)
    async with served.http() as http:
        body = {"url": receiver.url, "events": ["approval_requested"]}
        hook = (await http.post("/webhooks", json=body)).json()
        assert hook["events"] == ["approval_requested"]
        assert (await http.get("/webhooks")).json() == [hook]
        id = (await http.post("/tasks", json={"task_type": "ask"})).json()["task_id"]
        await eventually(lambda: receiver.got)
        (told,) = receiver.messages
        assert (told["type"], told["data"]["id"]) == ("task.approval_requested", id)
        assert told["approval"] == {"name": "send", "question": "Send it?", "details": [1]}
        await http.post(f"/tasks/{id}/decision", json={"approved": True})
        await served.engine.idle()
        assert len(receiver.got) == 1
        wrong = await http.post("/webhooks", json={**body, "events": ["asked"]})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "invalid_request")
        assert (await http.post("/webhooks", json={**body, "events": []})).status_code == 422


async def test_an_old_secret_signs_for_a_day(start, receiver, eventually):
    served = await start()
    async with served.http() as http:
        old = (await http.get("/webhook-secret")).json()["secret"]
        new = (await http.post("/webhook-secret")).json()
        assert new["previous"] == old
        await http.post("/tasks", json={"task_type": TYPE, "webhook": receiver.url})
        await eventually(lambda: receiver.got)
    check_signature(*receiver.got[0], new["secret"], old)


async def test_ends_that_nobody_watched_are_told_after_a_restart(start, serve, receiver, eventually):
    """The task ends while nothing follows the events, as after a kill between end and delivery."""
    served = await start()
    async with served.http() as http:
        await http.post("/tasks", json={"task_type": TYPE, "payload": 0, "webhook": receiver.url})
        await eventually(lambda: len(receiver.got) == 1)
        follower = next(task for task in asyncio.all_tasks() if task.get_name() == "penstock-webhooks")
        follower.cancel()
        await asyncio.wait({follower})
        reply = await http.post("/tasks", json={"task_type": TYPE, "payload": 1, "webhook": receiver.url})
        await http.get(f"/tasks/{reply.json()['task_id']}/result", params={"wait": 20})
    await serve.stop(served)
    assert len(receiver.got) == 1
    await start()
    await eventually(lambda: len(receiver.got) == 2)
    assert [one["data"]["result"] for one in receiver.messages] == [0, 1]


async def test_private_addresses_are_refused(serve):
    served = await serve()
    async with served.http() as http:
        for url in ("http://127.0.0.1/x", "http://169.254.169.254/", "http://localhost/", "http://[::1]/"):
            reply = await http.post("/webhooks", json={"url": url})
            assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_task")
        assert (await http.post("/webhooks", json={"url": "ftp://example.com/"})).status_code == 422
