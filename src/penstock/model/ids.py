"""Ids that sort by time: UUID version 7 (RFC 9562) as 32 hex digits."""

from __future__ import annotations

import os
import time


class IdMaker:
    """Makes ids that never repeat and, within one maker, always rise."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        """The next id. The 12 bits after the milliseconds and the 62 random ones rise within a
        millisecond."""
        milliseconds = time.time_ns() // 1_000_000
        random_bits = int.from_bytes(os.urandom(10), "big")
        high, low = (random_bits >> 62) & 0xFFF, random_bits & ((1 << 62) - 1)
        number = (milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low
        if number <= self._last:
            number = self._last + 1
        self._last = number
        return f"{number:032x}"


new_id = IdMaker()
