"""Where requests may go: public addresses only, however the others are spelt, resolved or redirected to."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from penstock import TaskOptions
from penstock.errors import ConfigurationError, InvalidTask, TaskFailed
from penstock.task_types.addresses import AllowedHosts, forbidden, read_url
from penstock.task_types.api_request import KIND
from penstock.task_types.base import Toolbox

ESCAPES = [
    "http://127.0.0.1/",
    "http://127.1.2.3:8080/x",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://127.0.0.0x1/",
    "http://127.0.0.1./",
    "http://256.0.0.1/",
    "http://1.2.3.4.5/",
    "http://4294967297/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://１２７.0.0.1/",
    "http://١٢٧.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://%31%32%37.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST:80/",
    "http://localhost./",
    "http://a.localhost/",
    "http://ⓛocalhost/",
    "http://loc\u00adalhost/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.0.1/",
    "http://2852039166/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://198.18.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::8.8.8.8]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[2600::5efe:7f00:1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[100::1]/",
    "http://[4000::1]/",
    "http://[::1/",
    "http://::1/",
    "http://user@127.0.0.1/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1@public.example/",
    "http://public.example:80@127.0.0.1/",
    "http://user:word@public.example/",
    "http://public.example\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http://public.example\t@127.0.0.1/",
    "http://127.0.0.1\n.public.example/",
    "http://public.example \r\nHost: x/",
    " http://127.0.0.1/",
    "http:127.0.0.1/",
    "http:/127.0.0.1/",
    "http:///127.0.0.1/",
    "//127.0.0.1/",
    "127.0.0.1",
    "http://",
    "http://:80/",
    "http://public.example:0/",
    "http://public.example:65536/",
    "http://public.example:80:80/",
    "http://public.example:８０/",
    "http://public..example/",
    "http://-public.example/",
    "http://public.example./",
    "ftp://public.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "unix:///var/run/docker.sock",
    "data:text/plain,x",
    "javascript:alert(1)",
    "http+unix://x/",
]


def test_there_are_many_of_them():
    assert len(set(ESCAPES)) == len(ESCAPES) > 60


@pytest.mark.parametrize("url", ESCAPES, ids=ascii)
def test_no_spelling_leads_inside(refused, url):
    assert "url: " in refused(KIND, {"url": url})


@pytest.mark.parametrize(
    ("url", "host", "port", "rest"),
    [
        ("http://public.example", "public.example", 80, "/"),
        ("HTTPS://Public.Example:8443/Path?q=1#part", "public.example", 8443, "/Path?q=1"),
        ("https://8.8.8.8?q", "8.8.8.8", 443, "/?q"),
        ("http://[2606:4700::1111]:80/", "2606:4700::1111", 80, "/"),
        ("https://bücher.example/ä", "xn--bcher-kva.example", 443, "/ä"),
        ("https://a-b_c.example/@x:y", "a-b_c.example", 443, "/@x:y"),
        ("https://3com.example/", "3com.example", 443, "/"),
    ],
)
def test_public_places_are_read(refused, url, host, port, rest):
    target = read_url(url)
    assert (target.host, target.port, target.rest) == (host, port, rest)
    KIND.refuse(KIND.read({"url": url}), Toolbox(client=lambda: None, functions=None))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_public_addresses(address):
    assert forbidden(ip_address(address)) is None


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8"])
def test_python_agrees_that_these_are_public(address):
    assert ip_address(address).is_global


def test_whatever_python_calls_private_is_forbidden():
    for number in range(0, 2**32, 65_521 * 7):
        address = ip_address(number)
        if not address.is_global or address.is_multicast:
            assert forbidden(address), address


def test_allowed_hosts():
    allowed = AllowedHosts.read(["10.0.0.0/8", "127.0.0.1", "[::1]", "Intranet.example"])
    for url in ("http://10.1.2.3/", "http://127.0.0.1:9/", "http://[::1]/", "http://localhost/"):
        allowed.check_literal(read_url(url))
    assert allowed.allow("intranet.example", ip_address("192.168.0.1"))
    for url in ("http://127.0.0.2/", "http://11.0.0.1.example.localhost/", "http://192.168.0.1/"):
        if "localhost" not in url:
            with pytest.raises(ValueError, match="allowed hosts"):
                allowed.check_literal(read_url(url))
    with pytest.raises(ConfigurationError, match="allowed host 'http://x'"):
        AllowedHosts.read(["http://x"])


# After names are resolved


@pytest.fixture
async def names(monkeypatch):
    """A table of names; every look-up is noted."""
    table, asked = {}, []

    async def resolve(host, port, **_):
        asked.append(host)
        found = table.get(host)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answer = found.pop(0) if len(found) > 1 else found[0]
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port)) for one in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    table["asked"] = asked
    return table


@pytest.fixture
async def server():
    heads = []

    async def serve(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(server.reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.reply = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
    server.heads = heads
    server.port = server.sockets[0].getsockname()[1]
    yield server
    server.close()
    await server.wait_closed()


INSIDE = [
    ["127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["::1"],
    ["fd00:ec2::254"],
    ["fe80::1%eth0"],
    ["::ffff:127.0.0.1"],
    ["64:ff9b::7f00:1"],
    ["8.8.8.8", "127.0.0.1"],
]


@pytest.mark.parametrize("addresses", INSIDE, ids=repr)
async def test_no_name_leads_inside(run_task, addresses):
    await run_task.start()
    loop = asyncio.get_running_loop()

    async def resolve(host, port, **_):
        return [(0, 1, 6, "", (one, port)) for one in addresses]

    loop.getaddrinfo = resolve
    with pytest.raises(TaskFailed, match=r"is an? .* address") as caught:
        await run_task(KIND, {"url": "http://inside.example/"})
    assert caught.value.reason == "address_refused"


async def test_a_name_is_resolved_once_and_the_checked_address_is_used(run_task, names, server):
    names["rebind.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    url = f"http://rebind.example:{server.port}/x"
    result = await run_task(KIND, {"url": url}, allowed_hosts=("127.0.0.1",))
    assert result["body"] == "fine"
    assert names["asked"] == ["rebind.example"]
    assert f"host: rebind.example:{server.port}" in server.heads[0].lower()


async def test_an_allowed_name_may_lead_inside(run_task, names, server):
    names["intranet.example"] = [["127.0.0.1"]]
    url = f"http://intranet.example:{server.port}/x"
    assert (await run_task(KIND, {"url": url}, allowed_hosts=("intranet.example",)))["status"] == 200


async def test_the_next_address_is_tried_where_one_cannot_be_reached(run_task, names, server):
    names["two.example"] = [["127.0.0.2", "127.0.0.1"]]
    url = f"http://two.example:{server.port}/x"
    assert (await run_task(KIND, {"url": url}, allowed_hosts=("127.0.0.0/8",)))["status"] == 200


async def test_a_name_without_address(run_task, names):
    options = TaskOptions(max_retries=0)
    with pytest.raises(TaskFailed, match=r"nowhere\.example has no address"):
        await run_task(KIND, {"url": "http://nowhere.example/"}, options=options)


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/",
        "//[::1]/",
        "http://127.1/",
        "http://2130706433/",
        "http://localhost:1/",
        "http://user@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://inside.example/",
        "http://[::1",
        "http://127.0.0.2/",
    ],
)
async def test_no_redirect_leads_inside(run_task, names, server, location):
    names["inside.example"] = [["192.168.0.1"]]
    names["localhost"] = [["::1", "127.0.0.1"]]  # only one of which was allowed
    head = f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    server.reply = head.encode()
    with pytest.raises(TaskFailed) as caught:
        await run_task(KIND, {"url": f"http://127.0.0.1:{server.port}/"}, allowed_hosts=("127.0.0.1",))
    assert caught.value.reason == "address_refused"
    assert len(server.heads) == 1


def test_a_port_is_no_way_in(refused):
    with pytest.raises(InvalidTask):
        KIND.read({"url": "http://public.example:+80/"})
