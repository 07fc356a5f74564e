"""Conformance suites: named checks, run by any test runner or by none."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """One promise: `run` raises `AssertionError` when its subject breaks it.

    A `shared` check opens its subject twice, which not every subject can.
    """

    name: str
    promise: str
    run: Callable[[S], None]
    shared: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Report:
    """What a suite found: `failed` maps the name of a check to what was wrong, `skipped` to why."""

    passed: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failed

    def __str__(self) -> str:
        lines = [f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"]
        lines += [f"FAILED {name}: {why}" for name, why in self.failed.items()]
        return "\n".join(lines)

    def demand(self) -> None:
        """Raise `AssertionError` with every failure when there is one."""
        if self.failed:
            raise AssertionError(str(self))


def named_checks(functions: Iterable[Callable[[S], None]], shared: bool = False) -> list[Check[S]]:
    """Each function as a check: its name without `check_`, its docstring as the promise."""
    return [
        Check(function.__name__.removeprefix("check_"), (function.__doc__ or "").strip(), function, shared)
        for function in functions
    ]


def run_checks(
    checks: Iterable[Check[S]], subject: Callable[[], S], skip: Callable[[Check[S]], str]
) -> Report:
    """Run each check on a fresh subject; what `skip` gives a reason for is left out."""
    passed: list[str] = []
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for check in checks:
        if reason := skip(check):
            skipped[check.name] = reason
            continue
        try:
            check.run(subject())
        except Exception as error:
            failed[check.name] = f"{type(error).__name__}: {error} ({place_of(error)})"
        else:
            passed.append(check.name)
    return Report(tuple(passed), failed, skipped)


def place_of(error: BaseException) -> str:
    """Where in a check an error came up: the innermost line of a function of that name, or of any."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.name.startswith("check_")] or frames
    return f"{inside[-1].name}, line {inside[-1].lineno}"
