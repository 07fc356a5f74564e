"""The task manager in plain synchronous code: one portal, any thread, and no hang at any end."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock import (
    APIConfig,
    ConfigurationError,
    InvalidTask,
    OpenAICompatibleClient,
    PenstockError,
    Priority,
    SyncTaskManager,
    TaskCancelled,
    TaskConfig,
    TaskContext,
    TaskFailed,
    TaskStatus,
    TaskType,
    WaitTimeout,
)
from penstock.errors import BlockingCall
from penstock.simulator import SimulatorConfig, SimulatorThread


@pytest.fixture(scope="module")
def endpoint():
    with SimulatorThread(SimulatorConfig()) as simulator:
        yield simulator


@pytest.fixture
def sync_make(endpoint, tmp_path):
    def build(**settings):
        client = OpenAICompatibleClient(APIConfig("key-1f9c", endpoint.base_url))
        given = {
            "store": str(tmp_path / "tasks.db"),
            "durability": "normal",
            "requests_per_minute": None,
            "prices": {"gpt-4o-mini": {"input": 1, "output": 2}},
            **settings,
        }
        return SyncTaskManager(client, given.pop("max_concurrent", 20), **given)

    return build


@pytest.fixture
def portal(sync_make):
    with sync_make() as running:
        yield running


async def never(context):
    await asyncio.Event().wait()


async def fail(context):
    raise ValueError("as it was meant")


async def echo(context):
    return context.data


def joined(thread):
    thread.join(10)
    return not thread.is_alive()


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_calls_of_the_face(portal):
    id = portal.submit_task(TaskType.LLM_CALL, {"prompt": "hello", "max_tokens": 9}, Priority.HIGH)
    reply = portal.wait_for_task(id, timeout=10)
    assert portal.get_task_result(id) == reply
    assert portal.get_task(id).status is TaskStatus.COMPLETED
    assert portal.get_task_status(id)["status"] == "completed"
    assert portal.get_task_status("0" * 32) is None
    cost = portal.get_statistics()["cost"]["total"]["cost"]
    assert portal.cost_controller.total_cost == cost > 0
    portal.cost_controller.reset_total_cost()
    assert portal.cost_controller.get_costs()["total"]["cost"] == 0
    portal.adjust_settings(max_concurrent=3, budget_limit=5)
    assert portal.get_statistics()["concurrency"]["max_concurrent"] == 3
    portal.pause()
    assert portal.is_paused()
    ids = portal.submit_batch([{"task_type": "LLM_CALL", "data": {"prompt": f"{n}"}} for n in range(3)])
    assert portal.get_queue_status()["total_size"] == 3
    assert portal.cancel_task(ids[0])
    assert portal.cancel_batch(ids[:2]) == {ids[0]: False, ids[1]: True}
    portal.resume()
    assert portal.wait_for_tasks(ids[2:], timeout=10)[0]["text"]
    again = portal.retry_task(ids[0])
    assert portal.wait_for_task(again, timeout=10)["text"]
    assert len(portal.list_tasks()) == 5
    assert portal.cleanup_old_tasks(older_than_hours=0) == 5


def test_what_calls_raise_is_raised_here(portal):
    portal.register_type("fail", fail)
    portal.register_type("never", never)
    with pytest.raises(InvalidTask, match="prompt"):
        portal.submit_task(TaskType.LLM_CALL, {"prompt": 5})
    bad = portal.submit_task("fail", config=TaskConfig(max_retries=0))
    with pytest.raises(TaskFailed, match="as it was meant"):
        portal.wait_for_task(bad)
    slow = portal.submit_task("never")
    with pytest.raises(WaitTimeout):
        portal.wait_for_task(slow, timeout=0.05)
    assert portal.cancel_task(slow)
    with pytest.raises(TaskCancelled):
        portal.wait_for_task(slow)


def test_threads_may_call_at_once(portal):
    portal.register_type("echo", echo)

    def one(number):
        ids = [portal.submit_task("echo", [number, place]) for place in range(5)]
        return portal.wait_for_tasks(ids, timeout=20)

    with ThreadPoolExecutor(12) as threads:
        for number, results in enumerate(threads.map(one, range(24))):
            assert results == [[number, place] for place in range(5)]
    assert portal.get_statistics()["tasks"]["by_status"]["completed"] == 120


def test_functions_of_ones_own(sync_make):
    portal = sync_make()

    @portal.task
    def double(number: int) -> int:
        return 2 * number

    with portal:

        @portal.task(name="later", config=TaskConfig(max_retries=0))
        async def after_start(context: TaskContext, text: str) -> list[str]:
            return [await context.step("look", text.upper)]

        assert double(2) == 4
        handle = double.submit(21)
        assert handle.result(timeout=10) == 42
        assert handle.status is TaskStatus.COMPLETED
        assert handle.cancel() is False
        assert after_start.submit(text="a").result() == ["A"]
        assert double.handle(handle.id).result() == 42
        with pytest.raises(InvalidTask, match="number"):
            double.submit("many")
        portal.pause()
        waiting = double.with_options(priority="URGENT").submit(1)
        assert portal.get_task(waiting.id).priority == 40
        assert waiting.cancel()


def test_handlers_and_callbacks_that_are_plain_may_call_the_portal(portal):
    portal.register_type("echo", echo)
    heard = []

    def parent(context):
        return portal.wait_for_task(portal.submit_task("echo", context.data), timeout=10)

    def done(task):
        heard.append(portal.get_task_result(task.task_id))

    portal.register_type("parent", parent)
    id = portal.submit_task("parent", "x", config=TaskConfig(callback=done))
    assert portal.wait_for_task(id, timeout=10) == "x"
    until(lambda: heard == ["x"])


def test_a_call_on_an_event_loop_is_refused(portal):
    async def on_a_loop():
        for call in (
            portal.get_statistics,
            portal.stop,
            portal.start,
            lambda: portal.submit_task("llm_call"),
        ):
            with pytest.raises(BlockingCall, match="AITaskManager"):
                call()

    asyncio.run(on_a_loop())
    portal.register_type("inner", lambda context: None)

    async def inside(context):
        portal.get_queue_status()

    portal.register_type("inside", inside)
    with pytest.raises(TaskFailed, match="AITaskManager"):
        portal.wait_for_task(portal.submit_task("inside", config=TaskConfig(max_retries=0)), timeout=10)
    assert portal.is_running()


def test_iterators(portal):
    may_end = [threading.Event() for _ in range(4)]
    portal.register_type("wait", lambda context: may_end[context.data].wait(60) and context.data)
    ids = [portal.submit_task("wait", place) for place in (2, 0, 1)]
    may_end[0].set()
    results = []
    for task in portal.as_completed(ids, timeout=10):
        results.append(task.result)
        may_end[min(2, len(results))].set()
    assert results == [0, 1, 2]
    kinds = [event.kind for event in portal.events(ids[0])]
    assert kinds[0] == "submitted"
    assert kinds[-1] == "finished"
    with pytest.raises(WaitTimeout):
        list(portal.as_completed([portal.submit_task("wait", 3)], timeout=0.05))
    may_end[3].set()
    for event in portal.events(after=0):
        assert event.kind == "submitted"
        break  # leaving early lets go of it
    until(lambda: not portal.manager.engine.feed._followers)


def test_it_runs_between_start_and_stop_and_again(sync_make):
    portal = sync_make()
    for call in (portal.get_queue_status, portal.pause, lambda: portal.wait_for_task("x")):
        with pytest.raises(ConfigurationError, match="not running"):
            call()
    for _ in range(2):
        portal.start()
        portal.start()
        portal.register_type(f"echo{time.monotonic_ns()}", echo)
        assert portal.is_running()
        threads = [thread for thread in threading.enumerate() if thread.name == "penstock-loop"]
        assert len(threads) == 1
        portal.stop()
        portal.stop()
        assert not portal.is_running()
        assert joined(threads[0])
        assert portal.get_statistics()["status"]["running"] is False
        with pytest.raises(ConfigurationError, match="not running"):
            portal.submit_task("llm_call", {"prompt": "x"})


def test_a_start_that_fails_leaves_no_thread(sync_make):
    with sync_make() as one:
        other = sync_make()
        with pytest.raises(PenstockError, match="is dispatched by process"):
            other.start()
        assert not other.is_running()
        assert sum(thread.name == "penstock-loop" for thread in threading.enumerate()) == 1
        assert one.is_running()


def test_stop_lets_go_of_those_who_wait(sync_make):
    portal = sync_make()
    portal.start()
    portal.register_type("never", never)
    portal.pause()
    id = portal.submit_task("never")
    told = []

    def wait():
        for call in (lambda: portal.wait_for_task(id), lambda: portal.wait_for_tasks([id])):
            try:
                call()
            except PenstockError as error:
                told.append(str(error))

    def follow():
        told.append(len(list(portal.events())))

    threads = [threading.Thread(target=work) for work in (wait, wait, follow)]
    for thread in threads:
        thread.start()
    until(lambda: portal.call(lambda: len(portal.manager.engine.waiters._futures.get(id, ()))) == 2)
    portal.stop()
    assert all(joined(thread) for thread in threads)
    assert len(told) == 5
    assert all("stopped" in text or "not running" in text for text in told if isinstance(text, str))


def test_stop_waits_for_handlers_no_longer_than_asked(sync_make):
    portal = sync_make()
    portal.register_type("never", never)

    def runs():
        return [task.status for task in portal.list_tasks()] == [TaskStatus.RUNNING]

    with portal:
        id = portal.submit_task("never")
        until(runs)
        begun = time.monotonic()
        portal.stop(timeout=0.1)
        assert time.monotonic() - begun < 5
    with portal:  # it goes on
        until(runs)
        portal.stop(now=True)
    with portal:
        until(runs)
        assert portal.cancel_task(id)


def test_many_stops_and_calls_at_once_end(sync_make):
    portal = sync_make()
    portal.start()
    portal.register_type("echo", echo)
    begun = threading.Barrier(6)
    ended = []

    def work(number):
        begun.wait()
        try:
            while number < 4:
                portal.wait_for_task(portal.submit_task("echo", number), timeout=10)
            time.sleep(0.05)
            portal.stop()
        except ConfigurationError:
            pass
        ended.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    assert all(joined(thread) for thread in threads)
    assert sorted(ended) == list(range(6))


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_while_waiting_leaves_the_task_for_the_next_start(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import asyncio, sys
            from penstock import SyncTaskManager

            async def never(context):
                print("begun", flush=True)
                await asyncio.Event().wait()

            manager = SyncTaskManager(store=sys.argv[1])
            manager.start()
            manager.register_type("never", never)
            try:
                manager.wait_for_task(manager.submit_task("never"))
            except KeyboardInterrupt:
                print("interrupted", flush=True)
                manager.stop(timeout=0.1)
                print(manager.get_statistics()["tasks"]["by_status"]["running"], flush=True)
            """
        )
    )
    running = subprocess.Popen(
        [sys.executable, "-W", "error", str(program), str(tmp_path / "tasks.db")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert running.stdout.readline() == "begun\n"
    running.send_signal(signal.SIGINT)
    said, complained = running.communicate(timeout=20)
    assert said.splitlines()[0] == "interrupted"
    assert [line for line in complained.splitlines() if "blocks the event loop" not in line] == []
    assert running.returncode == 0
    with SyncTaskManager(store=str(tmp_path / "tasks.db")) as manager:
        assert [task.task_type for task in manager.list_tasks()] == ["never"]
        assert not manager.list_tasks()[0].status.final
