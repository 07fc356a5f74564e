"""Bulk submission: lines in, outcomes out, in bounded memory."""

import asyncio
import json
import tracemalloc

import pytest

TYPE = "echo"


@pytest.fixture
async def served(serve):
    started = await serve(max_queue_size=None, max_bulk_line=2_000)

    async def echo(context):
        return context.data

    started.engine.register(TYPE, echo)
    await started.engine.pause()
    return started


@pytest.fixture
async def http(served):
    async with served.http(timeout=120) as client:
        yield client


def line(n, **fields):
    return json.dumps({"task_type": TYPE, "payload": {"n": n}, **fields}).encode()


def outcomes(reply):
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    *lines, last = [json.loads(one) for one in reply.text.splitlines()]
    return lines, last


async def test_every_line_has_its_outcome(http, served):
    lines = [
        line(1),
        b"",
        b"{",
        line(4, priority=1000),
        line(5, task_type="nothing"),
        b"x" * 3000,
        line(7, after=["0" * 32]),
        b'{"task_type": "echo", "payload": 1e999}',
        line(9, idempotency_key="k"),
        line(9, idempotency_key="k"),
        line(11, idempotency_key="k"),
        b"[]",
        b"\xff",
        line(14),
    ]
    told, last = outcomes(await http.post("/tasks/bulk?batch_id=b1", content=b"\n".join(lines)))
    codes = {one["line"]: one.get("error", {}).get("code") for one in told}
    assert codes == {
        1: None,
        3: "invalid_json",
        4: "invalid_request",
        5: "unknown_task_type",
        6: "too_large",
        7: "task_not_found",
        8: "invalid_json",
        9: None,
        10: None,
        11: "idempotency_conflict",
        12: "invalid_request",
        13: "invalid_json",
        14: None,
    }
    assert last == {"done": True, "lines": 13, "accepted": 4, "refused": 9}
    assert told[7]["task_id"] == told[8]["task_id"]
    assert (await http.get("/batches/b1")).json()["total"] == 3


async def test_outcomes_come_while_lines_go(served, http):
    async def lines():
        for n in range(3):
            yield line(n) + b"\n"
            await asyncio.wait_for(told[n].wait(), 20)

    told = [asyncio.Event() for _ in range(4)]
    got = []
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(b"POST /tasks/bulk HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")

    async def send():
        async for one in lines():
            writer.write(b"%x\r\n%s\r\n" % (len(one), one))
        writer.write(b"0\r\n\r\n")

    sending = asyncio.create_task(send())
    async with asyncio.timeout(20):
        async for raw in reader:
            if raw.startswith(b'{"line"'):
                got.append(json.loads(raw))
                told[len(got) - 1].set()
            if raw.startswith(b'{"done"'):
                break
    await sending
    writer.close()
    assert [one["line"] for one in got] == [1, 2, 3]


async def test_a_stream_that_broke_is_sent_again(http, served):
    body = b"\n".join(line(n) for n in range(1200))
    headers = {"idempotency-key": "load-1"}
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(b"POST /tasks/bulk HTTP/1.1\r\nhost: localhost\r\nidempotency-key: load-1\r\n")
    writer.write(b"content-length: %d\r\n\r\n" % len(body) + body[: len(body) // 2])
    async with asyncio.timeout(20):
        while not (await reader.readline()).startswith(b'{"line"'):
            pass
    writer.close()
    told, last = outcomes(await http.post("/tasks/bulk", content=body, headers=headers))
    assert last["accepted"] == 1200
    assert len({one["task_id"] for one in told}) == 1200
    assert sum("message" in one for one in told) >= 500
    assert (await http.get("/stats")).json()["total"] == 1200


@pytest.mark.slow
async def test_100_000_lines_in_bounded_memory(http, served, record_property):
    """The client does not read before it has sent everything."""

    async def body():
        for begin in range(0, 100_000, 100):
            yield b"\n".join(line(n) for n in range(begin, begin + 100)) + b"\n"

    tracemalloc.start(1)
    try:
        async with http.stream("POST", "/tasks/bulk", content=body()) as reply:
            count = 0
            async for _ in reply.aiter_lines():
                count += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_001
    record_property("figures", f"peak of {peak / 1e6:.0f} MB in Python objects, client included")
    assert peak < 60e6
    assert (await http.get("/stats")).json()["queued_tasks"] == 100_000
