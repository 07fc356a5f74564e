"""The verbs of the contract, put together from their themes."""

from __future__ import annotations

from penstock.stores.sql.adding import Adding
from penstock.stores.sql.awaiting import AwaitReading, Delivering
from penstock.stores.sql.batches import BatchReading, BatchWriting
from penstock.stores.sql.budgets import BudgetReading
from penstock.stores.sql.checkpoint_reading import CheckpointReading
from penstock.stores.sql.grouping import GroupReading
from penstock.stores.sql.journaling import Journaling
from penstock.stores.sql.keys import KeyReading, KeyWriting
from penstock.stores.sql.looking import Looking
from penstock.stores.sql.orders import OrderReading, OrderWriting
from penstock.stores.sql.pruning import Pruning
from penstock.stores.sql.reading import LedgerReading, Reading
from penstock.stores.sql.rescuing import Rescuing
from penstock.stores.sql.scheduling import ScheduleReading, ScheduleWriting
from penstock.stores.sql.steering import Steering
from penstock.stores.sql.waiting import WaitingReading


class SqlReader(
    Reading,
    LedgerReading,
    Looking,
    BatchReading,
    WaitingReading,
    ScheduleReading,
    KeyReading,
    OrderReading,
    GroupReading,
    AwaitReading,
    CheckpointReading,
    BudgetReading,
):
    """A `Reader` over one read transaction."""


class SqlTransaction(
    Adding,
    Rescuing,
    Journaling,
    Pruning,
    BatchWriting,
    Steering,
    ScheduleWriting,
    KeyWriting,
    OrderWriting,
    Delivering,
    Reading,
    LedgerReading,
    Looking,
    BatchReading,
    WaitingReading,
    ScheduleReading,
    OrderReading,
    GroupReading,
    AwaitReading,
    BudgetReading,
):
    """A `Transaction` over one write transaction; `flush` before the commit."""

    def set_setting(self, name: str, value: str | None) -> None:
        if value is None:
            self.db.do("drop_setting", (name,))
        else:
            self.db.do("set_setting", (name, value))
