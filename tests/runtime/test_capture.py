"""Model calls of clients that know nothing of Penstock: captured inside tasks, untouched outside."""

import asyncio
import functools
import inspect
import threading

import httpx
import httpx2
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from penstock.errors import TaskFailed
from penstock.runtime import capture
from penstock.testing import Harness, SimulatedProvider

NAME = "POST /v1/chat/completions"


@pytest.fixture(autouse=True)
def unhooked():
    """Every test begins and ends with the libraries as they are."""
    capture.uninstall()
    yield
    capture.uninstall()


@pytest.fixture
async def client(world):
    """A plain client, made before any hook is."""
    async with AsyncOpenAI(base_url=world.simulator.base_url, api_key="k") as made:
        yield made


async def say(client, text, **more):
    messages = [{"role": "user", "content": text}]
    reply = await client.chat.completions.create(model="sim", messages=messages, **more)
    return reply.choices[0].message.content


def say_now(client, text):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="sim", messages=messages).choices[0].message.content


async def names(world):
    return [step.key.name for step in await world.steps()]


async def test_a_call_of_any_client_is_recorded_and_not_paid_again(world, client):
    async def work(context):
        with context.capturing():
            said = [await say(client, "one"), await say(client, "two")]
            await world.crash()
            return [*said, await say(client, "three")]

    said = await world.run_twice(work)
    assert len(set(said)) == 3
    assert [world.paid(text) for text in ("one", "two", "three")] == [(1, 0)] * 3
    assert await names(world) == [NAME] * 3
    assert await world.reservations() == ["settled"] * 3
    assert world.idle_again()


async def test_outside_the_block_and_outside_tasks_nothing_is_captured(world, client):
    async def work(context):
        with context.capturing():
            await say(client, "inside")
        await say(client, "behind")

    await world.run(work)
    await say(client, "outside")
    assert await names(world) == [NAME]
    assert [world.paid(text) for text in ("inside", "behind", "outside")] == [(1, 0)] * 3


async def test_only_model_calls_are_captured(world):
    async def work(context):
        with context.capturing():
            async with httpx2.AsyncClient(base_url=world.simulator.base_url) as http:
                models = await http.get("/models")
                lost = await http.post("/files", json={"model": "sim"})
                # Another service's address may end as a provider's does; no model is named.
                message = await http.post("/messages", json={"to": "you", "text": "hello"})
                upload = await http.post("/embeddings", files={"file": b"x"})
            return [models.status_code, lost.status_code, message.status_code, upload.status_code]

    assert await world.run(work) == [200, 404, 400, 400]
    assert await names(world) == []
    assert await world.reservations() == []


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_both_libraries_are_captured(world, library):
    http = library.AsyncClient(base_url=world.simulator.base_url)
    body = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}

    async def work(context):
        with context.capturing():
            reply = await http.post("/chat/completions", json=body)
            assert type(reply) is library.Response
            return reply.json()["object"]

    assert await world.run(work) == "chat.completion"
    await http.aclose()
    assert await names(world) == [NAME]


async def test_a_stream_passes_in_chunks_and_is_replayed(world, client):
    async def work(context):
        with context.capturing():
            chunks = [one async for one in await client.chat.completions.create(
                model="sim", messages=[{"role": "user", "content": "hello"}], stream=True
            )]  # fmt: skip
            await world.crash()
        return ["".join(one.choices[0].delta.content or "" for one in chunks), len(chunks)]

    text, chunks = await world.run_twice(work)
    assert text
    assert chunks > 3
    assert world.paid("hello") == (1, 0)
    (step,) = await world.steps()
    assert step.output_tokens > 0
    assert world.idle_again()


async def test_anthropic_too(world):
    async with AsyncAnthropic(base_url=world.simulator.root_url, api_key="k") as client:

        async def work(context):
            with context.capturing():
                reply = await client.messages.create(
                    model="sim", max_tokens=20, messages=[{"role": "user", "content": "hello"}]
                )
            return reply.content[0].text

        assert await world.run(work)
    assert await names(world) == ["POST /v1/messages"]


