"""API_REQUEST: what goes out, what comes back, and that nothing is sent twice that must not be."""

import asyncio
import base64
import gzip
import json
import logging
import tracemalloc
import zlib
from dataclasses import replace

import httpx2
import pytest

from penstock import TaskOptions
from penstock.errors import InvalidTask, TaskFailed
from penstock.task_types.addresses import AllowedHosts, read_url
from penstock.task_types.api_request import KIND
from penstock.task_types.base import Toolbox
from penstock.task_types.outgoing import Outgoing, redirected

HERE = ("127.0.0.1",)
QUICK = TaskOptions(retry_delay=0.01, max_retries=2)


class Server:
    """Answers each request by `reply(number)`: raw bytes, or `None` to hang up."""

    def __init__(self):
        self.requests = []
        self.reply = lambda number: answer(b'{"fine": true}', "content-type: application/json")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in fields)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append((line, headers, body))
            reply = self.reply(len(self.requests))
            if asyncio.iscoroutine(reply):
                reply = await reply
            if reply is not None:
                writer.write(reply)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def stop(self):
        self._server.close()
        await self._server.wait_closed()


def answer(body=b"", *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.fixture
async def server():
    server = Server()
    await server.start()
    yield server
    await server.stop()


async def test_a_request_goes_out_as_it_was_given(run_task, server):
    data = {
        "method": "post",
        "url": f"{server.url}/path?a=1#part",
        "headers": {"X-Api-Key": "k", "Accept": "application/json"},
        "params": {"b": "x y", "c": [1, True]},
        "json": {"text": "grün"},
    }
    result = await run_task(KIND, data, allowed_hosts=HERE)
    assert result["status"] == 200
    assert result["body"] == {"fine": True}
    assert result["encoding"] == "json"
    assert result["headers"]["content-type"] == "application/json"
    ((line, headers, body),) = server.requests
    assert line == "POST /path?a=1&b=x+y&c=1&c=true HTTP/1.1"
    assert json.loads(body) == {"text": "grün"}
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["content-type"] == "application/json"
    assert headers["accept"] == "application/json"
    assert headers["x-api-key"] == "k"
    assert headers["idempotency-key"].startswith("penstock-")


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        ({"data": {"a": "1 2", "b": [True, 3]}}, b"a=1+2&b=true&b=3", "application/x-www-form-urlencoded"),
        ({"data": "raw"}, b"raw", "text/plain; charset=utf-8"),
        ({"content": "é"}, "é".encode(), "text/plain; charset=utf-8"),
        ({"content": "<a/>", "headers": {"Content-Type": "text/xml"}}, b"<a/>", "text/xml"),
        ({}, b"", None),
    ],
)
async def test_bodies(run_task, server, body, sent, kind):
    await run_task(KIND, {"method": "PUT", "url": server.url, **body}, allowed_hosts=HERE)
    ((line, headers, got),) = server.requests
    assert (line, got, headers.get("content-type")) == ("PUT / HTTP/1.1", sent, kind)
    assert "idempotency-key" not in headers


@pytest.mark.parametrize(
    ("reply", "body", "encoding"),
    [
        (answer(b""), "", "text"),
        (answer(b"plain"), "plain", "text"),
        (answer(b"\xe9", "content-type: text/plain; charset=ISO-8859-1"), "é", "text"),
        (answer(b"\xff\xfe\x00"), base64.b64encode(b"\xff\xfe\x00").decode(), "base64"),
        (answer(b"abc", "content-type: text/plain; charset=punycode"), "YWJj", "base64"),
        (answer(b'{"a": 1}', "content-type: application/vnd.x+json; charset=utf-8"), {"a": 1}, "json"),
        (answer(b"{broken", "content-type: application/json"), "{broken", "text"),
        (answer(b"[NaN]", "content-type: application/json"), "[NaN]", "text"),
        (answer(b"[" * 100_000, "content-type: application/json"), "[" * 100_000, "text"),
        (answer(gzip.compress(b"packed", mtime=0), "content-encoding: gzip"), "packed", "text"),
        (answer(zlib.compress(b"packed"), "content-encoding: deflate"), "packed", "text"),
        (answer(b"abc", "content-encoding: br"), "YWJj", "base64"),
    ],
)
async def test_replies(run_task, server, reply, body, encoding):
    server.reply = lambda number: reply
    result = await run_task(KIND, {"url": server.url}, allowed_hosts=HERE)
    assert (result["body"], result["encoding"]) == (body, encoding)


async def test_any_status_is_an_answer_and_cookies_stay_out(run_task, server):
    headers = ["set-cookie: session=secret", "x-a: 1", "x-a: 2"]
    server.reply = lambda number: answer(b"no", *headers, status="503 Busy")
    result = await run_task(KIND, {"url": server.url}, allowed_hosts=HERE)
    assert result["status"] == 503
    assert result["headers"]["x-a"] == "1, 2"
    assert "secret" not in json.dumps(result)
    assert len(server.requests) == 1


