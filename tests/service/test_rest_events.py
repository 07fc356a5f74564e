"""Events as streams: resumed without a gap or a duplicate, whatever cuts the connection."""

import asyncio
import json

import pytest

TYPE = "echo"


async def echo(context):
    return context.data


@pytest.fixture
async def served(serve):
    started = await serve(requests_per_minute=None, keep_alive_seconds=0.2)
    started.engine.register(TYPE, echo)
    return started


@pytest.fixture
async def http(served):
    async with served.http() as client:
        yield client


class Follower:
    """Reads a stream; what it saw last is what it resumes behind."""

    def __init__(self, http, path):
        self.http, self.path = http, path
        self.seen, self.comments = [], 0

    @property
    def last(self):
        return {"last-event-id": str(self.seen[-1]["no"])} if self.seen else {}

    async def read(self, enough=lambda follower: False):
        """Until the stream ends or it is enough, when the connection is dropped; the status."""
        async with self.http.stream("GET", self.path, headers=self.last) as reply:
            event = {}
            async for line in reply.aiter_lines():
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif "data" in event:
                    data = json.loads(event["data"])
                    assert (event["id"], event["event"]) == (str(data["no"]), data["kind"])
                    self.seen.append(data)
                    event = {}
                if enough(self):
                    break
            return reply.status_code

    @property
    def numbers(self):
        return [event["no"] for event in self.seen]


async def submit(http, count=1, **fields):
    body = {"tasks": [{"task_type": TYPE, "payload": n, **fields} for n in range(count)]}
    reply = await http.post("/batches", json=body)
    assert reply.status_code == 202, reply.text
    return reply.json()


async def recorded(served, after=0):
    return [event.no for event in await served.engine.read(lambda reader: reader.events(after, 100_000))]


async def test_the_stream_of_a_task_tells_everything_and_ends_with_it(http, served):
    await served.engine.pause()
    (id,) = (await submit(http))["task_ids"]
    follower = Follower(http, f"/tasks/{id}/events")
    reading = asyncio.create_task(follower.read())
    while not follower.comments:  # noqa: ASYNC110 - it keeps alive
        await asyncio.sleep(0.01)
    await served.engine.resume()
    assert await reading == 200
    assert [event["kind"] for event in follower.seen] == ["submitted", "started", "finished"]
    assert {event["task_id"] for event in follower.seen} == {id}
    assert await follower.read() == 204  # nothing follows: a browser stops asking
    late = Follower(http, f"/tasks/{id}/events?kind=finished")
    assert await late.read() == 200
    assert [event["kind"] for event in late.seen] == ["finished"]


async def test_killed_connections_lose_and_repeat_nothing(http, served):
    begun = await served.engine.read(lambda reader: reader.last_event())
    follower = Follower(http, f"/events?after={begun}")

    async def work():
        for _ in range(20):
            await submit(http, 10)
            await asyncio.sleep(0.01)
        await served.engine.idle()

    working = asyncio.create_task(work())
    while not (working.done() and len(follower.seen) >= 600):
        wanted = len(follower.seen) + 37
        await follower.read(lambda one, wanted=wanted: len(one.seen) >= min(wanted, 600))
    assert follower.numbers == await recorded(served, begun)


async def test_a_follower_that_lags_reads_the_store(http, served, monkeypatch):
    monkeypatch.setattr("penstock.service.events._KEPT", 50)
    slow, fast = Follower(http, "/events?after=0"), Follower(http, "/events?after=0")
    await submit(http, 300)
    await served.engine.idle()
    await asyncio.gather(*(one.read(lambda one: len(one.seen) >= 900) for one in (slow, fast)))
    assert slow.numbers == fast.numbers == (await recorded(served))[:900]


async def test_the_stream_of_a_batch_ends_with_its_last_task(http, served):
    await served.engine.pause()
    await submit(http, 3)
    batch = await submit(http, 20)
    follower = Follower(http, f"/batches/{batch['batch_id']}/events")
    reading = asyncio.create_task(follower.read(lambda one: len(one.seen) >= 30))
    await served.engine.resume()
    await reading
    while await follower.read() != 204:
        pass
    assert {event["task_id"] for event in follower.seen} == set(batch["task_ids"])
    assert len(follower.seen) == 60 == len(set(follower.numbers))
    assert follower.numbers == sorted(follower.numbers)
    assert (await http.get("/batches/none/events")).status_code == 404


async def test_followers_are_bounded_and_leave_their_places(serve, eventually):
    served = await serve(most_followers=2, keep_alive_seconds=0.05)
    async with served.http() as http:
        followers = [Follower(http, "/events") for _ in range(2)]
        reading = [asyncio.create_task(one.read()) for one in followers]
        await eventually(lambda: all(one.comments for one in followers))
        reply = await http.get("/events")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "too_many_followers")
        for one in reading:
            one.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await eventually(lambda: not served.service.hub._followers)
        assert served.service.hub._pump is None


async def test_streams_end_when_the_service_closes(serve, eventually):
    served = await serve(keep_alive_seconds=30)
    async with served.http() as http:
        follower = Follower(http, "/events")
        reading = asyncio.create_task(follower.read())
        await eventually(lambda: served.service.hub._followers)
        served.service.closing.set()
        assert await asyncio.wait_for(reading, 10) == 200


async def test_who_hears_nothing_of_the_news_of_others_is_kept_alive(http, served):
    follower = Follower(http, "/events?kind=none-such")
    reading = asyncio.create_task(follower.read(lambda follower: follower.comments >= 2))
    while not reading.done():
        await submit(http)
        await asyncio.sleep(0.02)
    assert await reading == 200
    assert follower.seen == []


async def test_odd_ids_of_events(http):
    for value in ("x", "-1", "\u00b2"):
        reply = await http.get("/events", headers={"last-event-id": value.encode()})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_event_id")
    assert (await http.get("/events", params={"after": "9" * 40})).status_code == 422
