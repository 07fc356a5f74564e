"""FILE_OPERATION: files below the root, and no way out of it."""

import asyncio
import base64
import os
import socket
import threading

import pytest

from penstock import TaskOptions
from penstock.errors import InvalidTask, StepError, TaskFailed
from penstock.task_types.base import Toolbox
from penstock.task_types.file_operation import KIND
from penstock.task_types.sandbox import MOST_ENTRIES, Sandbox, read_name

SECRET = "outside\n"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text(SECRET)
    return folder


@pytest.fixture(params=[True, False], ids=["by descriptor", "by path"])
def sandbox(root, request):
    if request.param and os.open not in os.supports_dir_fd:
        pytest.skip("folders cannot be opened here")
    return Sandbox(root, 1000, by_descriptor=request.param)


async def test_operations(run_task, root):
    async def do(operation, filename=None, **more):
        given = {} if filename is None else {"filename": filename}
        return await run_task(KIND, {"operation": operation, **given, **more})

    await run_task.start(root=root)
    assert await do("write", "a/b/c.txt", content="grün\n") == {"filename": "a/b/c.txt", "size": 6}
    assert await do("append", "a/b/c.txt", content="more") == {"filename": "a/b/c.txt", "size": 10}
    assert await do("append", "new.txt", content="first") == {"filename": "new.txt", "size": 5}
    assert await do("read", "a/b/c.txt") == {"filename": "a/b/c.txt", "content": "grün\nmore", "size": 10}
    assert await do("list", "a") == {
        "filename": "a",
        "entries": [{"name": "b", "type": "folder", "size": None}],
    }
    assert [one["name"] for one in (await do("list"))["entries"]] == ["a", "new.txt"]
    assert await do("delete", "a/b/c.txt") == {"filename": "a/b/c.txt", "deleted": True}
    assert await do("delete", "a/b/c.txt") == {"filename": "a/b/c.txt", "deleted": False}
    assert await do("delete", "not/there.txt") == {"filename": "not/there.txt", "deleted": False}
    assert (await do("list", "a/b"))["entries"] == []


async def test_bytes(run_task, root):
    raw = bytes(range(256))
    data = {"filename": "raw", "encoding": "base64"}
    content = base64.b64encode(raw).decode()
    await run_task(KIND, {"operation": "write", "content": content, **data}, root=root)
    assert (root / "raw").read_bytes() == raw
    assert (await run_task(KIND, {"operation": "read", **data}))["content"] == content
    with pytest.raises(TaskFailed, match="no UTF-8"):
        await run_task(KIND, {"operation": "read", "filename": "raw"})


async def test_what_is_missing_or_too_large_fails_at_once(run_task, root):
    (root / "large").write_bytes(b"x" * 101)
    await run_task.start(root=root, most_bytes=100)
    with pytest.raises(TaskFailed, match=r"there is no 'a\.txt'"):
        await run_task(KIND, {"operation": "read", "filename": "a.txt"})
    with pytest.raises(TaskFailed, match="there is no 'a'"):
        await run_task(KIND, {"operation": "list", "filename": "a"})
    with pytest.raises(TaskFailed, match="101 bytes"):
        await run_task(KIND, {"operation": "read", "filename": "large"})
    with pytest.raises(InvalidTask, match="content is larger than 100 bytes"):
        await run_task(KIND, {"operation": "write", "filename": "a", "content": "ü" * 51})


async def test_many_append_to_one_file(run_task, root):
    await run_task.start(root=root, max_concurrent=8)
    lines = [f"line {number}\n" for number in range(30)]
    ids = [
        await run_task.submit(KIND, {"operation": "append", "filename": "log", "content": line})
        for line in lines
    ]
    await asyncio.gather(*map(run_task.manager_wait, ids))
    assert sorted((root / "log").read_text().splitlines(True)) == sorted(lines)
    assert not run_task.toolbox.turns._locks


async def test_a_write_is_whole_or_not_there(sandbox, root, monkeypatch):
    sandbox.write(("a",), b"old")
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        sandbox.write(("a",), b"new")
    assert (root / "a").read_bytes() == b"old"
    assert os.listdir(root) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of this kind are of POSIX")
def test_a_write_keeps_the_permissions(sandbox, root):
    sandbox.write(("a",), b"old")
    (root / "a").chmod(0o640)
    sandbox.write(("a",), b"new")
    assert (root / "a").stat().st_mode & 0o777 == 0o640


# Appends and crashes


@pytest.mark.parametrize("torn", range(5))
def test_an_append_that_was_begun_is_completed_once(sandbox, root, torn):
    (root / "log").write_bytes(b"before " + b"line"[:torn])
    assert sandbox.append(("log",), 7, b"line", begun=True) == 11
    assert sandbox.append(("log",), 7, b"line", begun=True) == 11
    assert (root / "log").read_bytes() == b"before line"


