"""What a job remembers of itself between its runs, in the settings of its batch row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.cli.run.lines import UNREADABLE
from penstock.cli.run.records import error_code, succeeded
from penstock.model.batch import Batch
from penstock.stores.contract import FinishedLine


@dataclass(slots=True)
class Books:
    """Sums over the lines that are in the files, and two marks of `--retry-failed`: failed lines up to
    `retried_no` were given another try; `stale` says that the file of errors still has their lines."""

    errors: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    retried_no: int = 0
    stale: bool = False
    keep: bool = True

    @classmethod
    def of(cls, batch: Batch) -> Books:
        """The books of a batch as it is stored."""
        kept: dict[str, Any] = json.loads(batch.settings) if batch.settings else {}
        return cls(Counter(kept.pop("errors", {})), **kept)

    def on(self, batch: Batch) -> Batch:
        """The batch with these books."""
        kept = {
            "errors": {code: count for code, count in self.errors.items() if count},
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
            "retried_no": self.retried_no,
            "stale": self.stale,
            "keep": self.keep,
        }
        return replace(batch, settings=json.dumps(kept, separators=(",", ":")))

    def enter(self, lines: Iterable[FinishedLine]) -> None:
        """Count lines that go into the files."""
        for line in lines:
            self.input_tokens += line.input_tokens
            self.output_tokens += line.output_tokens
            self.cost += line.cost
            if not succeeded(line):
                self.errors[error_code(line)] += 1

    def superseded(self, line: FinishedLine) -> bool:
        """Whether a failed line was given another try, so that it belongs in no file."""
        return line.no <= self.retried_no and can_be_retried(line)


def can_be_retried(line: FinishedLine) -> bool:
    """Whether a line failed in a way that another try may mend."""
    return not succeeded(line) and error_code(line) not in UNREADABLE
