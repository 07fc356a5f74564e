"""What tasks wait for, and workflows, from the command line: in a store that another process dispatches, and
on a server."""

import asyncio
import contextlib
import inspect
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from penstock import AITaskManager, APIConfig, OpenAICompatibleClient
from penstock.model.lane import Lane
from penstock.model.states import TaskStatus
from penstock.model.waits import Wait
from penstock.service.app import create_app
from penstock.service.auth import KeyRing
from penstock.service.service import Service

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 30


async def ask(context):
    decision = await context.approve("Send it?", details={"to": "all"}, name="send")
    event = await context.wait_for_event("go", timeout=600)
    return {**decision.as_dict(), "event": event}


async def two(context):
    asked = (context.approve(f"{name}?", name=name) for name in ("one", "two"))
    return [one.approved for one in await context.gather(*asked)]


async def echo(context):
    return context.data


async def hold(context):
    return await context.wait_for_event("go on")


async def fail(context):
    raise ValueError("it broke")


async def parent(context):
    return [await context.child("hold")]


async def graph(context):
    """As an interrupt and a breakpoint of a LangGraph graph do it."""
    asked = '{"question":"{\\"to\\":\\"all\\"}","details":{"interrupt":"abc"}}'
    answer = await context.event("interrupt:abc", question=asked)
    stopped = '{"question":"Go on with send?","details":{"breakpoint":true}}'
    await context.event("interrupt:def", question=stopped)
    return answer["data"]


HANDLERS = (ask, two, echo, hold, fail, parent, graph)

LIVE = """
import asyncio, sys
from penstock import AITaskManager, APIConfig, OpenAICompatibleClient

async def main():
    manager = AITaskManager(OpenAICompatibleClient(APIConfig("none")), store=sys.argv[1], durability="normal",
        suspend_after=0.05)
    for handler in HANDLERS:
        manager.register_type(handler.__name__, handler)
    async with manager:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
"""
PROGRAM = "\n".join(
    [
        *map(inspect.getsource, HANDLERS),
        f"HANDLERS = ({', '.join(one.__name__ for one in HANDLERS)})",
        LIVE,
        "asyncio.run(main())",
    ]
)

CHAIN = {
    "name": "chain",
    "nodes": [
        {"id": "a", "type": "echo", "data": {"n": 1}},
        {"id": "b", "type": "echo", "data": {"$result": "a", "path": "/n"}},
    ],
}
HELD = {
    "name": "held",
    "nodes": [
        {"id": "first", "type": "hold"},
        {"id": "then", "type": "echo", "data": {"$result": "first"}},
    ],
}


def until(condition):
    end = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
    return found