async def test_a_reply_that_is_cut_is_none(run_task, server):
    whole = gzip.compress(b"packed" * 1000)
    replies = [answer(whole[:-9], "content-encoding: gzip"), answer(b"??", "content-encoding: gzip")]
    server.reply = lambda number: replies[min(number, 2) - 1]
    with pytest.raises(TaskFailed, match="is no gzip"):
        await run_task(KIND, {"url": server.url}, allowed_hosts=HERE, options=QUICK)
    assert len(server.requests) == 2


@pytest.mark.parametrize("packed", [False, True])
async def test_a_reply_that_is_too_large_is_not_read(run_task, server, packed):
    large = b"0" * 5_000_000
    body = gzip.compress(large) if packed else large
    server.reply = lambda number: answer(body, "content-encoding: gzip") if packed else answer(body)
    with pytest.raises(TaskFailed, match="larger than 1,000 bytes"):
        await run_task(KIND, {"url": server.url}, allowed_hosts=HERE, most_bytes=1000)
    assert len(server.requests) == 1


async def test_a_bomb_does_not_unfold(run_task, server):
    body = gzip.compress(bytes(50_000_000), 1)
    server.reply = lambda number: answer(body, "content-encoding: gzip")
    await run_task.start(allowed_hosts=HERE, most_bytes=1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TaskFailed, match="larger than 1,000,000 bytes"):
            await run_task(KIND, {"url": server.url})
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


async def test_the_timeout_is_for_all_of_it(run_task, server):
    async def slowly():
        await asyncio.sleep(30)

    server.reply = lambda number: slowly()
    options = TaskOptions(max_retries=0)
    with pytest.raises(TaskFailed, match=r"within 0\.1 seconds"):
        await run_task(KIND, {"url": server.url, "timeout": 0.1}, allowed_hosts=HERE, options=options)


async def test_no_proxy_of_the_environment_is_used(run_task, server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await run_task(KIND, {"url": server.url}, allowed_hosts=HERE))["status"] == 200


# Redirects


async def test_redirects_are_followed(run_task, server):
    replies = [answer(b"", "location: /b?x=1", status="302 Found"), answer(b"there")]
    server.reply = lambda number: replies[number - 1]
    data = {"method": "POST", "url": f"{server.url}/a", "json": 1, "headers": {"Authorization": "Bearer s"}}
    result = await run_task(KIND, data, allowed_hosts=HERE)
    assert result["body"] == "there"
    (_, second) = server.requests
    assert second[0] == "GET /b?x=1 HTTP/1.1"
    assert second[2] == b""
    assert second[1]["authorization"] == "Bearer s"  # the origin is the same
    assert "content-type" not in second[1]


async def test_redirects_end(run_task, server):
    server.reply = lambda number: answer(b"", "location: /again", status="302 Found")
    with pytest.raises(TaskFailed, match="more than 5 redirects"):
        await run_task(KIND, {"url": server.url}, allowed_hosts=HERE)
    assert len(server.requests) == 6


async def test_redirects_need_not_be_followed(run_task, server):
    server.reply = lambda number: answer(b"", "location: http://10.0.0.1/", status="302 Found")
    result = await run_task(KIND, {"url": server.url, "follow_redirects": False}, allowed_hosts=HERE)
    assert (result["status"], result["headers"]["location"]) == (302, "http://10.0.0.1/")


SECRETS = (("authorization", "s"), ("cookie", "s"), ("x-api-key", "s"), ("x-own", "s"))


@pytest.mark.parametrize(
    ("url", "goes_along"),
    [
        ("https://a.example/x", True),
        ("https://a.example:443/x", True),
        ("/x", True),
        ("https://b.example/x", False),
        ("https://a.example:444/x", False),
        ("http://a.example/x", False),
        ("https://sub.a.example/x", False),
        ("//b.example/x", False),
    ],
)
def test_credentials_stay_with_their_origin(url, goes_along):
    request = Outgoing("GET", "https://a.example/", (("accept", "*/*"), *SECRETS))
    there = redirected(request, read_url(request.url), 302, url)
    assert there.headers == (("accept", "*/*"), *(SECRETS if goes_along else ()))


@pytest.mark.parametrize(
    ("method", "status", "becomes", "body"),
    [
        ("POST", 301, "GET", None),
        ("POST", 302, "GET", None),
        ("PUT", 302, "PUT", b"x"),
        ("PUT", 303, "GET", None),
        ("HEAD", 303, "HEAD", b"x"),
        ("POST", 307, "POST", b"x"),
        ("POST", 308, "POST", b"x"),
    ],
)
def test_methods_after_redirects(method, status, becomes, body):
    request = Outgoing(method, "https://a.example/", (("content-type", "x"),), b"x")
    there = redirected(request, read_url(request.url), status, "/y")
    assert (there.method, there.content, bool(there.headers)) == (becomes, body, body is not None)


