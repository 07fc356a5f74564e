"""Files and batch orders of the gateway's clients."""

from __future__ import annotations

import json

from penstock.model.order import Order, StoredFile
from penstock.stores.sql.session import Row, Session


class OrderReading(Session):
    """Files and orders as they stand."""

    def file(self, id: str) -> StoredFile | None:
        found = self.look("file", (id,))
        return StoredFile(*found[0]) if found else None

    def files(self, tenant: str | None, after: str = "", limit: int = 100) -> list[StoredFile]:
        return [StoredFile(*row) for row in self.look("files", (tenant, after, limit))]

    def file_bytes(self, tenant: str) -> int:
        return int(self.look("file_bytes", (tenant,))[0][0])

    def expired_files(self, now: float, limit: int = 100) -> list[StoredFile]:
        return [StoredFile(*row) for row in self.look("expired_files", (now, limit))]

    def order(self, id: str) -> Order | None:
        found = self.look("order", (id,))
        return _order(found[0]) if found else None

    def orders(self, tenant: str | None, after: str = "", limit: int = 100) -> list[Order]:
        return [_order(row) for row in self.look("orders", (tenant, after, limit))]

    def open_orders(self) -> list[Order]:
        return [_order(row) for row in self.look("open_orders")]


class OrderWriting(Session):
    """`put_file`, `drop_file`, `put_order`."""

    def put_file(self, file: StoredFile) -> None:
        row = (
            file.id,
            file.tenant,
            file.purpose,
            file.filename,
            file.bytes,
            file.created_at,
            file.expires_at,
        )
        self.db.do("put_file", row)

    def drop_file(self, id: str) -> bool:
        return self.db.do("drop_file", (id,)) == 1

    def put_order(self, order: Order) -> None:
        body = json.dumps(order.body, separators=(",", ":"))
        row = (order.id, order.tenant, order.status, order.created_at, order.batch, body)
        self.db.do("put_order", row)


def _order(row: Row) -> Order:
    id, tenant, status, created_at, batch, body = row
    return Order(id, tenant, status, created_at, batch, json.loads(body))
