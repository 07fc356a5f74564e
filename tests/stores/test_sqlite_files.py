"""The files beside each other: private, on a local disk, dispatched by one process."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.errors import StoreBusy, StoreError
from penstock.stores.sqlite import files
from penstock.stores.sqlite.store import SqliteStore
from penstock.testing.store_probe import Probe

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /mnt/team\040files rw,relatime shared:2 - nfs4 server:/export rw,vers=4.2
41 22 0:36 / /mnt/sshfs rw,nosuid - fuse.sshfs me@host:/ rw
42 41 0:37 / /mnt/sshfs/local rw - tmpfs tmpfs rw
43 22 0:38 / /mnt/twice rw - ext4 /dev/vdb rw
44 22 0:39 / /mnt/twice rw - cifs //server/share rw
"""

posix = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_all_files_are_private(tmp_path):
    before = os.umask(0)
    try:
        with SqliteStore.open(tmp_path / "deep" / "er" / "s.db") as store:
            Probe(store).add()
            store.lock_dispatch()
            store.backup(str(tmp_path / "copy.db"))
            beside = sorted((tmp_path / "deep" / "er").iterdir())
            assert [file.name for file in beside] == ["s.db", "s.db-shm", "s.db-wal", "s.db.dispatch.lock"]
            assert {mode(file) for file in beside} == {0o600}
    finally:
        os.umask(before)
    assert mode(tmp_path / "deep" / "er") == 0o700
    assert mode(tmp_path / "copy.db") == 0o600


def test_the_path_is_resolved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SqliteStore.open("a/../s.db") as store:
        assert store.path == str((tmp_path / "s.db").resolve())


def test_memory_makes_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SqliteStore.open(":memory:") as store:
        Probe(store).add()
        store.lock_dispatch()
        assert store.changed_by_others() is False
        assert store.verify() == []
        store.compact()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib", None),
        ("/mnt/team files/stores", "nfs4"),
        ("/mnt/teams", None),
        ("/mnt/sshfs", "fuse.sshfs"),
        ("/mnt/sshfs/local/deep", None),
        ("/mnt/twice", "cifs"),
    ],
)
def test_network_file_systems_are_known_by_their_mount(folder, kind):
    assert files.network_kind(Path(folder), files.parse_mountinfo(MOUNTS)) == kind


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_mounts", lambda: {str(tmp_path.resolve()): "nfs"})
    with pytest.raises(StoreError, match=r"network file system \(nfs\).*disk of this machine"):
        SqliteStore.open(tmp_path / "s.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="is a folder"):
        SqliteStore.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"is no folder|Not a directory"):
        SqliteStore.open(tmp_path / "file" / "s.db")


def test_a_second_dispatcher_learns_the_pid_of_the_first(tmp_path):
    code = (
        "import sys\n"
        "from penstock.stores.sqlite.store import SqliteStore\n"
        "store = SqliteStore.open(sys.argv[1])\n"
        "store.lock_dispatch(); store.lock_dispatch()\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "s.db"
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with first:
        assert first.stdout.readline() == "locked\n"
        with SqliteStore.open(path) as store:
            with pytest.raises(StoreBusy, match=f"process {first.pid} .*since 20"):
                store.lock_dispatch()
            Probe(store).add()  # it may still add
            first.kill()
            first.wait(timeout=30)
            store.lock_dispatch()