def test_an_append_finds_another_place_when_others_were_quicker(sandbox, root):
    (root / "log").write_bytes(b"before others")
    for begun in (True, False):
        assert sandbox.append(("log",), 7, b"line", begun=begun) is None
    assert sandbox.append(("log",), 99, b"line", begun=True) is None
    # What others wrote after it does not hide that it was done.
    (root / "log").write_bytes(b"before line and others")
    assert sandbox.append(("log",), 7, b"line", begun=True) == 22
    assert (root / "log").read_bytes() == b"before line and others"


async def test_a_crash_between_append_and_record_does_not_repeat_it(run_task, root, monkeypatch, eventually):
    whole = Sandbox.append
    done = threading.Event()

    def append(self, parts, offset, content, begun):
        size = whole(self, parts, offset, content, begun)
        if not begun:
            done.set()
            raise OSError("the process dies here")
        return size

    monkeypatch.setattr(Sandbox, "append", append)
    data = {"operation": "append", "filename": "log", "content": "once\n"}
    result = await run_task(KIND, data, root=root, options=TaskOptions(retry_delay=0.01))
    assert done.is_set()
    assert result["size"] == 5
    assert (root / "log").read_text() == "once\n"


# Ways out

NAMES = [
    "",
    ".",
    "..",
    "../secret.txt",
    "a/../../secret.txt",
    "a/..",
    "./secret.txt",
    "a/./b",
    "a//b",
    "a/",
    "/",
    "/etc/passwd",
    "//etc/passwd",
    "..\\secret.txt",
    "a\\..\\..\\secret.txt",
    "\\\\server\\share\\x",
    "C:\\x",
    "C:/x",
    "c:x",
    "a\0b",
    "secret.txt\0.jpg",
    "a\nb",
    "a\x7fb",
    "․․/secret.txt",
    "‥/secret.txt",
    "．．/secret.txt",
    "..／secret.txt",
    "..＼secret.txt",
    "a/\udc80",
    "x" * 256,
    "a/" * 65 + "b",
    ".penstock-0",
    "a/.penstock-0/b",
]


@pytest.mark.parametrize("filename", NAMES, ids=repr)
@pytest.mark.parametrize("operation", ["read", "write", "append", "list", "delete"])
def test_names_that_lead_out_are_refused(root, operation, filename):
    data = {"operation": operation, "filename": filename}
    if operation in ("write", "append"):
        data["content"] = "x"
    with pytest.raises(InvalidTask, match="filename"):
        KIND.read(data)


@pytest.mark.parametrize(
    "filename", ["file:stream", "con", "NUL.txt", "com1", "a.", "a ", "a/LPT9.x/b", "PROGRA~1", "a?", "a|b"]
)
def test_names_that_mean_something_else_on_windows(filename):
    assert read_name(filename, windows=False)
    with pytest.raises(ValueError, match="Windows"):
        read_name(filename, windows=True)


