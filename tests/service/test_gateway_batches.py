"""Files and batches, through OpenAI's own client and by hand."""

import asyncio
import json
from dataclasses import replace

import pytest
from openai import AsyncOpenAI, BadRequestError, ConflictError, NotFoundError

from penstock.admission import RateLimit
from penstock.service.auth import KeyRing, Principal
from penstock.simulator import Latency, SimulatorConfig

MODEL = "gpt-4o-mini"
CHAT = "/v1/chat/completions"


def line(number, url=CHAT, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"item {number}"}], **more}
    return {"custom_id": f"r-{number}", "method": "POST", "url": url, "body": body}


def lines_of(count):
    return "".join(json.dumps(line(number)) + "\n" for number in range(count)).encode()


@pytest.fixture
async def open_client():
    clients = []

    def build(served, key="anything"):
        clients.append(AsyncOpenAI(base_url=served.base_url, api_key=key, max_retries=0))
        return clients[-1]

    yield build
    for client in clients:
        await client.close()


async def ended(client, batch, seconds=20):
    async with asyncio.timeout(seconds):
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def begun(client, batch):
    """The batch, as soon as one of its lines is done."""
    async with asyncio.timeout(20):
        while batch.request_counts.completed < 1:
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def order(client, content, endpoint=CHAT, **more):
    file = await client.files.create(file=("in.jsonl", content), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )


async def read(client, file_id):
    return [json.loads(text) for text in (await client.files.content(file_id)).text.splitlines()]


