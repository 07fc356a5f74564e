"""`kill -9` in the middle of a rollback: every compensation is submitted once and runs to its end."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from rig import wait_until

from penstock.model.states import TaskStatus
from penstock.stores.asks import TaskFilter
from penstock.stores.sqlite.store import SqliteStore

NODES = 8
KILLS = 5

PROGRAM = f"""
import asyncio, os, sys
from penstock.errors import TaskFailed
from penstock.manager import Manager
from penstock.runtime.settings import Settings
from penstock.stores.asks import TaskFilter

store, log = sys.argv[1:]

def tell(line):
    with open(log, "a") as file:
        file.write(line + chr(10))

async def work(context):
    return context.data

async def fail(context):
    raise ValueError("no luck")

async def undo(context):
    await asyncio.sleep(0.02)
    await context.step("undo", tell, context.data["of"])
    await asyncio.sleep(0.02)

def node(number):
    undoes = {{"type": "undo", "data": {{"of": {{"$result": f"n{{number}}"}}}}}}
    after = [f"n{{number - 1}}"] if number else []
    id = f"n{{number}}"
    return {{"id": id, "type": "work", "data": id, "after": after, "compensate": undoes}}

async def main():
    manager = Manager(Settings(store=store, durability="normal"))
    for function in (work, fail, undo):
        manager.register(function.__name__, function)
    async with manager:
        found = manager.peek(lambda reader: reader.tasks(TaskFilter(types=("workflow",))))
        if found:
            run = manager.workflow(found[0].id)
        else:
            nodes = [node(number) for number in range({NODES})]
            nodes.append({{"id": "bad", "type": "fail", "after": [nodes[-1]["id"]], "max_retries": 0}})
            run = await manager.run({{"nodes": nodes}})
        try:
            await run.result(60)
        except TaskFailed as error:
            tell(f"end: {{error}}")

asyncio.run(main())
"""


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def reach(process: subprocess.Popen[bytes], log: Path, enough: int) -> None:
    wait_until(lambda: len(lines(log)) >= enough or process.poll() is not None)


def test_kills_in_the_middle_of_a_rollback(tmp_path):
    script, store, log = tmp_path / "program.py", tmp_path / "tasks.db", tmp_path / "log"
    script.write_text(PROGRAM)
    command = [sys.executable, str(script), str(store), str(log)]
    chance = random.Random(11)
    kills = 0
    while not any(line.startswith("end") for line in lines(log)):
        process = subprocess.Popen(command)
        try:
            if kills < KILLS:
                reach(process, log, len(lines(log)) + 1)
                time.sleep(chance.uniform(0, 0.06))
                kills += process.poll() is None
            else:
                process.wait(60)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
    check(store, lines(log), kills)


def check(path: Path, told: list[str], kills: int) -> None:
    assert kills >= KILLS - 1
    *undone, end = told
    assert f"{NODES} of {NODES} nodes that completed were undone" in end
    expected = [f"n{number}" for number in reversed(range(NODES))]
    assert list(dict.fromkeys(undone)) == expected, "the order of undoing"
    # What was under way at a kill and not recorded is done again, and nothing else.
    assert sum(Counter(undone).values()) - NODES <= kills
    store = SqliteStore.open(str(path), read_only=True)
    try:
        tasks = store.read(lambda reader: reader.tasks(TaskFilter(types=("undo",)), limit=1000))
    finally:
        store.close()
    assert [task.payload["of"] for task in sorted(tasks, key=lambda task: task.seq)] == expected
    assert {task.status for task in tasks} == {TaskStatus.COMPLETED}