async def test_a_response_knows_how_long_it_took(world, client):
    def now():
        with OpenAI(base_url=world.simulator.base_url, api_key="k") as here:
            messages = [{"role": "user", "content": "now"}]
            return here.chat.completions.with_raw_response.create(model="sim", messages=messages).elapsed

    async def work(context):
        with context.capturing():
            messages = [{"role": "user", "content": "hello"}]
            raw = await client.chat.completions.with_raw_response.create(model="sim", messages=messages)
            assert int(raw.headers["content-length"]) == len(raw.content)
            return [raw.elapsed.total_seconds(), (await asyncio.to_thread(now)).total_seconds()]

    assert all(seconds > 0 for seconds in await world.run(work))


async def test_a_synchronous_stream_may_be_forgotten(world):
    forgotten = []

    def work(context):
        with context.sync.capturing():
            client = OpenAI(base_url=world.simulator.base_url, api_key="k")
            messages = [{"role": "user", "content": "hello"}]
            stream = client.chat.completions.create(model="sim", messages=messages, stream=True)
            forgotten.append((client, stream, next(iter(stream))))

    await world.run(work)
    client, stream, _ = forgotten.pop()
    stream.response.close()  # on the manager's loop, as the collector may
    client.close()
    async with asyncio.timeout(5):
        while not world.idle_again():  # noqa: ASYNC110 (the manager tells)
            await asyncio.sleep(0.01)
    assert await world.reservations() == ["uncertain"]


async def test_our_own_transport_and_client_are_captured_once(world):
    async def work(context):
        with context.capturing():
            return await world.say("hello")

    await world.run(work)
    assert await names(world) == [NAME]
    assert await world.reservations() == ["settled"]


async def test_synchronous_clients_in_threads_keep_their_own_transport(world):
    sent = []

    class Proxied(httpx2.HTTPTransport):
        """As one with a proxy or certificates of its own."""

        def handle_request(self, request):
            sent.append(threading.current_thread().name)
            return super().handle_request(request)

    http = httpx2.Client(transport=Proxied())
    client = OpenAI(base_url=world.simulator.base_url, api_key="k", http_client=http)

    def work(context):
        with context.sync.capturing(), client:
            said = say_now(client, "hello")
            stream = client.chat.completions.create(
                model="sim", messages=[{"role": "user", "content": "tell"}], stream=True
            )
            return [said, "".join(one.choices[0].delta.content or "" for one in stream)]

    said, told = await world.run(work)
    assert said
    assert told
    assert len(sent) == 2
    assert await names(world) == [NAME] * 2
    assert world.paid("hello") == (1, 0)
    assert world.idle_again()


async def test_synchronous_anthropic_in_a_thread_of_an_asynchronous_handler(world):
    async def work(context):
        def ask():
            with Anthropic(base_url=world.simulator.root_url, api_key="k") as client:
                messages = [{"role": "user", "content": "hello"}]
                return client.messages.create(model="sim", max_tokens=9, messages=messages).content[0].text

        with context.capturing():
            return await asyncio.to_thread(ask)

    assert await world.run(work)
    assert await names(world) == ["POST /v1/messages"]