@pytest.fixture(params=["store", "server"])
def place(request, tmp_path, monkeypatch):
    """Where commands go to: a store dispatched by another process, or a server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_STORE", raising=False)
    monkeypatch.delenv("PENSTOCK_SERVER", raising=False)
    path = tmp_path / "live.penstock.db"
    if request.param == "store":
        with dispatching(path):
            yield "store"
    else:
        with serving(path) as url:
            monkeypatch.setenv("PENSTOCK_SERVER", url)
            yield "server"


@contextlib.contextmanager
def dispatching(path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate("\n", timeout=WAIT_SECONDS)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def serving(path):
    client = OpenAICompatibleClient(APIConfig("none", "http://127.0.0.1:9/v1"))
    manager = AITaskManager(client, store=str(path), durability="normal", suspend_after=0.05)
    for handler in HANDLERS:
        manager.register_type(handler.__name__, handler)
    app = create_app(Service(manager, KeyRing()))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="critical", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def ok(penstock):
    """Run a command that must succeed; its output."""

    def run(*arguments):
        code, out, err = penstock(*arguments)
        assert code == 0, (arguments, out, err)
        return out

    return run


def show(penstock, id):
    return json.loads(penstock("show", id, "--json")[1])


def ended(penstock, id):
    """How it ended, as the store tells."""
    return until(lambda: (told := show(penstock, id))["status"] in ("completed", "failed") and told)


def form(tmp_path, data):
    path = tmp_path / "form.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path)


def test_a_person_answers_and_an_event_comes(place, penstock, ok):
    id = ok("submit", "ask").strip()
    (asked,) = until(lambda: json.loads(ok("approvals", "--json"))["approvals"])
    assert (asked["id"], asked["name"], asked["question"]) == (id, "send", "Send it?")
    assert (asked["details"], asked["type"], asked["until"]) == ({"to": "all"}, "ask", None)
    listed = ok("approvals")
    assert id in listed
    assert "Send it?" in listed
    until(lambda: show(penstock, id)["status"] == "suspended")
    shown = ok("show", id)
    assert "it asks for approval 'send' since" in shown
    assert f"answer with: penstock approve {id} send [--no]" in shown
    why = json.loads(ok("why", "--json", id))
    assert (why["status"], why["reason"], why["until"]) == ("suspended", "approval", None)
    assert 'details: {"to": "all"}' in why["explanation"]
    assert "suspended" in ok("tasks")
    assert json.loads(ok("stats", "--json"))["tasks"]["by_status"] == {"suspended": 1}
    out = ok("approve", id, "--comment", "fine", "--data", "[1]")
    assert out == f"{id} is told that it is approved\n"
    assert ok("approvals") == "nobody is asked anything\n"
    until(lambda: json.loads(ok("why", "--json", id))["reason"] == "event")
    assert f"send it with: penstock event {id} go" in ok("why", id)
    assert "it waits for the event 'go' since" in ok("show", id)
    assert ok("event", id, "go", "--data", '{"n": 1}').startswith(f"{id} gets the event 'go'")
    result = ended(penstock, id)["result"]
    assert (result["approved"], result["comment"], result["data"]) == (True, "fine", [1])
    assert result["by"]
    assert result["event"] == {"n": 1}
    assert show(penstock, id)["waits_for"] == []


def test_an_interrupt_wants_a_value_and_a_breakpoint_a_word(place, penstock, ok):
    def asked(name):
        return until(lambda: [one for one in json.loads(ok("approvals", "--json"))["approvals"]
                              if one["name"] == name])  # fmt: skip

    for answer, value in ((("--data", '"Ada"'), "Ada"), (("--yes",), True), (("--no",), False)):
        id = ok("submit", "graph").strip()
        assert asked("interrupt:abc")[0]["question"] == '{"to":"all"}'
        assert '{"to":"all"}' in (listed := ok("approvals"))
        assert "penstock approve ID [NAME] --data JSON" in listed
        code, _, err = penstock("approve", id)
        assert code == 2
        assert 'it asks: {"to":"all"}' in err
        assert "--data JSON, or --yes" in err
        assert penstock("approve", id, "--yes", "--no")[0] == 2
        ok("approve", id, *answer)
        assert asked("interrupt:def")[0]["id"] == id
        code, _, err = penstock("approve", id, "--no")
        assert code == 2
        assert f"penstock cancel {id}" in err
        ok("approve", id)
        told = ended(penstock, id)["result"]
        assert (told["approved"] if told["data"] is None else told["data"]) == value


def test_an_event_that_nobody_waits_for_yet(place, ok):
    id = ok("submit", "hold").strip()
    until(lambda: json.loads(ok("why", "--json", id))["reason"] == "event")
    told = ok("event", id, "acknowledged")
    if place == "store":
        assert "; it waits for 'go on': this one is kept until it is waited for" in told
    assert "waited for" not in ok("event", id, "go on")


def test_several_questions_and_what_is_refused(place, penstock, ok):
    id = ok("submit", "two").strip()
    until(lambda: len(json.loads(ok("approvals", "--json"))["approvals"]) == 2)
    code, _, err = penstock("approve", id)
    assert code == 2
    assert "one, two" in err
    assert penstock("approve", id, "three")[0] == 2
    assert ok("approve", id, "one", "--no") == f"{id} is told that it is not approved\n"
    assert penstock("approve", id, "one")[0] == 2
    assert json.loads(ok("approve", id, "--json"))["approved"] is True
    assert ended(penstock, id)["result"] == [False, True]
    for arguments in (
        ("event", id, "go"),
        ("event", "0" * 32, "go"),
        ("approve", "0" * 32),
        ("event", id, "approval:one"),
        ("event", id, ""),
        ("event", id, "go", "--data", "{"),
        ("workflow", "show", id),
        ("workflow", "show", "0" * 32),
        ("workflow", "show", id, "--analysis"),
        ("workflow", "show", id, "--svg", "x.svg", "--json"),
    ):
        code, _, err = penstock(*arguments)
        assert code == 2, arguments
        assert err.startswith("penstock: "), arguments
        assert "Traceback" not in err


def test_a_workflow_is_run_and_watched(place, penstock, ok, tmp_path):
    code, out, err = penstock("workflow", "run", form(tmp_path, CHAIN), "--watch")
    assert (code, out) == (0, "1\n")
    id = err.split()[1]
    assert "completed: 2 of 2 nodes done" in err
    shown = ok("workflow", "show", id)
    assert f"workflow {id}  chain  completed" in shown
    told = json.loads(ok("workflow", "show", id, "--json"))
    assert (told["workflow"], told["name"], told["status"], told["result"]) == (id, "chain", "completed", 1)
    assert [(one["node"], one["status"]) for one in told["nodes"]] == [("a", "completed"), ("b", "completed")]
    text = ok("workflow", "show", id, "--analysis")
    assert text.startswith("workflow chain: 2 nodes in ")
    assert json.loads(ok("workflow", "show", id, "--analysis", "--json"))["critical_path"] == ["a", "b"]
    ok("workflow", "show", id, "--svg", "chain.svg")
    assert Path("chain.svg").read_text().startswith("<svg ")
    assert ok("workflow", "show", id, "--svg", "-").startswith("<svg ")
    assert "nodes     2: 0 open, 2 completed" in ok("show", id)
    node = told["nodes"][1]["task_id"]
    assert f"node      b of workflow {id}" in ok("show", node)
    same = [ok("workflow", "run", form(tmp_path, CHAIN), "--idempotency-key", "k").strip() for _ in range(2)]
    assert same[0] == same[1]
    ended(penstock, same[0])


def test_a_workflow_that_waits_and_one_that_fails(place, penstock, ok, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(HELD)))
    id = json.loads(ok("workflow", "run", "-", "--json"))["workflow"]
    first, then = until(lambda: json.loads(ok("workflow", "show", id, "--json"))["nodes"])
    until(lambda: show(penstock, first["task_id"])["status"] == "suspended")
    until(lambda: show(penstock, id)["status"] == "suspended")
    why = json.loads(ok("why", "--json", id))
    assert why["reason"] == "workflow"
    assert why["explanation"][0].startswith("it waits for its nodes since ")
    assert why["explanation"][0].endswith(": 0 of 2 nodes ended")
    blocked = json.loads(ok("why", "--json", then["task_id"]))
    assert (blocked["reason"], blocked["explanation"]) == (
        "blocked",
        [
            f"it waits for the tasks it depends on: first {first['task_id']} (suspended)",
            f"it is node 'then' of workflow {id}",
        ],
    )
    assert f"penstock event {first['task_id']} 'go on'" in ok("why", first["task_id"])
    told = json.loads(ok("workflow", "show", id, "--json"))
    assert (told["total"], told["open"], told["status"]) == (2, 2, "suspended")
    ok("event", first["task_id"], "go on", "--data", "5")
    assert ended(penstock, id)["result"] == 5

    failing = {"nodes": [{"id": "bad", "type": "fail", "max_retries": 0}, {"id": "w", "type": "hold"}]}
    code, out, err = penstock("workflow", "run", form(tmp_path, failing), "--watch")
    assert (code, out) == (1, "")
    assert "stopped by bad" in err
    assert "it broke" in err
    code, out, _ = penstock("workflow", "run", form(tmp_path, failing), "--watch", "--json")
    assert (code, json.loads(out)["error_code"]) == (1, "workflow_failed")


def test_a_budget_is_shown_and_changed(place, penstock, ok, tmp_path):
    id = ok("workflow", "run", form(tmp_path, {**HELD, "budget": 0.5})).strip()
    until(lambda: json.loads(ok("workflow", "budget", id, "--json"))["budget"] == 0.5)
    told = ok("workflow", "budget", id, "--budget", "0.0025", "--max-tokens", "12000")
    assert told == f"workflow {id}\n  budget  $0.0025, $0 spent\n  tokens  12,000, 0 used\n"
    assert ok("workflow", "budget", id) == told
    assert "no limit, $0 spent" in ok("workflow", "budget", id, "--budget", "none")
    for wrong in (("--budget", "much"), ("--budget", "-1"), ("--max-tokens", "1.5"), ("--max-tokens", "0")):
        code, _, err = penstock("workflow", "budget", id, *wrong)
        assert (code, "Traceback" in err) == (2, False), wrong
        assert "budget" in err or "max" in err
    ok("workflow", "budget", id, "--max-tokens", "none")
    assert "has no budget" in ok("workflow", "budget", id)
    (first, _) = json.loads(ok("workflow", "show", id, "--json"))["nodes"]
    until(lambda: show(penstock, first["task_id"])["status"] == "suspended")
    ok("event", first["task_id"], "go on")
    assert ended(penstock, id)["status"] == "completed"
    code, _, err = penstock("workflow", "budget", id, "--budget", "1")
    assert (code, "is completed" in err) == (2, True)


def test_a_failed_workflow_is_tried_again_and_forked(place, penstock, ok, tmp_path):
    broken = {"id": "bad", "type": "fail", "after": ["a"], "max_retries": 0}
    id = ok("workflow", "run", form(tmp_path, {"nodes": [CHAIN["nodes"][0], broken]})).strip()
    assert ended(penstock, id)["status"] == "failed"
    again = json.loads(ok("retry", id, "--json"))["retried"][0]["retried_as"]
    assert ended(penstock, again)["status"] == "failed"
    a, _ = json.loads(ok("workflow", "show", again, "--json"))["nodes"]
    assert (a["status"], a["started_at"]) == ("completed", None)  # taken over
    fork = json.loads(ok("fork", again, "--step", "a", "--json"))["forked_as"]
    assert ended(penstock, fork)["status"] == "failed"
    a, _ = json.loads(ok("workflow", "show", fork, "--json"))["nodes"]
    assert a["started_at"] is not None
    code, _, err = penstock("fork", again, "--step", "2")
    assert (code, "name the node from which on" in err) == (2, True)


def test_all_that_is_wrong_with_a_workflow(place, penstock, ok, tmp_path):
    broken = {
        "nodes": [
            {"id": "a", "type": "echo", "after": ["b"]},
            {"id": "b", "type": "echo", "after": ["a"], "colour": 1},
            {"id": "c", "type": "llm_call", "data": {"prompt": "${x}"}, "after": ["d"]},
        ]
    }
    for command in (("workflow", "run"), ("workflow", "check")):
        code, out, err = penstock(*command, form(tmp_path, broken))
        assert (code, out) == (2, "")
        for path in ("nodes.1.colour", "nodes.2.after.0"):
            assert sum(line.startswith(f"{path}: ") for line in err.splitlines()) == 1, err
        assert "a → b → a" in err
        code, _, err = penstock(*command, form(tmp_path, "{"))
        assert (code, "is no JSON: line 1 column 2" in err) == (2, True)
        assert penstock(*command, str(tmp_path / "nothing.json"))[0] == 2
        assert penstock(*command, form(tmp_path, "[]"))[0] == 2
    out = ok("workflow", "check", form(tmp_path, CHAIN))
    assert out.splitlines() == [
        "workflow 'chain' is sound: 2 nodes, 1 edge, at most 2 nodes one after another",
        "not built in, so their data were not checked: echo",
    ]
    data = json.loads(ok("workflow", "check", form(tmp_path, CHAIN), "--json"))
    assert data == {"name": "chain", "nodes": 2, "edges": 1, "deepest": 2, "types_not_built_in": ["echo"]}
    wrong_data = {"nodes": [{"id": "a", "type": "llm_call", "data": {"prompt": 7}}]}
    code, _, err = penstock("workflow", "run", form(tmp_path, wrong_data))
    assert (code, "nodes.0.data: " in err) == (2, True)


def test_children_are_shown(place, penstock, ok):
    id = ok("submit", "parent").strip()
    (child,) = until(lambda: show(penstock, id)["children"])
    until(lambda: show(penstock, id)["status"] == "suspended")
    assert f"it waits for the task {child} (hold, " in ok("why", id)
    assert json.loads(ok("why", "--json", id))["reason"] == "child"
    assert f"children  {child}" in ok("show", id)
    assert f"child of  {id}" in ok("show", child)
    ok("event", child, "go on", "--data", "3")
    assert ended(penstock, id)["result"] == [3]


def test_a_store_that_nobody_dispatches(probe, penstock):
    task = probe.running(time.time(), lane=Lane("ask"))
    wait = Wait("event:approval:send", time.time() + 60, '{"question": "Send it?"}')
    probe.store.run(lambda tx: tx.begin_wait(task.seq, task.claim_no, wait, time.time()))
    probe.put_back(task, TaskStatus.SUSPENDED, time.time())
    probe.store.run(lambda tx: tx.leave(probe.node))
    why = json.loads(penstock("why", "--json", task.id)[1])
    assert why["reason"] == "approval"
    assert why["until"] is not None
    assert "no process dispatches this store now, so nobody wakes it" in why["explanation"][-1]
    code, out, _ = penstock("approve", task.id[:30])
    assert (code, out) == (0, f"{task.id} is told that it is approved\n")
    assert probe.status(task.id) == "queued"
    assert probe.store.verify() == []


def test_a_server_that_cannot_be_asked(penstock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = form(tmp_path, CHAIN)
    for command in (
        ("event", "x", "go"),
        ("approvals",),
        ("approve", "x"),
        ("workflow", "run", path),
        ("workflow", "show", "x"),
    ):
        code, _, err = penstock(*command, "--server", "http://127.0.0.1:9")
        assert code == 2
        assert "cannot be asked" in err
