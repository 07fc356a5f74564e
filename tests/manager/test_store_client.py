"""A store reached from beside the process that runs its tasks."""

import subprocess
import sys
import time

import pytest

from penstock import ConfigurationError, InvalidTask, StoreClient, TaskFailed, TaskNotFound, WaitTimeout
from penstock.errors import EventRefused, StoreBusy
from penstock.manager.synchronous import SyncTaskManager
from penstock.model.states import TaskStatus

OTHER = """
import sys
from penstock import SyncTaskManager, TaskContext

with SyncTaskManager(store=sys.argv[1]) as manager:

    @manager.task
    async def publish(context: TaskContext, topic: str) -> str:
        decision = await context.approve(f"Publish {topic}?")
        receipt = await context.wait_for_event("published")
        return f"{topic}: {decision.by} {receipt['no']}"

    @manager.task
    async def fail() -> None:
        raise ValueError("no")

    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def running(tmp_path):
    """The file of a store that another process dispatches."""
    path = tmp_path / "work.db"
    command = [sys.executable, "-c", OTHER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        yield path
        other.stdin.close()
        assert other.wait(20) == 0


def until(found):
    deadline = time.monotonic() + 20
    while not (answer := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def test_tasks_of_another_process_are_added_answered_and_followed(running):
    with pytest.raises(StoreBusy, match=r"penstock\.StoreClient"), SyncTaskManager(store=str(running)):
        pass
    with StoreClient(f"sqlite:///{running}") as client:
        id = client.submit("publish", {"topic": "rivers"}, tenant="ada")
        [asked] = until(lambda: client.approvals("ada"))
        assert (asked.task_id, asked.question) == (id, "Publish rivers?")
        with pytest.raises(WaitTimeout, match=id):
            client.wait(id, timeout=0)
        client.decide(id, True, by="Ada")
        with pytest.raises(EventRefused):
            client.decide(id, True, name="another")
        client.send_event(id, "published", {"no": 3})
        assert client.wait(id, timeout=20) == "rivers: Ada 3"
        assert client.get(id).status is TaskStatus.COMPLETED
        failing = client.submit("fail", priority="high")
        assert client.cancel(id) is False
        with pytest.raises(TaskFailed, match="no"):
            client.wait(failing, timeout=20)


def test_tasks_are_steered(running):
    with StoreClient(running) as client:
        waiting = client.submit("fail", delay=1000)
        other = client.submit("fail", delay=1000)
        assert client.pause(waiting) == 1
        assert client.get(waiting).status is TaskStatus.PAUSED
        assert client.get(other).status is not TaskStatus.PAUSED
        assert client.resume(waiting) == 1
        assert client.cancel(waiting) is True
        assert client.get(waiting).status is TaskStatus.CANCELLED

        client.pause()
        held = client.submit("fail")
        with pytest.raises(WaitTimeout):
            client.wait(held, timeout=0.3)
        client.resume()
        with pytest.raises(TaskFailed):
            client.wait(held, timeout=20)
        assert client.get(other).status is not TaskStatus.PAUSED


def test_what_cannot_be_is_refused(running, tmp_path):
    with pytest.raises(ConfigurationError, match="no store"):
        StoreClient(tmp_path / "none.db")
    with StoreClient(running) as client:
        with pytest.raises(InvalidTask, match="prompt"):
            client.submit("llm_call", {"promt": "Hello"})
        with pytest.raises(TaskNotFound):
            client.wait("0" * 32)
        with pytest.raises(TaskNotFound):
            client.send_event("0" * 32, "published")
        assert client.get("0" * 32) is None
        assert client.cancel("0" * 32) is False
