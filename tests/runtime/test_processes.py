"""Functions that compute run in processes of their own, which come and go with their calls."""

import asyncio
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from penstock import TaskOptions
from penstock.errors import ConfigurationError, TaskCancelled, TaskFailed, WorkerLost
from penstock.runtime import processes as processes_module
from penstock.runtime.processes import Processes

ONCE = TaskOptions(max_retries=0)


def gone(pid):
    """Whether no process of this id runs any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
async def pool():
    pool = Processes(2)
    yield pool
    await pool.close()


async def test_results_and_errors_come_back_with_their_place(pool):
    assert (await pool.call(math.factorial, (20,), {})).result == math.factorial(20)
    with pytest.raises(ValueError) as caught:
        await pool.call(math.factorial, (-1,), {})
    assert "in a worker process" in caught.value.__notes__[0]
    assert (await pool.call(os.getpid, (), {})).result != os.getpid()


async def test_processes_are_used_again_and_replaced_in_time(pool, monkeypatch):
    monkeypatch.setattr(processes_module, "CALLS_PER_WORKER", 2)
    pids = [(await pool.call(os.getpid, (), {})).result for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_what_cannot_be_sent_is_refused_by_name(pool):
    with pytest.raises(ConfigurationError, match=r"lambda.*top of a module"):
        await pool.call(lambda: 1, (), {})


async def test_memory_is_measured_call_by_call(pool):
    large = (await pool.call(bytearray, (60_000_000,), {})).peak_bytes
    small = (await pool.call(abs, (-1,), {})).peak_bytes
    assert large > 60_000_000
    assert 0 < small < large if sys.platform == "linux" else small <= large


async def test_a_crash_fails_its_own_call_alone(pool):
    other = asyncio.create_task(pool.call(time.sleep, (0.5,), {}))
    await asyncio.sleep(0.1)
    with pytest.raises(WorkerLost, match="_exit ended with exit code 3"):
        await pool.call(os._exit, (3,), {})
    assert (await other).result is None
    assert (await pool.call(abs, (-2,), {})).result == 2


async def test_a_dead_process_is_not_used_again(pool, eventually):
    pid = (await pool.call(os.getpid, (), {})).result
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not pool._idle[0].alive)
    assert (await pool.call(os.getpid, (), {})).result != pid


async def test_a_cancelled_call_takes_its_process_along(pool, eventually):
    pid = (await pool.call(os.getpid, (), {})).result
    call = asyncio.create_task(pool.call(time.sleep, (600,), {}))
    await eventually(lambda: pool._busy)
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: gone(pid))
    assert not pool._busy
    assert pool._places._value == 2


async def test_closing_ends_idle_and_busy_processes(eventually):
    pool = Processes(2)
    idle = (await pool.call(os.getpid, (), {})).result
    call = asyncio.create_task(pool.call(time.sleep, (600,), {}))
    other = (await pool.call(os.getpid, (), {})).result
    await pool.close()
    with pytest.raises(WorkerLost):
        await call
    await eventually(lambda: gone(idle) and gone(other))


# In tasks


@pytest.fixture
def computing(tmp_path, monkeypatch):
    """A module of the user's, which worker processes can import."""
    text = """
        import os, time
        def double(data): return {"pid": os.getpid(), "twice": 2 * data}
        async def later(data): return data + 1
        def crash_once(path):
            if os.path.exists(path): return "second"
            open(path, "w").close()
            os._exit(7)
        def forever(path):
            with open(path + ".new", "w") as file: file.write(str(os.getpid()))
            os.rename(path + ".new", path)
            while True: time.sleep(0.1)
    """
    (tmp_path / "penstock_computing.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    import penstock_computing

    yield penstock_computing
    del sys.modules["penstock_computing"]


async def run(world, function, data, **settings):
    world.handle(function, run="process")
    await world.start(processes=1, **settings)
    return await world.manager.wait(await world.manager.submit("work", data, options=ONCE), timeout=20)


async def test_a_handler_in_a_process_gets_the_data(world, computing):
    result = await run(world, computing.double, 21)
    assert result["twice"] == 42
    assert result["pid"] != os.getpid()


async def test_a_coroutine_function_runs_in_a_process_too(world, computing):
    assert await run(world, computing.later, 1) == 2


async def test_an_attempt_whose_process_crashed_is_tried_again(world, computing, tmp_path):
    world.handle(computing.crash_once, run="process")
    await world.start(processes=1)
    options = TaskOptions(max_retries=1, retry_delay=0.01)
    id = await world.manager.submit("work", str(tmp_path / "mark"), options=options)
    assert await world.manager.wait(id, timeout=20) == "second"


async def test_a_crash_is_told_where_no_retry_is_left(world, computing, tmp_path):
    with pytest.raises(TaskFailed, match="crash_once ended with exit code 7") as caught:
        await run(world, computing.crash_once, str(tmp_path / "mark"))
    assert caught.value.reason == "worker_lost"


@pytest.mark.parametrize("reason", ["cancel", "timeout"])
async def test_the_process_of_a_task_that_has_to_leave_is_killed(
    world, computing, tmp_path, eventually, reason
):
    mark = tmp_path / "pid"
    world.handle(computing.forever, run="process")
    await world.start(processes=1)
    await world.manager.node.services.in_process(abs, -1)  # there is one: its birth is no part of the timeout
    options = TaskOptions(max_retries=0, timeout=3.0 if reason == "timeout" else None)
    id = await world.manager.submit("work", str(mark), options=options)
    await eventually(mark.exists)
    if reason == "cancel":
        await world.manager.cancel(id)
    with pytest.raises(TaskCancelled if reason == "cancel" else TaskFailed):
        await world.manager.wait(id, timeout=10)
    await eventually(lambda: gone(int(mark.read_text())))
    assert world.idle_again()


async def test_who_waits_for_a_process_holds_no_slot(world, eventually):
    async def work(context):
        await context.services.in_process(time.sleep, 0.15)
        return "computed"

    async def quick(context):
        return "quick"

    world.handle(work)
    world.handle(quick, type="quick")
    await world.start(processes=1, max_concurrent=3)
    slow = [await world.manager.submit("work") for _ in range(5)]
    await eventually(lambda: len(world.manager.node.dispatcher.open) == 5)
    waiting = world.manager.node.services.slots
    await eventually(lambda: waiting.taken == 1)
    assert await world.manager.wait(await world.manager.submit("quick"), timeout=5) == "quick"
    assert [await world.manager.wait(id, timeout=20) for id in slow] == ["computed"] * 5
    assert world.idle_again()


PROGRAM = """
    import asyncio, os, sys, time
    from penstock import Manager, Settings
    async def main():
        manager = Manager(Settings(store="memory", processes=2))
        import penstock_computing
        manager.register("work", penstock_computing.forever, run="process")
        await manager.start()
        for number in range(2):
            await manager.submit("work", sys.argv[1] + str(number))
        await asyncio.sleep(600)
    if __name__ == "__main__":
        asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
async def test_no_process_outlives_a_parent_that_was_killed(computing, tmp_path, eventually):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    marks = [tmp_path / f"mark{number}" for number in range(2)]
    path = os.pathsep.join(filter(None, [*sys.path]))
    command = [sys.executable, str(program), str(tmp_path / "mark")]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path) as process:  # noqa: ASYNC220
        await eventually(lambda: all(mark.exists() for mark in marks), 30)
        process.kill()
    await eventually(lambda: all(gone(int(mark.read_text())) for mark in marks))
