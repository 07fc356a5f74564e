"""BATCH_ANALYSIS: side by side under the limits, each repository by itself, and none paid for twice."""

import asyncio
import json
import signal
import subprocess
import sys
import textwrap

import pytest

from penstock import TaskFilter, TaskOptions
from penstock.errors import TaskCancelled, TaskFailed
from penstock.simulator import Latency, SimulatorConfig, request_hash
from penstock.task_types.base import Toolbox
from penstock.task_types.batch_analysis import KIND
from penstock.task_types.repository_analysis import FORM, RepositoryInfo, question
from penstock.task_types.structured import with_schema

FOUND = {
    "summary": "s",
    "purpose": "p",
    "key_features": [],
    "technologies": [],
    "audience": "a",
    "maturity": "stable",
    "topics": [],
}
QUICK = TaskOptions(max_retries=3, retry_delay=0.01)


def batch(count, **more):
    repositories = [
        {
            "name": f"repo{n}",
            "description": "d",
            "language": "Go",
            "stargazers_count": n,
            "readme": f"text {n}",
        }
        for n in range(count)
    ]
    return {"repositories": repositories, **more}


def name_in(body):
    """Which repository a request asks about."""
    facts = body["messages"][1]["content"]
    return facts.split("- name: ")[1].split("\n")[0]


def by_name(**special):
    """A provider that answers well, but for repositories that are named."""

    def reply(body):
        found = special.get(name_in(body), json.dumps(FOUND))
        return found.pop(0) if isinstance(found, list) else found

    return reply


def error(status, message="broken", **more):
    return status, {"error": {"message": message, **more}}


async def test_results_come_in_order_with_progress(run_task):
    results = await run_task(KIND, batch(30))
    assert [one["repo_name"] for one in results] == [f"repo{n}" for n in range(30)]
    assert all(one["success"] and one["result"]["summary"] for one in results)
    assert [current for current, _, _ in run_task.progress] == list(range(1, 31))
    assert {total for _, total, _ in run_task.progress} == {30}
    assert {message for _, _, message in run_task.progress} == {f"repo{n}" for n in range(30)}


async def test_items_run_side_by_side_but_never_more_than_allowed(run_task):
    slow = SimulatorConfig(latency=Latency(0.02))
    await run_task(KIND, batch(24, parallel=6), simulator=slow)
    assert run_task.simulator.stats()["max_in_flight"] == 6
    await run_task(KIND, batch(24), simulator=slow, max_concurrent=4, store="memory")
    assert run_task.simulator.stats()["max_in_flight"] == 4


async def test_an_item_that_fails_does_not_fail_the_others(run_task):
    provider = by_name(repo1=error(400, "too odd"), repo3="never JSON")
    results = await run_task(KIND, batch(5), replies=[provider])
    assert [one["success"] for one in results] == [True, False, True, False, True]
    assert "too odd" in results[1]["error"]
    assert results[1]["error_code"] == "bad_request"
    assert "no usable repository_analysis answer" in results[3]["error"]
    assert set(results[1]) == {"repo_name", "success", "error", "error_code"}


async def test_errors_that_can_pass_are_tried_again_call_by_call(run_task):
    good = json.dumps(FOUND)
    provider = by_name(repo2=["not JSON", error(500), error(500), good])
    results = await run_task(KIND, batch(4), replies=[provider], options=QUICK)
    assert all(one["success"] for one in results)
    asked = [len(body["messages"]) for body in run_task.bodies if name_in(body) == "repo2"]
    assert asked == [2, 4, 4, 4]  # the bad answer was paid for once


async def test_an_error_that_does_not_pass_ends_the_item_only(run_task):
    provider = by_name(repo0=error(500, "still broken"))
    results = await run_task(KIND, batch(3), replies=[provider], options=QUICK)
    assert [one["success"] for one in results] == [False, True, True]
    assert sum(name_in(body) == "repo0" for body in run_task.bodies) == 1 + QUICK.max_retries


async def test_what_concerns_all_stops_the_batch_and_a_retry_goes_on_with_the_rest(run_task):
    refusing = True

    def provider(body):
        wrong = refusing and int(name_in(body).removeprefix("repo")) >= 6
        return error(401, "wrong key", code="invalid_api_key") if wrong else json.dumps(FOUND)

    id = await run_task.submit(KIND, batch(20, parallel=2), replies=[provider])
    with pytest.raises(TaskFailed, match="wrong key"):
        await run_task.manager_wait(id)
    before = len(run_task.bodies)
    assert before <= 6 + 2  # fourteen more would have been of no use
    refusing = False
    results = await run_task.manager_wait(await run_task.manager.retry(id))
    assert all(one["success"] for one in results)
    assert len(run_task.bodies) - before == 14


