"""Time that jumps: loops, threads, managers of any make."""

import asyncio
import queue
import time
from datetime import UTC, datetime

import pytest

from penstock import AITaskManager, APIConfig, ConfigurationError, OpenAICompatibleClient, TaskConfig
from penstock.errors import WaitTimeout
from penstock.model.clock import SystemClock
from penstock.testing import SimulatedProvider, Stalled, VirtualTimeLoop, run_virtually, virtually

DAY = 86_400.0


def client():
    return OpenAICompatibleClient(APIConfig("none", "http://nowhere.test/v1"))


@pytest.fixture
def quick():
    """What takes so little real time that no virtual second was waited for."""
    begun = time.perf_counter()
    yield
    assert time.perf_counter() - begun < 5


@pytest.mark.usefixtures("quick")
def test_sleeps_and_timeouts_pass_at_once():
    async def month():
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(asyncio.sleep(30 * DAY), asyncio.sleep(DAY))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time() - begun

    assert run_virtually(month) == pytest.approx(30 * DAY + 3600)


def test_arguments_results_errors_and_the_instant_of_the_beginning():
    async def echo(value, *, other):
        return value, other

    async def fail():
        raise KeyError("as it was meant")

    assert run_virtually(echo, 1, other=2) == (1, 2)
    with pytest.raises(KeyError):
        run_virtually(fail)

    @virtually(at=datetime(2030, 1, 1, tzinfo=UTC))
    async def when():
        return SystemClock().wall()

    assert when() == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    with pytest.raises(ConfigurationError, match="time zone"):
        virtually(at=datetime(2030, 1, 1))


def test_the_machines_clock_is_back_afterwards():
    async def nothing():
        assert SystemClock().wall() == 1_700_000_000.0

    run_virtually(nothing)
    assert abs(SystemClock().wall() - time.time()) < 5


async def test_it_is_refused_on_a_running_loop():
    async def nothing():
        raise AssertionError("never run")

    with pytest.raises(ConfigurationError, match="a loop runs already"):
        run_virtually(nothing)


def test_time_stands_still_while_a_thread_works():
    async def both():
        loop = asyncio.get_running_loop()
        begun = loop.time()
        slow = asyncio.create_task(asyncio.to_thread(time.sleep, 0.15))
        await asyncio.wait([slow], timeout=3600)
        assert slow.done()
        assert loop.time() == begun

    run_virtually(both)


def test_turns_of_threads_and_loop_are_the_same_every_time():
    async def mixed():
        said = []

        def ask(name):
            loop.call_soon_threadsafe(said.append, f"{name} asked")
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(len(name), name), loop).result()

        async def asked(name):
            said.append(await asyncio.to_thread(ask, name))

        loop = asyncio.get_running_loop()
        await asyncio.gather(*map(asked, ["four", "one", "sixsix"]))
        return said, loop.time()

    runs = [run_virtually(mixed) for _ in range(8)]
    assert runs.count(runs[0]) == 8
    assert runs[0] == (["four asked", "one asked", "sixsix asked", "one", "four", "sixsix"], 1006.0)


def test_a_thread_that_waits_for_nobody_knows_what():
    async def waits():
        inbox = queue.Queue()
        reading = asyncio.create_task(asyncio.to_thread(inbox.get))
        await asyncio.sleep(3600)
        inbox.put("late")
        return await reading

    assert run_virtually(waits) == "late"


def test_what_can_never_happen_is_told_where_it_is_waited_for():
    closed = []

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(10)
            closed.append(True)

    with pytest.raises(Stalled, match=r"harness\.drain") as found:
        run_virtually(waits)
    assert closed == [True]
    assert "waits" in "".join(frame.name for frame in _frames(found.value.__cause__))


def _frames(error):
    import traceback

    while error.__context__ is not None:
        error = error.__context__
    return traceback.extract_tb(error.__traceback__)


def test_a_manager_that_waits_for_nothing_stalls_too():
    async def waits():
        async with AITaskManager(client(), store="memory") as manager:
            manager.pause()
            with pytest.raises(WaitTimeout):
                await manager.wait_for_task(await manager.submit_task("llm_call", {"prompt": "x"}), 40 * DAY)
            await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run_virtually(waits)


def test_real_sockets_work_between_jumps():
    async def served():
        async def answer(reader, writer):
            await asyncio.sleep(3600)
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"hello\n")
            reply = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return reply

    assert run_virtually(served) == b"hello\n"


@pytest.mark.usefixtures("quick")
def test_a_task_that_retries_after_an_hour_and_sleeps_for_a_month():
    async def report(context):
        began = await context.now()
        if context.attempt == 1:
            raise RuntimeError("not yet")
        await asyncio.sleep(30 * DAY)
        return [began, context.attempt]

    async def run():
        async with AITaskManager(client(), store="memory", seed=0) as manager:
            manager.register_type("report", report)
            config = TaskConfig(retry_delay=3600, delay=DAY, timeout=None)
            begun = SystemClock().wall()
            began, attempt = await manager.wait_for_task(await manager.submit_task("report", config=config))
            assert (began, attempt) == (pytest.approx(begun + DAY, abs=0.01), 2)
            return SystemClock().wall() - begun

    took = run_virtually(run)
    assert 31 * DAY < took < 31 * DAY + 7200
    assert run_virtually(run) == took


@pytest.mark.usefixtures("quick")
def test_timeouts_expiry_deadlines_and_rates_in_virtual_time():
    async def sleeps(context):
        await asyncio.sleep(100)

    async def run():
        with SimulatedProvider() as provider:
            async with provider.manager(requests_per_minute=60) as manager:
                manager.register_type("sleeps", sleeps)
                slow = await manager.submit_task("sleeps", config=TaskConfig(timeout=60, max_retries=0))
                late = await manager.submit_task("sleeps", config=TaskConfig(delay=100, expires=50))
                (one, other) = await manager.wait_for_tasks([slow, late], return_exceptions=True)
                assert one.reason == "timeout"
                assert other.reason == "expired"
                before = SystemClock().wall()
                ids = await manager.submit_batch(
                    [{"task_type": "LLM_CALL", "data": {"prompt": f"{n}"}} for n in range(300)]
                )
                await manager.wait_for_tasks(ids)
                assert SystemClock().wall() - before > 200
                assert len(provider.calls) == 300

    run_virtually(run)


def test_plain_handlers_and_their_steps():
    def plain(context):
        return context.sync.step("double", lambda number: 2 * number, context.data) + context.sync.now()

    async def run():
        async with AITaskManager(client(), store="memory") as manager:
            manager.register_type("plain", plain)
            return await manager.wait_for_task(await manager.submit_task("plain", 4))

    assert run_virtually(run) == 1_700_000_008.0


def test_the_loop_is_a_loop_of_asyncio():
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(asyncio.sleep(10))
        with pytest.raises(Stalled):
            runner.run(asyncio.Event().wait())
    assert loop.clock.wall() == 1_700_000_010.0
