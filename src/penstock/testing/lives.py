"""A store that outlives the processes on it, so that a process can be killed and another one begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from penstock.errors import StoreError
from penstock.stores.contract import Store, Transaction

T = TypeVar("T")


class Life:
    """One process as the store sees it: once `over`, it writes nothing any more, whatever its code still
    tries. Closing it leaves the store open."""

    def __init__(self, inner: Store) -> None:
        self.over = False
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, work: Callable[[Transaction], T]) -> T:
        """As `Store.run`; raises `StoreError` when this life ends before the commit."""

        def while_alive(transaction: Transaction) -> T:
            self._check()
            outcome = work(transaction)
            self._check()
            return outcome

        return self._inner.run(while_alive)

    def lock_dispatch(self) -> None:
        """The lives on a store follow each other."""

    def changed_by_others(self) -> bool:
        return False

    def close(self) -> None:
        """The store stays open for the next life."""

    def _check(self) -> None:
        if self.over:
            raise StoreError("this process was killed by its test")


def new_life(store: Store) -> tuple[Life, Store]:
    """A life on this store, and the same as the store that a manager takes."""
    life = Life(store)
    return life, cast(Store, life)
