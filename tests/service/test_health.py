"""`/healthz` and `/readyz` tell the truth, also when the store is gone."""

import asyncio
import json
import logging
import sqlite3
import sys

from penstock.errors import StoreFull
from penstock.service import health
from penstock.service.json_logs import HIDDEN, JsonLines, Redactor, TextLines


async def ask(served, path="/readyz"):
    async with served.http() as http:
        answer = await http.get(path)
    return answer.status_code, answer.json()


async def test_a_server_that_works_is_ready(serve):
    served = await serve()
    assert await ask(served) == (200, {"status": "ok", "problems": {}})
    assert await ask(served, "/healthz") == (200, {"status": "ok", "problems": {}})


async def test_a_store_whose_file_is_gone_or_another_is_not_ready(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
    served = await serve()
    file = tmp_path / "tasks.db"
    file.rename(tmp_path / "moved.db")
    status, told = await ask(served)
    assert (status, told["problems"]) == (503, {"store": "its file is gone"})
    assert (await ask(served, "/healthz"))[0] == 200
    file.write_bytes(b"")
    assert (await ask(served))[1]["problems"] == {"store": "its file was replaced"}
    file.unlink()
    (tmp_path / "moved.db").rename(file)
    assert (await ask(served))[0] == 200


async def test_a_locked_store_is_not_ready_until_the_lock_is_gone(serve, tmp_path, monkeypatch, eventually):
    monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.2)
    served = await serve()
    other = sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)
    other.execute("begin immediate")
    try:
        status, told = await ask(served)
        assert status == 503
        assert "store" in told["problems"]
        answers = await asyncio.gather(*(ask(served) for _ in range(20)))
        assert {status for status, _ in answers} == {503}
    finally:
        other.execute("rollback")
        other.close()
    async with asyncio.timeout(20):
        while (await ask(served))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_failed_store_and_a_stop_are_told(serve, monkeypatch):
    monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
    served = await serve()
    served.engine.node.failure = StoreFull("the disk is full: /secret/path")
    assert (await ask(served))[1]["problems"] == {"store": "it failed: store_full"}
    served.engine.node.failure = None
    served.service.closing.set()
    assert await ask(served) == (503, {"status": "unready", "problems": {"server": "it is stopping"}})


def record(message, *arguments, error=None, **extra):
    made = logging.LogRecord("penstock.x", logging.WARNING, __file__, 1, message, arguments, error)
    made.__dict__.update(extra)
    return made


def test_logs_name_the_task_and_hide_secrets():
    redactor = Redactor(["hunter2-hunter2", ""])
    try:
        raise ValueError("wrong: sk-proj-abcdefghijkl0123 and hunter2-hunter2")
    except ValueError:
        failure = sys.exc_info()
    one = record(
        "a %s of pk_%s for https://me:pass@host/", "key", "a" * 43, error=failure, task_id="t1", code=3
    )
    told = json.loads(JsonLines(redactor).format(one))
    assert told["task_id"] == "t1"
    assert told["code"] == 3
    assert told["level"] == "warning"
    assert "Traceback" in told["error"]
    for text in (json.dumps(told), TextLines(redactor).format(one)):
        assert HIDDEN in text
        assert "t1" in text
        for secret in ("hunter2", "sk-proj", "aaaa", "me:pass"):
            assert secret not in text
    plain = record("nothing to hide")
    assert "task_id" not in json.loads(JsonLines(redactor).format(plain))
