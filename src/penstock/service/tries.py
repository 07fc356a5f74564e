"""Tries with wrong keys, counted by address: bounded in number and in memory."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable

MOST_TRIES = 10
WINDOW_SECONDS = 60.0
MOST_ADDRESSES = 10_000


class Tries:
    """Who tried wrong keys in the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, address: str) -> int:
        """Count one; for how many seconds this address is told to wait, 0 while it may go on."""
        now, key = self._clock(), _network(address)
        since, count = self._failed.pop(key, (now, 0))
        if now - since >= WINDOW_SECONDS:
            since, count = now, 0
        self._failed[key] = since, count + 1
        if len(self._failed) > MOST_ADDRESSES:
            self._failed.popitem(last=False)
        return 0 if count < MOST_TRIES else max(1, math.ceil(since + WINDOW_SECONDS - now))

    def __len__(self) -> int:
        return len(self._failed)


def _network(address: str) -> str:
    """One subscriber: an address, or of IPv6 the first 64 bits."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
