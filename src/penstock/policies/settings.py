"""Checks of the settings of strategies; each error names what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from penstock.errors import ConfigurationError


def positive(name: str, value: Any) -> float:
    """`value` when it is a finite number above 0."""
    if not is_number(value) or value <= 0:
        raise ConfigurationError(f"{name} must be a number above 0, not {value!r}")
    return float(value)


def not_negative(name: str, value: Any) -> float:
    """`value` when it is a finite number, 0 or above."""
    if not is_number(value) or value < 0:
        raise ConfigurationError(f"{name} must be 0 or a number above 0, not {value!r}")
    return float(value)


def zero_or_at_least(name: str, value: Any, least: float) -> float:
    """`value` when it is 0 or a finite number of at least `least`."""
    if not is_number(value) or (value != 0 and value < least):
        raise ConfigurationError(f"{name} must be 0 or a number of at least {least:g}, not {value!r}")
    return float(value)


def rising(name: str, values: Any) -> tuple[float, ...]:
    """`values` when they are one or more numbers above 0, each above the one before."""
    allowed = f"{name} must be numbers above 0, each above the one before, not {values!r}"
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigurationError(allowed)
    numbers = tuple(values)
    if not numbers or not all(is_number(number) and number > 0 for number in numbers):
        raise ConfigurationError(allowed)
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise ConfigurationError(allowed)
    return tuple(float(number) for number in numbers)


def yes_or_no(name: str, value: Any) -> bool:
    """`value` when it is true or false."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be true or false, not {value!r}")
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
