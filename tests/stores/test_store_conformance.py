"""The SQLite store passes the conformance suite: on a file at both durabilities, and in memory."""

import functools

import pytest

from penstock.stores.sqlite.store import SqliteStore
from penstock.testing import StorePlace, store_checks

PLACES = ("full", "normal", "memory")


def make_place(kind, folder):
    if kind == "memory":
        return StorePlace(functools.partial(SqliteStore.open, ":memory:"), shared=False)
    return StorePlace(
        functools.partial(SqliteStore.open, str(folder / "penstock.db"), durability=kind),
        beside=str(folder / "backup.db"),
        open_copy=SqliteStore.open,
    )


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("check", store_checks(), ids=str)
def test_sqlite_keeps_the_contract(check, kind, tmp_path):
    place = make_place(kind, tmp_path)
    if check.shared and not place.shared:
        pytest.skip("a store in memory has one handle")
    check.run(place)