def traps(root):
    """Everything in the root that leads out of it, by name."""
    outside = root.parent
    (outside / "folder").mkdir()
    (outside / "folder" / "secret.txt").write_text(SECRET)
    (root / "inner").mkdir()
    (root / "plain.txt").write_text("inside")
    links = {
        "link.txt": outside / "secret.txt",
        "relative.txt": "../secret.txt",
        "chain.txt": "link.txt",
        "inside.txt": "plain.txt",
        "dangling.txt": outside / "new.txt",
        "loop.txt": "loop.txt",
        "proc.txt": "/proc/self/environ",
        "null.txt": "/dev/null",
        "folder": outside / "folder",
        "up": "..",
        "inner/up": "../..",
        "here": ".",
        "slash": "/",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    os.link(outside / "secret.txt", root / "hard.txt")
    os.mkfifo(root / "pipe")
    return [
        *("link.txt", "relative.txt", "chain.txt", "inside.txt", "dangling.txt", "loop.txt", "proc.txt"),
        *("null.txt", "hard.txt", "pipe", "inner", "folder", "up", "here", "slash"),
        *("folder/secret.txt", "up/secret.txt", "inner/up/secret.txt", "here/plain.txt", "slash/etc/passwd"),
        *("up/root/plain.txt", "folder/new.txt", "plain.txt/x", "pipe/x", "loop.txt/x"),
    ]


@pytest.mark.skipif(os.name == "nt", reason="links of this kind are of POSIX")
@pytest.mark.parametrize("operation", ["read", "write", "size", "append", "delete", "list"])
def test_no_link_or_device_leads_out(sandbox, root, operation):
    names = traps(root)
    assert len(names) >= 25
    tries = {
        "read": sandbox.read,
        "write": lambda parts: sandbox.write(parts, b"overwritten"),
        "size": sandbox.size,
        "append": lambda parts: sandbox.append(parts, 0, b"added", begun=False),
        "delete": sandbox.delete,
        "list": sandbox.entries,
    }
    before = sorted(os.listdir(root.parent)), sorted(os.listdir(root))
    for name in names:
        parts = read_name(name)
        if operation == "list" and name == "inner":
            continue
        with pytest.raises(InvalidTask, match=r"no plain file|hard link|no folder"):
            tries[operation](parts)
    assert (root.parent / "secret.txt").read_text() == SECRET
    assert (root.parent / "folder" / "secret.txt").read_text() == SECRET
    assert (root / "plain.txt").read_text() == "inside"
    assert (sorted(os.listdir(root.parent)), sorted(os.listdir(root))) == before


@pytest.mark.skipif(os.name == "nt", reason="sockets of this kind are of POSIX")
def test_a_list_tells_links_and_devices_apart(sandbox, root, monkeypatch):
    monkeypatch.chdir(root)
    (root / "folder").mkdir()
    (root / "file").write_bytes(b"123")
    (root / "link").symlink_to(root.parent)
    (root / ".penstock-1234").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert [(one["name"], one["type"], one["size"]) for one in sandbox.entries(())] == [
            ("file", "file", 3),
            ("folder", "folder", None),
            ("link", "other", None),
            ("socket", "other", None),
        ]


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="here a race can be won")
def test_a_folder_that_becomes_a_link_in_between_leads_nowhere(root, monkeypatch):
    """Between the look at a component and its opening somebody puts a link in its place."""
    (root / "folder").mkdir()
    (root / "folder" / "a.txt").write_text("inside")
    (root / "file.txt").write_text("inside")
    look = os.stat

    def swap(name, *args, **kwargs):
        seen = look(name, *args, **kwargs)
        if name == "folder":
            (root / "folder").rename(root / "moved")
            (root / "folder").symlink_to(root.parent)
        elif name == "file.txt":
            (root / "file.txt").unlink()
            (root / "file.txt").symlink_to(root.parent / "secret.txt")
        return seen

    monkeypatch.setattr(os, "stat", swap)
    sandbox = Sandbox(root, 1000)
    for name in ("folder/secret.txt", "file.txt"):
        with pytest.raises(InvalidTask, match=r"leads elsewhere|no plain file"):
            sandbox.read(read_name(name))
    assert (root.parent / "secret.txt").read_text() == SECRET


def test_a_folder_of_very_many_entries_is_not_listed(sandbox, root, monkeypatch):
    monkeypatch.setattr("penstock.task_types.sandbox.MOST_ENTRIES", 3)
    for number in range(4):
        (root / str(number)).touch()
    with pytest.raises(StepError, match="more than 3 entries"):
        sandbox.entries(())
    assert MOST_ENTRIES >= 1000


BAD = {
    "nothing": ({}, "operation"),
    "no object": ("read", "data"),
    "operation": ({"operation": "copy", "filename": "a"}, "operation"),
    "operation of wrong type": ({"operation": 1, "filename": "a"}, "operation"),
    "no filename": ({"operation": "read"}, "filename"),
    "filename of wrong type": ({"operation": "read", "filename": ["a"]}, "filename"),
    "no content to write": ({"operation": "write", "filename": "a"}, "content"),
    "no content to append": ({"operation": "append", "filename": "a"}, "content"),
    "content to read": ({"operation": "read", "filename": "a", "content": "x"}, "content"),
    "content to list": ({"operation": "list", "content": "x"}, "content"),
    "content of wrong type": ({"operation": "write", "filename": "a", "content": {"a": 1}}, "content"),
    "no base64": (
        {"operation": "write", "filename": "a", "content": "?", "encoding": "base64"},
        "content",
    ),
    "half a character": ({"operation": "write", "filename": "a", "content": "\ud800"}, "content"),
    "encoding": ({"operation": "read", "filename": "a", "encoding": "latin-1"}, "encoding"),
    "unknown field": ({"operation": "read", "filename": "a", "mode": "w"}, "mode"),
    "path out": ({"operation": "read", "filename": "../a"}, "filename"),
}


@pytest.mark.parametrize(("data", "field"), BAD.values(), ids=BAD)
def test_bad_data_is_refused(refused, data, field):
    assert field in refused(KIND, data).removeprefix("data of a file_operation task: ")


def test_without_a_root_there_are_no_file_operations(refused):
    assert "no root folder" in refused(KIND, {"operation": "read", "filename": "a"})


def test_a_root_may_be_a_link_of_the_one_who_set_it(root):
    link = root.parent / "link"
    link.symlink_to(root)
    sandbox = Sandbox(link, 100)
    sandbox.write(("a",), b"x")
    assert (root / "a").read_bytes() == b"x"
    toolbox = Toolbox(client=lambda: None, functions=None, root=link)
    KIND.refuse(KIND.read({"operation": "list"}), toolbox)
