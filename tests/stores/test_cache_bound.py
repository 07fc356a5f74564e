"""The cache of replies keeps its newest entries, and no more of them than it may hold."""

from penstock.stores.contract import Retention
from penstock.stores.sqlite.store import SqliteStore


def bodies(store):
    names = [str(number) for number in range(10)]
    return [
        name
        for name in names
        if store.read(lambda reader, name=name: reader.cached("t", name, 0.0)) is not None
    ]


def prune(store, **rule):
    """Prune to the end; how often there was more to do."""
    rounds = 0
    while store.run(lambda tx: tx.prune(Retention(**rule), 0.0)).more:
        rounds += 1
    return rounds


def filled(size):
    """Ten entries of so many bytes; the first is the oldest, and lives longest."""
    store = SqliteStore.open(":memory:")
    for number in range(10):
        value = bytes([number]) * size
        store.run(lambda tx, n=number, v=value: tx.cache("t", str(n), v, 1_000.0 - n))
    return store


def test_the_oldest_go_first_whether_small_or_large():
    for size in (100, 50_000):
        store = filled(size)
        prune(store)
        prune(store, max_cache_bytes=10 * size)
        assert len(bodies(store)) == 10
        prune(store, max_cache_bytes=4 * size + 10)
        assert bodies(store) == ["6", "7", "8", "9"]
        assert store.verify() == []
        store.close()


def test_it_goes_on_in_chunks_and_an_entry_that_is_made_anew_is_new():
    store = filled(100)
    store.run(lambda tx: tx.cache("t", "0", b"new" * 30, 1_000.0))
    assert prune(store, max_cache_bytes=250, chunk=3) >= 2
    assert bodies(store) == ["0", "9"]
    prune(store, max_cache_bytes=0)
    assert bodies(store) == []
    assert store.verify() == []
    store.close()
