"""Lengths of time and sizes as people type them: 7d, 90min, 1.5GB."""

from __future__ import annotations

import re

from penstock.errors import ConfigurationError

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_BYTES = {
    "": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3,
    "tb": 1000**4, "kib": 1024, "mib": 1024**2, "gib": 1024**3,
}  # fmt: skip
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def read_span(text: str, option: str) -> float:
    """Seconds that `text` stands for; raises `ConfigurationError` naming the option."""
    amount = _read(text, _SECONDS)
    if amount is None:
        raise ConfigurationError(
            f"{option} {text!r} is no length of time; give one such as 90s, 30min, 12h, 7d or 2w"
        )
    return amount


def read_size(text: str, option: str) -> int:
    """Bytes that `text` stands for; raises `ConfigurationError` naming the option."""
    amount = _read(text, _BYTES)
    if amount is None:
        raise ConfigurationError(f"{option} {text!r} is no size; give one such as 500MB, 1.5GB or 800MiB")
    return int(amount)


def _read(text: str, units: dict[str, int]) -> float | None:
    found = _AMOUNT.fullmatch(text.strip())
    unit = units.get(found[2].lower()) if found else None
    return float(found[1]) * unit if found and unit else None
