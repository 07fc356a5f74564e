"""The store in one SQLite file: one writing connection, one reading, both guarded by locks."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from penstock.errors import ConfigurationError, StoreError, StoreReadOnly
from penstock.model.lane import Lane
from penstock.stores.contract import Reader, Transaction
from penstock.stores.sql.transaction import SqlReader, SqlTransaction
from penstock.stores.sqlite import upkeep
from penstock.stores.sqlite.connection import MEMORY, SqliteDatabase, connect
from penstock.stores.sqlite.failures import translate
from penstock.stores.sqlite.files import DispatchLock, prepare, refuse_network
from penstock.stores.sqlite.schema import check_version, migrate, migrations

T = TypeVar("T")

Durability = Literal["full", "normal"]

BUSY_SECONDS = 10.0


class SqliteStore:
    """Tasks in one SQLite file. Open it with `SqliteStore.open`; safe to use from any thread."""

    def __init__(
        self, path: str, writer: sqlite3.Connection, reader: sqlite3.Connection | None, read_only: bool
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._writer = writer
        self._write_database = SqliteDatabase(writer)
        self._write_lock = threading.RLock()
        # In memory there is one connection: reads wait for writes.
        self._read_database = SqliteDatabase(reader or writer)
        self._read_lock = threading.RLock() if reader else self._write_lock
        self._lanes: dict[Lane, int] = {}
        self._seen = self._data_version()
        self._foreign = False
        self._dispatch = None if path == MEMORY else DispatchLock(Path(path))
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        durability: Durability = "full",
        read_only: bool = False,
        busy_seconds: float = BUSY_SECONDS,
    ) -> SqliteStore:
        """Open or make the store in `path`; ":memory:" keeps it in memory and needs no file.

        `durability`: "full" survives a loss of power, "normal" a crash of the process. Raises errors of the
        `StoreError` branch that name the file.
        """
        if durability not in ("full", "normal"):
            raise ConfigurationError(f"durability is {durability!r}; it can be 'full' or 'normal'")
        if str(path) == MEMORY:
            writer = connect(MEMORY, write=True, durability=durability, busy_seconds=busy_seconds)
            migrate(writer, MEMORY)
            return cls(MEMORY, writer, None, False)
        file = Path(path).expanduser().resolve()
        with _translated(str(file)):
            if read_only:
                return cls(str(file), *_open_for_reading(file, busy_seconds), True)
            prepare(file)
            writer = connect(
                file,
                write=True,
                durability=durability,
                busy_seconds=busy_seconds,
                check=lambda found: check_version(found, str(file), max(migrations())),
            )
            try:
                migrate(writer, str(file))
                reader = connect(file, write=False, durability=durability, busy_seconds=busy_seconds)
            except BaseException:
                writer.close()
                raise
            return cls(str(file), writer, reader, False)

    def run(self, work: Callable[[Transaction], T]) -> T:
        if self.read_only:
            raise StoreReadOnly(f"{self.path} was opened for reading only")
        with self._write_lock, _translated(self.path):
            self._check_open()
            if self._writer.in_transaction:
                raise StoreError("a transaction of this store runs on this thread already; use its own verbs")
            self._notice_others()
            self._writer.execute("begin immediate")
            try:
                transaction = SqlTransaction(self._write_database, self._lanes)
                outcome = work(transaction)
                transaction.flush()
                self._writer.execute("commit")
            except BaseException:
                self._roll_back()
                raise
            self._lanes.update(transaction.new_lanes)
            return outcome

    def _roll_back(self) -> None:
        # A full disk makes SQLite roll back by itself.
        if self._writer.in_transaction:
            self._writer.execute("rollback")

    def read(self, work: Callable[[Reader], T]) -> T:
        with self._read_lock, _translated(self.path):
            self._check_open()
            connection = self._read_database.connection
            nested = connection.in_transaction
            if not nested:
                connection.execute("begin")
            try:
                return work(SqlReader(self._read_database))
            finally:
                if not nested and connection.in_transaction:
                    connection.execute("rollback")

    def changed_by_others(self) -> bool:
        # A running commit looks by itself before it begins; the caller must not wait for it.
        if self._write_lock.acquire(blocking=False):
            try:
                with _translated(self.path):
                    self._check_open()
                    self._notice_others()
            finally:
                self._write_lock.release()
        if self._foreign:
            self._foreign = False
            return True
        return False

    def _notice_others(self) -> None:
        version = self._data_version()
        if version != self._seen:
            self._seen, self._foreign = version, True

    def _data_version(self) -> int:
        return int(self._writer.execute("pragma data_version").fetchone()[0])

    def lock_dispatch(self) -> None:
        if self.read_only:
            raise StoreReadOnly(f"{self.path} was opened for reading only")
        if self._dispatch is not None:
            self._dispatch.take()

    def compact(self) -> None:
        more = True
        while more:
            # Step by step, so that no commit waits long.
            with self._write_lock, _translated(self.path):
                self._check_open()
                more = upkeep.free_some(self._writer)
        with self._write_lock, _translated(self.path):
            self._check_open()
            upkeep.empty_log(self._writer)

    def backup(self, target: str) -> None:
        with _translated(self.path):
            self._check_open()
            upkeep.backup(self._writer if self.path == MEMORY else None, self.path, target, self._write_lock)

    def verify(self) -> list[str]:
        return self.read(lambda _: upkeep.verify(self._read_database))

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            if self._closed:
                return
            self._closed = True
            if self._read_database.connection is not self._writer:
                self._read_database.connection.close()
            self._writer.close()
            if self._dispatch is not None:
                self._dispatch.release()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self.path} is closed")


def _open_for_reading(file: Path, busy_seconds: float) -> tuple[sqlite3.Connection, None]:
    if not file.exists():
        raise StoreError(f"{file} does not exist; name the store of an earlier run")
    refuse_network(file.parent)
    connection = connect(file, write=False, durability="full", busy_seconds=busy_seconds)
    try:
        check_version(connection, str(file), max(migrations()), required=True)
    except BaseException:
        connection.close()
        raise
    return connection, None


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        ours = translate(error, path)
        if ours is None:
            raise
        raise ours from error
