"""How far tenants drift apart that all the time have something waiting."""

from __future__ import annotations

from collections import Counter

from penstock.testing.simulation.books import Books
from penstock.testing.simulation.scenario import CAP

# Prompt and cap of the largest call.
LARGEST = CAP + 40


def bound(slots: int) -> float:
    """Tokens that fair shares may differ by: 2U, U = the largest call, and one as large in flight in every
    slot. How many tasks are claimed ahead of the gate, and how large these are, does not matter."""
    return 2.0 * (1 + slots) * LARGEST


class DriftMeter:
    """Tells when two tenants were served too differently over a time in which both waited throughout."""

    def __init__(self, books: Books, most: float) -> None:
        self._books, self._most = books, most
        self._served: Counter[str] = Counter()
        self._base: dict[str, int] = {}
        self._told = False

    def look(self) -> None:
        """After a transaction: who has tasks waiting in the store now."""
        waiting = {
            entry.tenant for entry in self._books.tasks.values() if entry.status == "queued" and entry.ready
        }
        if waiting != set(self._base):
            self._base = {tenant: self._served[tenant] for tenant in sorted(waiting)}

    def serve(self, tenant: str, tokens: int) -> None:
        self._served[tenant] += tokens
        gained = [self._served[one] - base for one, base in self._base.items()]
        if len(gained) > 1 and max(gained) - min(gained) > self._most and not self._told:
            self._told = True
            self._books.breach(
                f"shares: tenants that waited throughout drifted {max(gained) - min(gained)} apart"
            )