# Once, or as often as needed


def hang_up_first(number):
    return None if number == 1 else answer(b"done")


async def test_a_lost_reply_to_a_get_is_asked_for_again(run_task, server):
    server.reply = hang_up_first
    result = await run_task(KIND, {"url": server.url}, allowed_hosts=HERE, options=QUICK)
    assert result["body"] == "done"
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_lost_reply_to_what_changes_things_is_not(run_task, server, method):
    server.reply = hang_up_first
    with pytest.raises(TaskFailed, match="whether the request was done is not known") as caught:
        await run_task(KIND, {"method": method, "url": server.url}, allowed_hosts=HERE, options=QUICK)
    assert caught.value.reason == "outcome_unknown"
    assert len(server.requests) == 1


@pytest.mark.parametrize("more", [{"idempotent": True}, {"headers": {"Idempotency-Key": "mine"}}])
async def test_but_it_is_when_that_does_no_harm(run_task, server, more):
    server.reply = hang_up_first
    data = {"method": "POST", "url": server.url, **more}
    result = await run_task(KIND, data, allowed_hosts=HERE, options=QUICK)
    assert result["body"] == "done"
    keys = {headers["idempotency-key"] for _, headers, _ in server.requests}
    assert len(server.requests) == 2
    assert len(keys) == 1  # the same both times


async def test_what_did_not_leave_is_tried_again(run_task, server):
    await server.stop()
    with pytest.raises(TaskFailed, match="cannot be reached") as caught:
        await run_task(KIND, {"method": "POST", "url": server.url}, allowed_hosts=HERE, options=QUICK)
    assert caught.value.reason == "unreachable"
    task = await run_task.manager.read(lambda reader: reader.task(caught.value.task_id))
    assert task.attempt == 3


async def test_what_did_not_leave_goes_out_when_it_can(run_task, server):
    """Each try that sent nothing is on record; the one that could is the last."""
    names = [OSError(), OSError(), None]
    resolve = AllowedHosts.resolve

    async def fail_twice(self, target):
        error = names.pop(0)
        if error is not None:
            raise error
        return await resolve(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AllowedHosts, "resolve", fail_twice)
        data = {"method": "POST", "url": server.url}
        result = await run_task(KIND, data, allowed_hosts=HERE, options=QUICK)
    assert result["status"] == 200
    assert len(server.requests) == 1


async def test_what_was_being_sent_when_the_process_died_is_not_sent_again(run_task, server, eventually):
    never = asyncio.Event()

    async def hold():
        await never.wait()

    server.reply = lambda number: hold()
    id = await run_task.submit(KIND, {"method": "POST", "url": server.url}, allowed_hosts=HERE)
    await eventually(lambda: server.requests)
    await run_task.manager.stop(now=True)
    never.set()
    await run_task.start(allowed_hosts=HERE)
    run_task.manager.register(str(KIND.type), run_task._handler(KIND))
    with pytest.raises(TaskFailed, match="an earlier attempt had begun"):
        await run_task.manager_wait(id)
    assert len(server.requests) == 1


async def test_a_recorded_reply_is_not_asked_for_again(run_task, server):
    attempts = []

    async def twice(context, data, toolbox):
        result = await KIND.run(context, data, toolbox)
        attempts.append(result)
        if len(attempts) == 1:
            raise RuntimeError("after the reply was recorded")
        return result

    data = {"method": "POST", "url": server.url}
    await run_task(replace(KIND, run=twice), data, allowed_hosts=HERE, options=QUICK)
    assert attempts[0] == attempts[1]
    assert len(server.requests) == 1


# Secrets

CANARY = "canary-9f3b1c"


async def test_no_secret_is_in_errors_events_or_logs(run_task, server, caplog):
    caplog.set_level(logging.INFO)
    server.reply = lambda number: None
    data = {
        "method": "POST",
        "url": f"{server.url}/path?token={CANARY}",
        "headers": {"Authorization": f"Bearer {CANARY}", "Cookie": f"a={CANARY}", "X-Own": CANARY},
        "json": {"password": CANARY},
    }
    with pytest.raises(TaskFailed) as caught:
        await run_task(KIND, data, allowed_hosts=HERE, options=QUICK)
    events = await run_task.manager.read(lambda reader: reader.events(0, 100))
    assert events
    assert CANARY not in str(caught.value) + repr(events) + caplog.text
    assert CANARY in str(server.requests)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": f"http://user:{CANARY}@a.example/"},
        {"headers": {"X-Key": f"{CANARY}\r\nX-Other: 1"}},
        {"headers": {"X-Key": [CANARY]}},
        {"headers": {f"{CANARY} ": "x"}},
        {"json": {"a": CANARY, "b": float("nan")}},
        {"params": {"a": {"b": CANARY}}},
    ],
)
def test_no_secret_is_in_refusals(refused, wrong):
    assert CANARY not in refused(KIND, {"url": "https://a.example/", **wrong})


