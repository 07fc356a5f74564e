"""Priority: an integer 0..100 the user gives; the highest goes first."""

from __future__ import annotations

from enum import IntEnum

from penstock.errors import ConfigurationError

LOWEST, HIGHEST = 0, 100


class Priority(IntEnum):
    """The named levels; any integer from 0 to 100 is legal."""

    LOW = 10
    MEDIUM = 20
    HIGH = 30
    URGENT = 40


def read_priority(value: int | str | Priority) -> int:
    """The priority that a number, a number in words, or a name stands for."""
    if isinstance(value, str):
        named = Priority.__members__.get(value.strip().upper())
        if named is not None:
            return int(named)
        if not value.strip().lstrip("-").isdigit():
            raise ConfigurationError(
                f"priority {value!r} is unknown: give LOW, MEDIUM, HIGH, URGENT or an integer from 0 to 100"
            )
    number = int(value)
    if isinstance(value, bool) or number != float(value) or not LOWEST <= number <= HIGHEST:
        raise ConfigurationError(f"priority {value!r} is out of range: give an integer from 0 to 100")
    return number
