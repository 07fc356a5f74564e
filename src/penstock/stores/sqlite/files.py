"""The files of a store: private to the user, on a disk of this machine, dispatched by one process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from penstock.errors import StoreBusy, StoreError
from penstock.stores.sqlite.failures import translate_os

# On these, locks or shared memory do not work between machines: a database in WAL mode would be damaged.
NETWORK_KINDS = frozenset(
    {
        "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.davfs2",
        "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.mfs", "fuse.moosefs", "fuse.rclone",
        "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs3", "nfs4",
        "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "webdav",
    }
)  # fmt: skip


def prepare(path: Path) -> None:
    """Make folder and file when they are missing, both private; refuse a network file system.

    The file is made before SQLite sees it, for the files that SQLite puts beside it take its mode.
    """
    try:
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        refuse_network(path.parent)
        # Never opened when it is there: closing it would drop the locks of this process's connections.
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if not path.is_file():
            raise StoreError(f"{path.parent} is no folder; name another store") from None
    except OSError as error:
        raise translate_os(error, str(path)) from error
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a file for the store")


def refuse_network(folder: Path) -> None:
    """Raise `StoreError` when the folder is on a network file system, as far as mounts are known."""
    kind = network_kind(folder, _mounts())
    if kind is not None:
        raise StoreError(
            f"{folder} is on a network file system ({kind}), where file locks are not reliable and a "
            "database may be damaged; put the store on a disk of this machine"
        )


def network_kind(folder: Path, mounts: dict[str, str]) -> str | None:
    """The kind of file system `folder` is on when that is a network's; `mounts`: kinds by mount point."""
    if str(folder).startswith("\\\\"):
        return "network share"
    for place in (folder, *folder.parents):
        kind = mounts.get(str(place))
        if kind is not None:
            return kind if kind in NETWORK_KINDS else None
    return None


def _mounts() -> dict[str, str]:
    try:
        return parse_mountinfo(
            Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        )
    except OSError:
        return parse_mount_command() if sys.platform == "darwin" else {}


def parse_mountinfo(text: str) -> dict[str, str]:
    """Kinds of file systems by mount point, as Linux lists them (proc(5)); the last on a point counts."""
    mounts = {}
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) > 4:
            point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
            mounts[point.encode("latin-1", "replace").decode("utf-8", "replace")] = after.split(" ")[0]
    return mounts


def parse_mount_command() -> dict[str, str]:
    """The same from `mount`, whose lines read `what on point (kind, ...)`."""
    try:
        listed = subprocess.run(
            ["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    mounts = {}
    for line in listed.splitlines():
        what, _, options = line.rpartition(" (")
        _, _, point = what.partition(" on ")
        mounts[point] = options.rstrip(")").split(",")[0]
    return mounts


class DispatchLock:
    """The operating system's lock on being the dispatching process of a file; gone when the process is."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".dispatch.lock")
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Raises `StoreBusy` naming the process that has it."""
        if self._file is not None:
            return
        try:
            file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600), "r+", encoding="utf-8")
        except OSError as error:
            raise translate_os(error, str(self._path)) from error
        try:
            _lock(file)
        except OSError:
            holder = _describe(file)
            file.close()
            raise StoreBusy(
                f"{str(self._path).removesuffix('.dispatch.lock')} is dispatched by {holder}; "
                "reach it from here by penstock.StoreClient, or by `penstock submit`, `event`, `approve` "
                "and the like, or stop that process first"
            ) from None
        self._file = file
        self._sign(file)

    def _sign(self, file: IO[str]) -> None:
        file.seek(0)
        file.truncate()
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        file.write(" " + json.dumps(about))
        file.flush()

    def release(self) -> None:
        if self._file is not None:
            # The file stays: removing it could take it from a process that is about to lock it.
            self._file.close()
            self._file = None


def _describe(file: IO[str]) -> str:
    try:
        file.seek(0)
        about = json.loads(file.read())
        return f"process {about['pid']} (since {about['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # One byte far behind the text, so that others can still read who has it.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
