"""The OpenAPI document: what it says is so, whatever is sent.

`python tests/service/test_rest_openapi.py 10000` sends so many requests instead of 500.
"""

import asyncio
import collections
import contextlib
import os
import sys
import tempfile
import threading
import time

import httpx2
import pytest
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from penstock import AITaskManager, APIConfig, OpenAICompatibleClient
from penstock.service.app import create_app
from penstock.service.auth import KeyRing
from penstock.service.service import Service

schemathesis = pytest.importorskip("schemathesis")

CASES = 500
# A stream goes on for ever, and bulk lines are no JSON; both have tests of their own. Calls of the gateway
# wait for a provider, and SDKs judge them.
LEFT_OUT = r"/events$|/tasks/bulk$|^/v1/"


def make_app(folder):
    client = OpenAICompatibleClient(APIConfig("key-1f9c", "http://127.0.0.1:9/v1"))
    details = {"durability": "normal", "max_queue_size": None}
    manager = AITaskManager(client, 5, store=f"{folder}/tasks.db", **details)

    async def echo(context):
        return context.data

    async def ask(context):
        return (await context.approve("Shall I?")).approved

    manager.register_type("echo", echo)
    manager.register_type("ask", ask)
    return create_app(Service(manager, KeyRing()))


@contextlib.contextmanager
def listening(app):
    """The application on a port, on a thread of its own; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="critical", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    end = time.monotonic() + 30
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def some_ids(url):
    """Ids of a task that ended, of one that waits and of one that asks a person."""
    bodies = ({"task_type": "echo"}, {"task_type": "echo", "delay": 1e6}, {"task_type": "ask"})
    return [httpx2.post(f"{url}/tasks", json=body).json()["task_id"] for body in bodies]


def some_workflows(url):
    """Ids of a workflow that ends and of one that waits."""
    nodes = [{"id": "a", "type": "echo"}, {"id": "b", "type": "echo", "data": {"$result": "a"}}]
    bodies = ({"nodes": nodes}, {"nodes": [*nodes, {"id": "c", "type": "ask"}]})
    return [httpx2.post(f"{url}/workflows", json=body).json()["task_id"] for body in bodies]


def make_real(case, ids, workflows, number):
    """Two of three times, name a type and a task that there are, so that more than refusals is tried."""
    if isinstance(case.body, dict):  # a queue that was made small refuses all that follows, rightly, with 503
        case.body.pop("max_queue_size", None)
    if number % 3 == 0:
        return
    bodies = [case.body] if isinstance(case.body, dict) else []
    tasks = [body.get("tasks") for body in bodies]
    bodies += [one for some in tasks if isinstance(some, list) for one in some if isinstance(one, dict)]
    for body in bodies:
        if isinstance(body.get("task_type"), str):
            body["task_type"] = "echo"
        nodes = body.get("nodes")
        for node in nodes if isinstance(nodes, list) else ():
            if isinstance(node, dict) and isinstance(node.get("type"), str):
                node["type"] = "echo"
    for name, real in (("task_id", ids), ("workflow_id", workflows), ("workflow", workflows)):
        if name in (case.path_parameters or {}):
            case.path_parameters[name] = real[number % len(real)]
    if "wait" in (case.query or {}):
        case.query["wait"] = 0


def judge(url, cases):
    """Send at least so many requests, half of them wrong ones; how many of each status came back."""
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi import checks

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path_regex=LEFT_OUT)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 30
    must_hold = [
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]
    statuses, real = collections.Counter(), (some_ids(url), some_workflows(url))

    def hold(case):
        make_real(case, *real, sum(statuses.values()))
        reply = case.call(timeout=60)
        statuses[reply.status_code] += 1
        case.validate_response(reply, checks=must_hold)

    while (left := cases - sum(statuses.values())) > 0:
        limits = settings(
            max_examples=max(1, -(-left // (2 * len(operations)))),
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                cases_of_it = operation.as_strategy(generation_mode=mode)
                # What takes nothing cannot be asked wrongly.
                with contextlib.suppress(Unsatisfiable):
                    limits(given(case=cases_of_it)(hold))()
    return statuses


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore")
def test_no_request_breaks_the_service_or_its_document(tmp_path, record_property):
    with listening(make_app(tmp_path)) as url:
        statuses = judge(url, CASES)
    record_property("figures", f"{sum(statuses.values())} requests: {dict(statuses)}")
    assert sum(statuses.values()) >= CASES
    assert not any(status >= 500 and status != 503 for status in statuses)


def test_operation_ids_are_names(tmp_path):
    document = make_app(tmp_path).openapi()
    ids = [
        one["operationId"]
        for path, item in document["paths"].items()
        if not path.startswith("/v1/")
        for one in item.values()
    ]
    assert len(ids) == len(set(ids))
    assert [id for id in ids if not id.isidentifier()] == []


def test_every_route_names_its_errors(tmp_path):
    for path, item in make_app(tmp_path).openapi()["paths"].items():
        for one in item.values():
            for status, reply in one["responses"].items():
                content = reply.get("content", {}).get("application/json", {})
                if not status.startswith(("2", "3")) and not path.startswith("/v1/"):
                    assert content["schema"]["$ref"].endswith(("/ErrorReply", "/Health")), (path, status)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, listening(make_app(folder)) as base:
        print(dict(judge(base, int(sys.argv[1]) if len(sys.argv) > 1 else CASES)))
    os._exit(0)
