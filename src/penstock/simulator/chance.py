"""Chance that is the same in every run.

Numbers drawn from a seed and a name instead of from a generator's state.
"""

from __future__ import annotations

import hashlib


def draw_integer(seed: int, salt: bytes) -> int:
    """A 64-bit integer that depends on nothing but `seed` and `salt`."""
    return int.from_bytes(hashlib.blake2b(b"%d:" % seed + salt, digest_size=8).digest(), "big")


def draw_unit(seed: int, salt: bytes) -> float:
    """A number strictly between 0 and 1 that depends on nothing but `seed` and `salt`."""
    return ((draw_integer(seed, salt) >> 12) + 0.5) / (1 << 52)
