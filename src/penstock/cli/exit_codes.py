"""What the exit code of a command says; part of the surface that scripts rely on."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """`INTERRUPTED` is what shells give a program that Ctrl-C ended."""

    OK = 0
    USAGE = 2
    LINES_FAILED = 3
    BUDGET_EXHAUSTED = 4
    INTERRUPTED = 130


EXPLANATION = (
    "Exit codes: 0 every line has a result; 2 usage, configuration, store or endpoint; 3 some lines failed; "
    "4 the budget was exhausted; 130 interrupted."
)
