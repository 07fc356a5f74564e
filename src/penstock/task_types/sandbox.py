"""Files below one folder, and nothing outside it.

On POSIX every component of a path is opened by itself, relative to the one before and never through a link,
so that nothing can be slipped in between a check and its use. Elsewhere each component is looked at before it
is entered; there, whoever may write into the folder meanwhile could win a race.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from penstock.errors import InvalidTask, StepError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MOST_ENTRIES = 10_000
MOST_COMPONENTS = 64
TEMPORARY = ".penstock-"

_CLOSED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not wait for its other end
_FOLDER = os.O_RDONLY | _CLOSED | getattr(os, "O_DIRECTORY", 0)
# How systems say that what was to be opened is a link.
_LINK = (errno.ENOTDIR, errno.ELOOP, errno.EMLINK)
_BY_DESCRIPTOR = os.open in os.supports_dir_fd
_DEVICES = re.compile(r"(?:con|prn|aux|nul|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def read_name(filename: str, windows: bool = os.name == "nt") -> tuple[str, ...]:
    """The components of a relative path with slashes; `ValueError` for what could lead elsewhere."""
    try:
        size = len(filename.encode())
    except UnicodeEncodeError:
        raise ValueError("must not hold halves of characters") from None
    if not 0 < size <= 4096:
        raise ValueError("must have 1 to 4,096 bytes")
    if any(ord(sign) < 0x20 or ord(sign) == 0x7F for sign in filename):
        raise ValueError("must not hold NUL or other control characters")
    # Some file systems take signs that look like dots and slashes for dots and slashes.
    for name in (filename, unicodedata.normalize("NFKC", filename)):
        if "\\" in name:
            raise ValueError("must not hold backslashes; write folders with /")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            raise ValueError("must be relative")
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise ValueError("must not hold '..', '.' or empty components")
    parts = tuple(filename.split("/"))
    if len(parts) > MOST_COMPONENTS or any(len(part.encode()) > 255 for part in parts):
        raise ValueError(f"must have at most {MOST_COMPONENTS} components of at most 255 bytes")
    if any(part.startswith(TEMPORARY) for part in parts):
        raise ValueError(f"must not hold names that begin with {TEMPORARY}; they are taken")
    if windows and any(_odd_on_windows(part) for part in parts):
        raise ValueError("must not hold names that mean something else on Windows")
    return parts


def _odd_on_windows(part: str) -> bool:
    return bool(set(part) & set('<>:"|?*') or part[-1] in ". " or "~" in part or _DEVICES.fullmatch(part))


class _Place(NamedTuple):
    """An open folder (`None` where folders cannot be opened: then `path` leads there)."""

    descriptor: int | None
    path: Path

    def __truediv__(self, name: str) -> str:
        return name if self.descriptor is not None else str(self.path / name)


class Sandbox:
    """The files below `root`. Raises `InvalidTask` for what is no plain file or folder inside it, and
    `StepError` for what is not there or too large. Blocks: for threads."""

    def __init__(self, root: Path, most_bytes: int, by_descriptor: bool = _BY_DESCRIPTOR) -> None:
        self._root = root
        self._most_bytes = most_bytes
        self._by_descriptor = by_descriptor

    def read(self, parts: tuple[str, ...]) -> bytes:
        """The whole file."""
        with self._folder(parts) as place, self._opened(place, parts, os.O_RDONLY) as file:
            size = os.fstat(file).st_size
            if size > self._most_bytes:
                raise StepError(f"{_shown(parts)} has {size:,} bytes, more than {self._most_bytes:,}")
            content = _read_at(file, 0, self._most_bytes + 1)
        if len(content) > self._most_bytes:
            raise StepError(f"{_shown(parts)} has more than {self._most_bytes:,} bytes")
        return content

    def write(self, parts: tuple[str, ...], content: bytes) -> int:
        """Replace the file or make it, whole or not at all; its size. Missing folders are made."""
        with self._folder(parts, make=True) as place:
            name = place / parts[-1]
            known = self._look(place, parts)
            temporary = place / f"{TEMPORARY}{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOSED
            file = os.open(temporary, flags, 0o666, dir_fd=place.descriptor)
            try:
                try:
                    if known is not None and hasattr(os, "fchmod"):
                        os.fchmod(file, stat.S_IMODE(known.st_mode) & 0o777)
                    _write_all(file, content)
                    os.fsync(file)
                finally:
                    os.close(file)
                os.replace(temporary, name, src_dir_fd=place.descriptor, dst_dir_fd=place.descriptor)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=place.descriptor)
                raise
            _settle(place)
        return len(content)

    def size(self, parts: tuple[str, ...]) -> int:
        """Bytes of the file; 0 when there is none."""
        try:
            with self._folder(parts) as place:
                known = self._look(place, parts)
        except _Missing:
            return 0
        return 0 if known is None else known.st_size

    def append(self, parts: tuple[str, ...], offset: int, content: bytes, begun: bool) -> int | None:
        """Put `content` at the end, which is at `offset`; the new size.

        With `begun` an earlier try may have done it, all or part: what stands at `offset` tells. `None` when
        the end is elsewhere by now and nothing was done.
        """
        with self._folder(parts, make=True) as place:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            with self._opened(place, parts, flags) as file:
                _lock(file)
                end = os.fstat(file).st_size
                there = _read_at(file, offset, len(content)) if begun and end > offset else b""
                done = there if content.startswith(there) else b""
                if end != offset + len(done) and len(done) < len(content):
                    return None
                _write_all(file, content[len(done) :])
                os.fsync(file)
                size = os.fstat(file).st_size
            _settle(place)
        return size

    def entries(self, parts: tuple[str, ...]) -> list[dict[str, Any]]:
        """What is in the folder, by name: `{"name", "type", "size"}`; links and devices are `other`."""
        found: list[dict[str, Any]] = []
        with self._folder((*parts, "")) as place, os.scandir(place.descriptor or place.path) as entries:
            for entry in entries:
                if len(found) == MOST_ENTRIES:
                    raise StepError(f"{_shown(parts)} holds more than {MOST_ENTRIES:,} entries")
                if not entry.name.startswith(TEMPORARY):
                    found.append(_entry(entry))
        return sorted(found, key=lambda one: str(one["name"]))

    def delete(self, parts: tuple[str, ...]) -> bool:
        """Remove a file; whether it was there."""
        try:
            with self._folder(parts) as place:
                if self._look(place, parts) is None:
                    return False
                os.unlink(place / parts[-1], dir_fd=place.descriptor)
                _settle(place)
        except (_Missing, FileNotFoundError):
            return False
        return True

    # Ways in

    @contextlib.contextmanager
    def _folder(self, parts: tuple[str, ...], make: bool = False) -> Iterator[_Place]:
        """The folder that holds the last component."""
        place = self._enter_root()
        try:
            for depth, part in enumerate(parts[:-1]):
                below = self._enter(place, part, _shown(parts[: depth + 1]), make)
                if place.descriptor is not None:
                    os.close(place.descriptor)
                place = below
            yield place
        finally:
            if place.descriptor is not None:
                os.close(place.descriptor)

    def _enter_root(self) -> _Place:
        root = Path(os.path.realpath(self._root))
        if not root.is_dir():
            raise StepError("the root of file operations is no folder")
        return _Place(os.open(root, _FOLDER) if self._by_descriptor else None, root)

    def _enter(self, place: _Place, part: str, shown: str, make: bool) -> _Place:
        name, path = place / part, place.path / part
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=place.descriptor)
        try:
            mode = os.stat(name, dir_fd=place.descriptor, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode) or (place.descriptor is None and os.path.realpath(path) != str(path)):
                raise InvalidTask(f"{shown} is no folder, or leads elsewhere")
            if place.descriptor is None:
                return _Place(None, path)
            return _Place(os.open(name, _FOLDER, dir_fd=place.descriptor), path)
        except FileNotFoundError:
            raise _Missing(f"there is no {shown}") from None
        except OSError as error:
            if error.errno not in _LINK:  # it has become one since
                raise
            raise InvalidTask(f"{shown} is no folder, or leads elsewhere") from None

    def _look(self, place: _Place, parts: tuple[str, ...]) -> os.stat_result | None:
        """The file that stands there; `None` when there is none."""
        try:
            known = os.stat(place / parts[-1], dir_fd=place.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        _check_plain(known, parts)
        return known

    @contextlib.contextmanager
    def _opened(self, place: _Place, parts: tuple[str, ...], flags: int) -> Iterator[int]:
        self._look(place, parts)  # opening a device could already do something
        try:
            file = os.open(place / parts[-1], flags | _CLOSED | _AT_ONCE, 0o666, dir_fd=place.descriptor)
        except FileNotFoundError:
            raise _Missing(f"there is no {_shown(parts)}") from None
        except OSError as error:
            if error.errno not in _LINK:
                raise
            raise InvalidTask(f"{_shown(parts)} is no plain file") from None
        try:
            _check_plain(os.fstat(file), parts)
            yield file
        finally:
            os.close(file)


class _Missing(StepError):
    """A file or a folder on the way to it is not there."""


def _check_plain(known: os.stat_result, parts: tuple[str, ...]) -> None:
    if not stat.S_ISREG(known.st_mode):
        raise InvalidTask(f"{_shown(parts)} is no plain file")
    if known.st_nlink > 1:  # its other name may stand outside
        raise InvalidTask(f"{_shown(parts)} is a hard link")


def _entry(entry: os.DirEntry[str]) -> dict[str, Any]:
    if entry.is_dir(follow_symlinks=False):
        return {"name": entry.name, "type": "folder", "size": None}
    if entry.is_file(follow_symlinks=False):
        return {"name": entry.name, "type": "file", "size": entry.stat(follow_symlinks=False).st_size}
    return {"name": entry.name, "type": "other", "size": None}


def _settle(place: _Place) -> None:
    """Make what happened in a folder durable."""
    if place.descriptor is not None:
        os.fsync(place.descriptor)


def _lock(file: int) -> None:
    """Keep other appenders, in this process or another, out until the file is closed."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX)


def _read_at(file: int, offset: int, most: int) -> bytes:
    os.lseek(file, offset, os.SEEK_SET)
    found = bytearray()
    while len(found) < most and (chunk := os.read(file, min(1 << 20, most - len(found)))):
        found += chunk
    return bytes(found)


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def _shown(parts: tuple[str, ...]) -> str:
    return repr("/".join(parts)) if parts else "the root"
