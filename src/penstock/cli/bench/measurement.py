"""A measurement: a name, what it shows, and a function that yields figures beside target and yardstick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from penstock.stores.sqlite.store import Durability


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be, on an ordinary machine of two cores."""

    kind: Literal["at least", "at most"]
    value: float

    def met(self, value: float) -> bool:
        return value >= self.value if self.kind == "at least" else value <= self.value


def at_least(value: float) -> Target:
    return Target("at least", value)


def at_most(value: float) -> Target:
    return Target("at most", value)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `raw` is what SQLite alone does in the same unit, measured in the same minute."""

    name: str
    value: float
    unit: str = ""
    raw: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        return self.target is not None and not self.target.met(self.value)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How to measure. `quick` is a fraction of the size, to see that it works.

    `durabilities` empty: what each measurement is meant for. `directory`: where stores lie (`None`: the
    temporary folder). `windows`, `window_seconds`, `cases` and `parallel` are for `limits`.
    """

    quick: bool = False
    durabilities: tuple[Durability, ...] = ()
    directory: Path | None = None
    windows: int = 6
    window_seconds: float = 10.0
    cases: str = ""
    parallel: int = 1

    def durable(self, *default: Durability) -> tuple[Durability, ...]:
        return self.durabilities or default

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Measurement:
    """`long` ones (minutes) run only when they are named."""

    name: str
    summary: str
    run: Callable[[BenchOptions], Iterator[Figure]]
    long: bool = False
