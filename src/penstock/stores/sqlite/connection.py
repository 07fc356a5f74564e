"""One connection to a SQLite file, running named statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from penstock.stores.sql.session import Row
from penstock.stores.sql.statements import load_statements

STATEMENTS = load_statements("penstock.stores.sqlite")

MEMORY = ":memory:"

# A claim among a million tasks must find the upper pages of its indexes in memory.
_WRITER_CACHE_KIB = 64 * 1024
_READER_CACHE_KIB = 16 * 1024

_CHECKPOINT_PAGES = 4000
_JOURNAL_BYTES = 64 * 1024 * 1024


class SqliteDatabase:
    """Named statements on one connection; the caller holds its lock and opens its transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._built: dict[tuple[str, tuple[str, ...]], str] = {}

    def rows(self, name: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._execute(STATEMENTS[name], params).fetchall()

    def rows_where(self, name: str, where: Sequence[str], params: Sequence[Any]) -> list[Row]:
        key = name, tuple(where)
        if key not in self._built:
            conditions = " and ".join(STATEMENTS[condition] for condition in where)
            self._built[key] = STATEMENTS[name].replace("{where}", conditions)
        return self._execute(self._built[key], params).fetchall()

    def do(self, name: str, params: Sequence[Any] = ()) -> int:
        return self._execute(STATEMENTS[name], params).rowcount

    def many(self, name: str, rows: Sequence[Sequence[Any]]) -> int:
        return self._executemany(STATEMENTS[name], rows).rowcount if rows else 0

    def savepoint(self) -> None:
        self._execute("savepoint verb")

    def undo(self) -> None:
        self._execute("rollback to verb")
        self._execute("release verb")

    def keep(self) -> None:
        self._execute("release verb")


def connect(
    path: Path | str,
    *,
    write: bool,
    durability: str,
    busy_seconds: float,
    check: Callable[[sqlite3.Connection], None] = lambda _: None,
) -> sqlite3.Connection:
    """A connection in autocommit mode, set up for its use; raises `sqlite3.Error`.

    `check` may refuse the file by raising; nothing was written to it by then.
    """
    if path == MEMORY:
        connection: sqlite3.Connection = sqlite3.connect(MEMORY, **_OPTIONS)
    else:
        address = Path(path).as_uri() + ("?mode=rw" if write else "?mode=ro")
        connection = sqlite3.connect(address, uri=True, timeout=busy_seconds, **_OPTIONS)
    try:
        check(connection)
        _set_up(connection, write, durability)
    except BaseException:
        connection.close()
        raise
    return connection


_OPTIONS: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "cached_statements": 256}


def _set_up(connection: sqlite3.Connection, write: bool, durability: str) -> None:
    settings = ["temp_store = memory", f"cache_size = -{_WRITER_CACHE_KIB if write else _READER_CACHE_KIB}"]
    if write:
        settings += [
            "auto_vacuum = incremental",  # takes effect only on a file that is still empty
            "journal_mode = wal",
            f"synchronous = {'full' if durability == 'full' else 'normal'}",
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            f"journal_size_limit = {_JOURNAL_BYTES}",
        ]
    else:
        settings.append("query_only = on")
    for setting in settings:
        connection.execute(f"pragma {setting}").fetchall()
