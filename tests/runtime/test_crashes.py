"""What a crash leaves is taken back: nothing acknowledged is lost, nothing recorded is done again."""

import asyncio
import signal
import subprocess
import sys
import textwrap

import pytest

from penstock import Manager, Settings, TaskStatus
from penstock.errors import TaskFailed

WORKER = """
    import asyncio, sys
    from penstock import Manager, Settings, Submission

    async def three_steps(context):
        for number in range(3):
            await context.step(f"step {number}", note, context.data, number)
            await asyncio.sleep(0.01)
        return "done"

    def note(task, number):
        with open(sys.argv[2], "a") as file:
            file.write(f"{task}.{number}\\n")

    async def main():
        manager = Manager(Settings(store=sys.argv[1], durability="normal", max_concurrent=8))
        manager.register("three", three_steps)
        async with manager:
            if len(sys.argv) > 3:
                await manager.submit_many([Submission("three", n) for n in range(int(sys.argv[3]))])
                print("acknowledged", flush=True)
            await manager.idle()
    asyncio.run(main())
"""


def start(tmp_path, *more):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "w.db"), str(tmp_path / "notes"), *more],
        stdout=subprocess.PIPE,
        text=True,
    )


def notes(tmp_path):
    path = tmp_path / "notes"
    return path.read_text().split() if path.exists() else []


async def wait_until(condition, seconds=20):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_kill_dash_nine_repeats_at_most_the_steps_under_way(tmp_path):
    worker = start(tmp_path, "60")
    assert worker.stdout.readline() == "acknowledged\n"
    repeated_at_most = 0
    for kill_at in (40, 90, 130):
        await wait_until(lambda at=kill_at: len(notes(tmp_path)) >= at)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        repeated_at_most += 8  # slots: so many steps can have been under way
        worker = start(tmp_path)
    assert worker.wait(30) == 0
    worker.stdout.close()
    done = notes(tmp_path)
    assert set(done) == {f"{task}.{number}" for task in range(60) for number in range(3)}
    assert len(done) - len(set(done)) <= repeated_at_most


async def test_a_task_that_kills_its_process_three_times_fails_as_poison(tmp_path):
    code = """
        import asyncio, os, signal, sys
        from penstock import Manager, Settings
        async def poison(context):
            os.kill(os.getpid(), signal.SIGKILL)
        async def main():
            manager = Manager(Settings(store=sys.argv[1], durability="normal"))
            manager.register("poison", poison)
            async with manager:
                if len(sys.argv) > 2:
                    await manager.submit("poison")
                await manager.idle()
        asyncio.run(main())
    """
    script = tmp_path / "poison.py"
    script.write_text(textwrap.dedent(code))
    store = str(tmp_path / "p.db")
    for more in (["first"], [], []):
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, str(script), store, *more], timeout=30
        )
        assert done.returncode == -signal.SIGKILL
    manager = Manager(Settings(store=store, durability="normal"))
    async with manager:
        (task,) = await manager.read(lambda reader: reader.tasks(_everything()))
        assert task.status is TaskStatus.FAILED
        with pytest.raises(TaskFailed, match="poison"):
            await manager.wait(task.id)


async def test_a_polite_stop_lets_go_and_the_next_start_goes_on(tmp_path):
    settings = Settings(store=str(tmp_path / "s.db"), durability="normal", max_concurrent=2)
    steps = []

    def register(manager):
        async def work(context):
            await context.step("one", steps.append, "one")
            await asyncio.sleep(0.05)
            await context.step("two", steps.append, "two")
            return "done"

        manager.register("work", work)
        return manager

    first = register(Manager(settings))
    await first.start()
    id = await first.submit("work")
    await wait_until(lambda: steps == ["one"])
    await first.stop()
    assert steps == ["one"]
    async with register(Manager(settings)) as second:
        assert await second.wait(id, timeout=10) == "done"
        task = await second.get(id)
    assert steps == ["one", "two"]
    assert (task.attempt, task.claim_no) == (1, 2)  # a stop costs a claim, no attempt


async def test_a_disk_that_is_full_stops_the_manager_with_a_clear_error(tmp_path):
    code = """
        import asyncio, resource, sys
        from penstock import Manager, Settings, Submission
        from penstock.errors import StoreFull
        async def big(context):
            return "x" * 100_000
        async def main():
            manager = Manager(Settings(store=sys.argv[1], durability="normal"))
            manager.register("big", big)
            async with manager:
                import signal
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
                acknowledged = 0
                try:
                    for n in range(1000):
                        id = await manager.submit("big", n)
                        acknowledged += 1
                        await manager.wait(id)
                except StoreFull as error:
                    print(acknowledged, str(error))
                    assert manager.failure is not None
        asyncio.run(main())
    """
    script = tmp_path / "full.py"
    script.write_text(textwrap.dedent(code))
    store = str(tmp_path / "f.db")
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(script), store], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    acknowledged, message = done.stdout.split(maxsplit=1)
    assert "f.db" in message
    async with Manager(Settings(store=store)) as manager:
        tasks = await manager.read(lambda reader: reader.tasks(_everything(), limit=1000))
    assert len(tasks) >= int(acknowledged) > 0


def _everything():
    from penstock import TaskFilter

    return TaskFilter()


async def test_of_many_tasks_in_a_crash_only_the_one_to_blame_fails(tmp_path):
    code = """
        import asyncio, os, signal, sys
        from penstock import Manager, Settings, Submission
        async def work(context):
            if context.data == "poison":
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(0.05)
        async def main():
            manager = Manager(Settings(store=sys.argv[1], durability="normal", max_concurrent=10))
            manager.register("work", work)
            async with manager:
                if len(sys.argv) > 2:
                    data = ["fine"] * 9 + ["poison"] + ["fine"] * 9
                    await manager.submit_many([Submission("work", one) for one in data])
                while any(
                    tally.count and not tally.status.final
                    for tally in await manager.read(lambda reader: reader.tallies())
                ):
                    await asyncio.sleep(0.02)
        asyncio.run(main())
    """
    script = tmp_path / "mixed.py"
    script.write_text(textwrap.dedent(code))
    store = str(tmp_path / "m.db")
    for more in (["first"], *([],) * 20):
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, str(script), store, *more], timeout=30
        )
        if done.returncode == 0:
            break

    async with Manager(Settings(store=store, durability="normal")) as manager:
        tasks = await manager.read(lambda reader: reader.tasks(_everything()))
    failed = [task for task in tasks if task.status is TaskStatus.FAILED]
    assert [task.payload for task in failed] == ["poison"]
    assert failed[0].error["code"] == "poison"
