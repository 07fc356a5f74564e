"""The yardstick of the benches: what SQLite alone does with a plain table of tasks, from one Python thread.

No loop, no handlers, no journal, no events: rows go in, are claimed by rank and finished, each batch in a
transaction of its own. Nothing that stores its tasks in SQLite can be quicker than this.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from penstock.stores.sqlite.store import Durability

T = TypeVar("T")

_TABLE = """
create table plain (
    no integer primary key, id text unique not null, lane integer not null, band integer not null,
    rank real not null, state integer not null default 0, fence integer not null default 0, holder integer,
    payload text not null, result text, added_at real not null, began_at real, ended_at real
);
create index line on plain (lane, band, rank, no) where state = 0;
"""
_ADD = "insert into plain (id, lane, band, rank, payload, added_at) values (?, 0, 0, ?, ?, ?)"
_CLAIM = """
update plain set state = 1, fence = fence + 1, holder = 7, began_at = ?
where no in (select no from plain where lane = 0 and state = 0 order by band, rank, no limit ?)
returning no, fence, id, payload
"""
_FINISH = "update plain set state = 2, result = ?, ended_at = ? where no = ? and fence = ? and state = 1"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Rows per second of SQLite alone, in transactions of `batch` rows each."""

    batch: int
    add: float
    claim: float
    claim_and_finish: float


def measure_yardstick(
    directory: Path | str | None,
    durability: Durability,
    *,
    rows: int = 20_000,
    batch: int = 100,
    payload: str = "{}",
    result: str = "{}",
) -> Yardstick:
    """Take `rows` rows through a file of their own below `directory` (`None`: the temporary folder)."""
    with (
        tempfile.TemporaryDirectory(prefix="penstock-yardstick-", dir=directory) as folder,
        closing(sqlite3.connect(Path(folder, "plain.db"), isolation_level=None)) as connection,
    ):
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {durability}")
        connection.executescript(_TABLE)
        adding = _timed(lambda: _add(connection, rows, batch, payload))[0]
        claiming, finishing = _work_off(connection, batch, result)
    return Yardstick(batch, rows / adding, rows / claiming, rows / (claiming + finishing))


def _add(connection: sqlite3.Connection, rows: int, batch: int, payload: str) -> None:
    for begin in range(0, rows, batch):
        now = time.time()
        new = [(uuid4().hex, now + place, payload, now) for place in range(min(batch, rows - begin))]
        _transaction(connection, lambda new=new: connection.executemany(_ADD, new))  # type: ignore[misc]


def _work_off(connection: sqlite3.Connection, batch: int, result: str) -> tuple[float, float]:
    """Claim and finish all there is; seconds spent on each."""
    claiming = finishing = 0.0

    def claim() -> list[tuple[int, int, str, str]]:
        return connection.execute(_CLAIM, (time.time(), batch)).fetchall()

    while True:
        seconds, claimed = _timed(lambda: _transaction(connection, claim))
        if not claimed:
            return claiming, finishing
        claiming += seconds
        ends = [(result, time.time(), row[0], row[1]) for row in claimed]
        finishing += _timed(
            lambda ends=ends: _transaction(connection, lambda: connection.executemany(_FINISH, ends))  # type: ignore[misc]
        )[0]


def _transaction(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    connection.execute("begin immediate")
    outcome = work()
    connection.execute("commit")
    return outcome


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    begun = time.perf_counter()
    outcome = work()
    return time.perf_counter() - begun, outcome
