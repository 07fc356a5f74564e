"""What a store promises about the files and batch orders of the gateway's clients."""

from __future__ import annotations

from dataclasses import replace

from penstock.model.order import Order, StoredFile
from penstock.stores.contract import Transaction
from penstock.testing.store_probe import NOW, Probe, same

FILE = StoredFile("file-1", "acme", "batch", "in.jsonl", 120, NOW)
ORDER = Order("batch-1", "acme", "validating", NOW, None, {"endpoint": "/v1/embeddings", "metadata": None})


def check_files_are_kept(probe: Probe) -> None:
    """A file reads back as it was put, in the place of the one of its id, and goes with `drop_file`."""
    later = replace(FILE, filename="other", bytes=7, expires_at=NOW + 5)
    probe.store.run(lambda tx: tx.put_file(FILE))
    probe.store.run(lambda tx: tx.put_file(later))
    same(probe.store.read(lambda reader: reader.file("file-1")), later, "the later of one id")
    same(probe.store.read(lambda reader: reader.file("file-2")), None, "no such file")
    dropped = probe.store.run(lambda tx: (tx.drop_file("file-1"), tx.drop_file("file-1")))
    same(dropped, (True, False), "dropped once")


def check_files_of_a_tenant(probe: Probe) -> None:
    """`files` pages through a tenant's or everybody's, newest first; `file_bytes` adds up a tenant's."""
    files = [replace(FILE, id=f"file-{n}", tenant="acme" if n % 2 else "beta", bytes=n) for n in range(1, 6)]
    _put_files(probe, files)

    def ids(tenant: str | None, after: str = "", limit: int = 100) -> list[str]:
        return [one.id for one in probe.store.read(lambda reader: reader.files(tenant, after, limit))]

    same(ids("acme"), ["file-5", "file-3", "file-1"], "of a tenant")
    same(ids(None, limit=2), ["file-5", "file-4"], "the first page of all")
    same(ids(None, "file-4", 2), ["file-3", "file-2"], "the next")
    sums = probe.store.read(lambda reader: (reader.file_bytes("acme"), reader.file_bytes("nobody")))
    same(sums, (9, 0), "bytes")


def check_files_expire(probe: Probe) -> None:
    """`expired_files` are those whose time has come, the earliest first."""
    stamps = {"file-1": None, "file-2": NOW + 9, "file-3": NOW + 1, "file-4": NOW}
    _put_files(probe, [replace(FILE, id=id, expires_at=at) for id, at in stamps.items()])
    found = probe.store.read(lambda reader: reader.expired_files(NOW + 1))
    same([one.id for one in found], ["file-4", "file-3"], "expired")


def check_orders_are_kept(probe: Probe) -> None:
    """An order reads back as it was put last; `open_orders` are those that have not ended, oldest first."""
    later = replace(ORDER, status="in_progress", batch=3, body={"counts": {"total": 1}})
    others = [replace(ORDER, id=f"batch-{n}", status=status) for n, status in enumerate(_STATUSES, 2)]
    _put_order(probe, ORDER)
    for one in (later, *others):
        _put_order(probe, one)
    same(probe.store.read(lambda reader: reader.order("batch-1")), later, "the later of one id")
    open_ids = [one.id for one in probe.store.read(lambda reader: reader.open_orders())]
    same(open_ids, ["batch-1", "batch-2", "batch-3"], "open")
    page = probe.store.read(lambda reader: reader.orders("acme", "batch-3", 2))
    same([one.id for one in page], ["batch-2", "batch-1"], "a page")
    same(probe.store.read(lambda reader: reader.orders("beta")), [], "of another tenant")


def _put_files(probe: Probe, files: list[StoredFile]) -> None:
    def work(tx: Transaction) -> None:
        for file in files:
            tx.put_file(file)

    probe.store.run(work)


def _put_order(probe: Probe, order: Order) -> None:
    probe.store.run(lambda tx: tx.put_order(order))


_STATUSES = ("cancelling", "finalizing", "completed", "failed", "expired", "cancelled")

CHECKS = (check_files_are_kept, check_files_of_a_tenant, check_files_expire, check_orders_are_kept)