async def test_a_synchronous_call_on_the_loops_own_thread_names_the_line(world):
    client = OpenAI(base_url=world.simulator.base_url, api_key="k")

    async def work(context):
        with context.capturing(), client:
            return say_now(client, "hello")

    with pytest.raises(TaskFailed) as caught:
        await world.run(work)
    assert caught.value.reason == "blocking_call"
    assert f"{__file__}:{inspect.getsourcelines(say_now)[1] + 2}" in str(caught.value)
    assert world.calls == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_loop_of_the_users_own_in_a_thread(world, stream):
    """A synchronous handler that runs asynchronous code."""

    async def ask():
        async with AsyncOpenAI(base_url=world.simulator.base_url, api_key="k") as client:
            if not stream:
                return await say(client, "hello")
            reply = await client.chat.completions.create(
                model="sim", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            return "".join([one.choices[0].delta.content or "" async for one in reply])

    def work(context):
        with context.sync.capturing():
            return asyncio.run(ask())

    assert await world.run(work)
    assert await names(world) == [NAME]
    assert world.idle_again()


async def test_two_managers_in_two_loops_keep_their_calls_apart(world, make_world, client, tmp_path):
    done = []

    async def work(context):
        with context.capturing():
            await say(client, "mine")

    def elsewhere():
        async def live():
            async with make_world() as other:
                async with AsyncOpenAI(base_url=other.simulator.base_url, api_key="k") as theirs:

                    async def their_work(context):
                        with context.capturing():
                            await say(theirs, "theirs")

                    await other.run(their_work, settings={"store": str(tmp_path / "other.db")})
                done.append(await names(other))

        asyncio.run(live())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await world.run(work)
    await asyncio.to_thread(thread.join)
    assert done == [[NAME]]
    assert await names(world) == [NAME]


async def test_a_scope_hook_names_where_a_call_is_made(world, client):
    here = []

    async def work(context):
        with context.capturing(), context.inside("graph", lambda: f"/{here[-1]}"):
            for part in ("one", "two"):
                here.append(part)
                await say(client, "hello")
                await context.step("note", lambda: context.scope)

    await world.run(work)
    assert [step.key.scope for step in await world.steps()] == ["graph/one"] * 2 + ["graph/two"] * 2
    inner = [step.value.decode() for step in await world.steps() if step.key.name == "note"]
    assert [one.strip('"').rsplit(":", 1)[0] for one in inner] == ["graph/one/note", "graph/two/note"]


def test_hooks_are_put_in_once_and_taken_away_whole():
    before = [library.HTTPTransport.handle_request for library in (httpx, httpx2)]
    threads = [threading.Thread(target=capture.install) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.install()
    hooks = [library.HTTPTransport.handle_request for library in (httpx, httpx2)]
    assert [hook.__wrapped__ for hook in hooks] == before
    capture.uninstall()
    assert [library.HTTPTransport.handle_request for library in (httpx, httpx2)] == before


async def test_captured_calls_reach_a_provider_in_this_process():
    with SimulatedProvider() as provider:
        provider.say("from here", "and from a thread")
        manager = provider.manager()

        async def work(context):
            with context.capturing():
                async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
                    said = await say(client, "hello")
                with OpenAI(base_url=provider.base_url, api_key="k") as client:
                    return [said, await asyncio.to_thread(say_now, client, "hello")]

        manager.register_type("work", work)
        async with Harness(manager) as harness:
            await manager.submit_task("work")
            (done,) = await harness.drain()
            assert done.result == ["from here", "and from a thread"]


async def test_hooks_come_back_when_a_mock_put_back_what_was_before_them(world, client, monkeypatch):
    async def mocked(transport, request):
        return httpx2.Response(200, json={"object": "mock"})

    with monkeypatch.context() as patch:
        patch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", mocked)
        capture.install()

    async def work(context):
        with context.capturing():
            return await say(client, "hello")

    await world.run(work)
    assert await names(world) == [NAME]
    assert world.paid("hello") == (1, 0)


async def test_a_mock_that_comes_later_answers_captured_calls(world, client, monkeypatch):
    capture.install()
    reply = {
        "object": "chat.completion",
        "model": "sim",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "mock"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }

    async def mocked(transport, request):
        return httpx2.Response(200, json=reply)

    async def work(context):
        with context.capturing():
            return await say(client, "hello")

    with monkeypatch.context() as patch:
        patch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", mocked)
        assert await world.run(work) == "mock"
    assert world.calls == 0
    assert await names(world) == [NAME]


def test_hooks_that_somebody_wrapped_stay_where_they_are():
    capture.install()
    hook = httpx2.HTTPTransport.handle_request

    @functools.wraps(hook)
    def wrapper(transport, request):
        return hook(transport, request)

    httpx2.HTTPTransport.handle_request = wrapper
    try:
        capture.install()
        capture.uninstall()
        assert httpx2.HTTPTransport.handle_request is wrapper
    finally:
        httpx2.HTTPTransport.handle_request = hook.__wrapped__