# At the door

URL = "https://a.example/"
BAD = {
    "nothing": ({}, "url"),
    "no object": (URL, "data"),
    "url of wrong type": ({"url": 5}, "url"),
    "empty url": ({"url": ""}, "url"),
    "no url": ({"url": "a.example/x"}, "url"),
    "method": ({"url": URL, "method": "TRACE"}, "method"),
    "tunnel": ({"url": URL, "method": "CONNECT"}, "method"),
    "method of wrong type": ({"url": URL, "method": 1}, "method"),
    "headers as list": ({"url": URL, "headers": [["a", "b"]]}, "headers"),
    "header of wrong type": ({"url": URL, "headers": {"a": 1}}, "headers.a"),
    "line end in value": ({"url": URL, "headers": {"a": "b\r\nc: d"}}, "headers"),
    "new line in value": ({"url": URL, "headers": {"a": "b\nc: d"}}, "headers"),
    "NUL in value": ({"url": URL, "headers": {"a": "b\0"}}, "headers"),
    "line end in name": ({"url": URL, "headers": {"a\r\nb": "c"}}, "headers"),
    "colon in name": ({"url": URL, "headers": {"a:b": "c"}}, "headers"),
    "empty name": ({"url": URL, "headers": {"": "c"}}, "headers"),
    "sign of no header": ({"url": URL, "headers": {"a": "☃"}}, "headers"),
    "host": ({"url": URL, "headers": {"Host": "b.example"}}, "headers"),
    "framing": ({"url": URL, "headers": {"Transfer-Encoding": "chunked"}}, "headers"),
    "length": ({"url": URL, "headers": {"content-length": "0"}}, "headers"),
    "params": ({"url": URL, "params": "a=b"}, "params"),
    "nested params": ({"url": URL, "params": {"a": {"b": 1}}}, "params"),
    "two bodies": ({"url": URL, "json": {}, "content": "x"}, "json and content"),
    "data of wrong type": ({"url": URL, "data": 5}, "data"),
    "content of wrong type": ({"url": URL, "content": {"a": 1}}, "content"),
    "json that is none": ({"url": URL, "json": {"a": float("inf")}}, "json"),
    "long params": ({"url": URL, "params": {"a": "x" * 60_000}}, "params"),
    "no time": ({"url": URL, "timeout": 0}, "timeout"),
    "time as text": ({"url": URL, "timeout": "5"}, "timeout"),
    "for ever": ({"url": URL, "timeout": float("inf")}, "timeout"),
    "unknown field": ({"url": URL, "verify": False}, "verify"),
}


@pytest.mark.parametrize(("data", "field"), BAD.values(), ids=BAD)
def test_bad_data_is_refused(refused, data, field):
    assert field in refused(KIND, data).removeprefix("data of a api_request task: ")


def test_data_stays_as_it_was_when_it_is_kept():
    data = {"url": URL, "json": {"a": [1, None]}, "params": {"b": True}}
    read = KIND.read(data)
    assert read.model_dump(mode="json", exclude_unset=True) == data
    assert KIND.read(read.model_dump(mode="json")) == read


def test_a_body_that_is_too_large_is_refused():
    toolbox = Toolbox(client=lambda: None, functions=None, most_bytes=10)
    with pytest.raises(InvalidTask, match="larger than 10 bytes"):
        KIND.refuse(KIND.read({"url": URL, "method": "POST", "content": "x" * 11}), toolbox)


async def test_the_certificate_is_that_of_the_name(run_task, monkeypatch):
    """The connection goes to the address that was checked, the name goes into the handshake."""
    seen = []

    async def once():
        yield b"fine"

    class Transport(httpx2.MockTransport):
        def __init__(self, **settings):
            assert settings["verify"].check_hostname
            super().__init__(self._answer)

        def _answer(self, request):
            seen.append((str(request.url), request.headers["host"], request.extensions["sni_hostname"]))
            return httpx2.Response(200, content=once())

    monkeypatch.setattr(httpx2, "AsyncHTTPTransport", Transport)
    await run_task.start()
    loop = asyncio.get_running_loop()

    async def resolve(host, port, **_):
        return [(2, 1, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    await run_task(KIND, {"url": "https://name.example:8443/x?y"})
    assert seen == [("https://93.184.215.14:8443/x?y", "name.example:8443", "name.example")]