async def test_files(serve, open_client, tmp_path):
    served = await serve()
    client = open_client(served)
    content = bytes(range(256)) * 5_000
    file = await client.files.create(
        file=("data.bin", content),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (file.bytes, file.filename, file.purpose, file.status) == (
        len(content), "data.bin", "user_data", "processed",
    )  # fmt: skip
    assert file.expires_at == pytest.approx(file.created_at + 3600, abs=1)
    assert (await client.files.content(file.id)).read() == content
    second = await client.files.create(file=("b", b""), purpose="batch")
    assert [one.id async for one in client.files.list()] == [second.id, file.id]
    assert [one.id async for one in client.files.list(limit=1)] == [second.id, file.id]  # by pages
    assert [one.id async for one in client.files.list(purpose="batch")] == [second.id]
    assert (await client.files.delete(file.id)).deleted
    with pytest.raises(NotFoundError):
        await client.files.retrieve(file.id)
    assert not list((tmp_path / "tasks.db.files").glob(file.id))


async def test_files_are_bounded_and_of_one_tenant(serve, open_client):
    class Tenants(KeyRing):
        def identify(self, headers, address):
            name = headers["authorization"].removeprefix("Bearer ")
            return Principal(name, name, frozenset({"submit", "read"}))

        async def principal(self, request):
            return self.identify(request.headers, "")

    served = await serve(keys=Tenants(), max_file=1_000, max_files=1_500)
    ada, bob = open_client(served, "ada"), open_client(served, "bob")
    file = await ada.files.create(file=("a", b"x" * 1_000), purpose="batch")
    with pytest.raises(NotFoundError):
        await bob.files.content(file.id)
    with pytest.raises(NotFoundError):
        await bob.files.delete(file.id)
    assert [one.id async for one in bob.files.list()] == []
    for content in (b"x" * 600, b"x" * 1_100, b"x" * 300_000):
        with pytest.raises(Exception, match="larger than"):
            await ada.files.create(file=("a", content), purpose="batch")
    async with served.http() as http:
        stranger = {"authorization": "Bearer eve"}
        for content, kind in (
            (b"nothing", "text/plain"),
            (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
            (b"--x", "multipart/form-data; boundary=" + "x" * 1_000),
        ):
            headers = {**stranger, "content-type": kind}
            assert (await http.post("/v1/files", content=content, headers=headers)).status_code == 400
    batch = await order(bob, lines_of(1))
    with pytest.raises(NotFoundError):
        await ada.batches.retrieve(batch.id)
    assert [one.id async for one in ada.batches.list()] == []
    assert (await ended(bob, batch)).status == "completed"
    folder = served.service.gateway.shelf.path("x").parent
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("life", ["3599", "2592001", "00000000000000003600" + "9" * 20, "0" * 5_000 + "3600"])
async def test_the_life_of_a_file_is_bounded(serve, life):
    served = await serve()
    async with served.http() as http:
        data = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": life}
        reply = await http.post("/v1/files", files={"file": ("a", b"x")}, data=data)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_field")


async def test_a_batch_from_beginning_to_end(serve, open_client):
    served = await serve(simulator=SimulatorConfig(models=(MODEL,)))
    client = open_client(served)
    bad = json.dumps({**line(3), "body": {**line(3)["body"], "temperature": 99}}) + "\n"
    content = lines_of(3) + b"\n" + bad.encode()
    batch = await order(client, content, metadata={"job": "nightly"})
    assert batch.status in ("validating", "in_progress")
    batch = await ended(client, batch)
    assert batch.status == "completed"
    assert batch.metadata == {"job": "nightly"}
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (4, 3, 1)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens > 0
    output = {one["custom_id"]: one for one in await read(client, batch.output_file_id)}
    assert output.keys() == {"r-0", "r-1", "r-2"}
    response = output["r-1"]["response"]
    assert response["status_code"] == 200
    assert response["body"]["choices"][0]["message"]["content"]
    assert output["r-1"]["id"].startswith("batch_req_")
    [error] = await read(client, batch.error_file_id)
    assert (error["custom_id"], error["response"]) == ("r-3", None)
    assert error["error"]["message"]
    assert [one.id async for one in client.batches.list()] == [batch.id]
    with pytest.raises(ConflictError):
        await client.batches.cancel(batch.id)
    tasks = served.manager.list_tasks()
    assert {(task.task_type, task.priority) for task in tasks} == {("llm_request", 10)}


async def test_a_file_that_is_no_batch(serve, open_client):
    served = await serve()
    client = open_client(served)
    rows = [
        line(1), line(1), {**line(2), "url": "/v1/embeddings"}, {**line(3), "method": "GET"},
        {**line(4), "body": {"messages": []}}, {**line(5), "custom_id": 5}, [],
    ]  # fmt: skip
    content = "\n".join(json.dumps(row) for row in rows).encode() + b"\nno json\n"
    batch = await ended(client, await order(client, content))
    assert batch.status == "failed"
    found = [(one.line, one.code) for one in batch.errors.data]
    assert found == [
        (2, "duplicate_custom_id"),
        (3, "mismatched_url"),
        (4, "invalid_method"),
        (5, "invalid_request"),
        (6, "invalid_custom_id"),
        (7, "invalid_json_line"),
        (8, "invalid_json_line"),
    ]
    empty = await ended(client, await order(client, b"\n"))
    assert empty.errors.data[0].code == "empty_file"
    assert served.manager.list_tasks() == []
    other = await client.files.create(file=("a", b"{}"), purpose="user_data")
    with pytest.raises(BadRequestError, match="batch"):
        await client.batches.create(input_file_id=other.id, endpoint=CHAT, completion_window="24h")


async def test_a_cancelled_batch_keeps_what_was_done(serve, open_client, eventually):
    served = await serve(rates=(RateLimit("requests", 3, 1000.0),), simulator=SimulatorConfig())
    client = open_client(served)
    batch = await order(client, lines_of(1_300))
    batch = await begun(client, batch)
    with pytest.raises(ConflictError):
        await client.files.delete(batch.input_file_id)
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    batch = await ended(client, batch)
    assert batch.status == "cancelled"
    done = await read(client, batch.output_file_id)
    undone = await read(client, batch.error_file_id)
    assert len(done) >= 1
    assert len(done) + len(undone) == 1_300
    assert {one["error"]["code"] for one in undone} == {"batch_cancelled"}
    assert len({one["custom_id"] for one in [*done, *undone]}) == 1_300
    assert batch.request_counts.completed + batch.request_counts.failed == 1_300


async def test_a_batch_goes_on_after_a_restart(serve, open_client, eventually):
    served = await serve(rates=(RateLimit("requests", 2, 1000.0),))
    client = open_client(served)
    batch = await order(client, lines_of(20))
    await begun(client, batch)
    await serve.stop(served)
    served = await serve()
    client = open_client(served)
    batch = await ended(client, await client.batches.retrieve(batch.id))
    assert (batch.status, batch.request_counts.completed) == ("completed", 20)
    output = await read(client, batch.output_file_id)
    assert sorted(one["custom_id"] for one in output) == sorted(f"r-{n}" for n in range(20))


async def test_a_batch_that_expires(serve, open_client):
    served = await serve(rates=(RateLimit("requests", 1, 1000.0),))
    client = open_client(served)
    batch = await order(client, lines_of(3))
    await begun(client, batch)

    def pass_time(store):
        row = store.order(batch.id)
        store.put_order(replace(row, body={**row.body, "expires_at": row.created_at}))

    await served.engine.node.committer.run(pass_time)
    batch = await ended(client, batch)
    assert batch.status == "expired"
    assert len(await read(client, batch.output_file_id)) == 1
    assert {one["error"]["code"] for one in await read(client, batch.error_file_id)} == {"batch_expired"}


async def test_embeddings_and_responses_in_batches(serve, open_client):
    served = await serve(simulator=SimulatorConfig(latency=Latency(0.001)))
    client = open_client(served)
    bodies = {"/v1/embeddings": {"model": "e", "input": "a"}, "/v1/responses": {"model": MODEL, "input": "a"}}
    for url, body in bodies.items():
        content = json.dumps({"custom_id": "one", "method": "POST", "url": url, "body": body}).encode()
        batch = await ended(client, await order(client, content, endpoint=url))
        [row] = await read(client, batch.output_file_id)
        assert row["response"]["body"]["object"] in ("list", "response")