async def test_equal_repositories_are_items_of_their_own(run_task):
    data = {"repositories": [{"name": "twin", "readme": "same"}] * 3}
    results = await run_task(KIND, data)
    assert [one["repo_name"] for one in results] == ["twin"] * 3
    assert len(run_task.bodies) == 3


async def test_a_polite_stop_pays_nothing_twice(run_task, eventually):
    slow = SimulatorConfig(latency=Latency(0.03))
    id = await run_task.submit(KIND, batch(40), options=TaskOptions(strict_journal=True), simulator=slow)
    await eventually(lambda: len(run_task.progress) >= 8)
    await run_task.stop()
    first = run_task.simulator.stats()
    assert 8 <= first["calls"] < 40
    assert first["abandoned"] == 0  # those under way were let finish
    await run_task.start(simulator=slow)
    await run_task.submit(KIND, batch(1))  # says who runs the type
    results = await run_task.manager_wait(id)
    assert len(results) == 40
    assert all(one["success"] for one in results)
    assert first["calls"] + run_task.simulator.stats()["calls"] == 40 + 1


async def test_a_cancelled_batch_ends_at_once(run_task, eventually):
    id = await run_task.submit(KIND, batch(40), simulator=SimulatorConfig(latency=Latency(0.05)))
    await eventually(lambda: len(run_task.progress) >= 5)
    assert await run_task.manager.cancel(id) == {id: True}
    with pytest.raises(TaskCancelled):
        await run_task.manager_wait(id)
    assert len(run_task.bodies) < 40


async def test_memory_is_bounded_by_the_branches_not_by_the_items(run_task):
    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0.002)

    watcher = asyncio.create_task(watch())
    await run_task(KIND, batch(600, parallel=16), replies=[json.dumps(FOUND)], timeout=60)
    watcher.cancel()
    assert most < 60


def test_the_estimate_of_a_large_batch_is_quick_and_in_the_right_order():
    box = Toolbox(client=lambda: None, functions=None)
    repositories = [{"name": f"r{n}", "readme": "some words here. " * 2000} for n in range(2000)]
    estimate = KIND.estimate(KIND.read({"repositories": repositories}), box)
    assert 2000 * 5_000 < estimate.input_tokens < 2000 * 8_000
    assert estimate.output_tokens == 2000 * 400
    assert estimate.model == "gpt-4o-mini"


WORKER = """
    import asyncio, json, sys
    from penstock import Manager, Settings
    from penstock.llm.endpoint import Endpoint
    from penstock.runtime.client import ModelClient
    from penstock.task_types.base import Toolbox
    from penstock.task_types.batch_analysis import KIND

    async def main():
        manager = Manager(Settings(store=sys.argv[1], durability="normal", max_concurrent=8))

        async def handle(context):
            context.progress = lambda current, total, message="": print(message, flush=True)
            return await KIND.run(context, KIND.read(context.data), toolbox)

        manager.register("batch", handle)
        async with manager:
            client = ModelClient(manager.node.services.exchange, [Endpoint(base_url=sys.argv[2])])
            toolbox = Toolbox(client=lambda: client, functions=None, model="sim")
            if len(sys.argv) > 3:
                repositories = [{"name": f"r{n}", "readme": f"text {n}"} for n in range(int(sys.argv[3]))]
                await manager.submit("batch", {"repositories": repositories})
            await manager.idle()

    asyncio.run(main())
"""


def request_of(name):
    """The hash of the call for a repository of the worker's."""
    info = RepositoryInfo(name=name)
    asked, _ = question(info, f"text {name.removeprefix('r')}", model="sim")
    return request_hash("/v1/chat/completions", with_schema(asked, FORM))


async def test_kill_dash_nine_half_way_repays_at_most_the_calls_in_flight(tmp_path, provider, run_task):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    store = str(tmp_path / "killed.db")
    command = [sys.executable, str(script), store, provider.base_url]

    def start(*more):
        return subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True)

    worker, done = start("100"), []
    for kill_after in (25, 60):
        done.append(set())
        for line in worker.stdout:
            done[-1].add(line.strip())
            if len(done[-1]) >= kill_after:
                break
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        worker = start()
    out, _ = await asyncio.to_thread(worker.communicate, timeout=60)
    assert worker.returncode == 0
    assert len(out.split()) == 100
    await run_task.start(store=store)
    (task,) = await run_task.manager.read(lambda reader: reader.tasks(TaskFilter()))
    assert len(task.result) == 100
    assert [one["repo_name"] for one in task.result] == [f"r{n}" for n in range(100)]
    assert all(one["success"] for one in task.result)
    paid = provider.stats()["paid"]
    assert paid["requests"] == 100
    assert paid["twice"] <= 2 * 8  # the slots, at each kill
    assert not {request_of(name) for name in done[0]} & set(paid["more_than_once"])
