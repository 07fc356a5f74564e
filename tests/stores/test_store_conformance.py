"""The SQLite store passes the conformance suite: on a file at both durabilities, and in memory."""

import functools

import pytest

from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import StorePlace, store_checks

# A store in memory has one handle.
CASES = [
    pytest.param(check, kind, id=f"{check}-{kind}")
    for check in store_checks()
    for kind in ("full", "normal", "memory")
    if kind != "memory" or not check.shared
]


def make_place(kind, folder):
    if kind == "memory":
        return StorePlace(functools.partial(SqliteStore.open, ":memory:"), shared=False)
    return StorePlace(
        functools.partial(SqliteStore.open, str(folder / "penstock.db"), durability=kind),
        beside=str(folder / "backup.db"),
        open_copy=SqliteStore.open,
    )


@pytest.mark.parametrize(("check", "kind"), CASES)
def test_sqlite_keeps_the_contract(check, kind, tmp_path):
    check.run(make_place(kind, tmp_path))
