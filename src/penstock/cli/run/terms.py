"""On what terms the lines of a job enter the queue: for whom, how urgent, and until when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.cli.amounts import read_span
from penstock.errors import ConfigurationError
from penstock.manager import Submission
from penstock.model.priority import read_priority
from penstock.model.service_class import service_class
from penstock.task_types import llm_request

# A line that is read when the deadline has passed is as late as can be.
_AT_ONCE_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Terms:
    """The same for every line; `slo_seconds` count from the moment a line is read, `deadline` is an
    instant."""

    priority: int | str | None = None
    service_class: str | None = None
    slo_seconds: float | None = None
    deadline: float | None = None
    tenant: str = ""

    def submission(self, data: Any, **details: Any) -> Submission:
        """A line with this data on these terms; `details` are other fields of `Submission`."""
        deadline = None if self.deadline is None else max(self.deadline, time.time() + _AT_ONCE_SECONDS)
        return Submission(
            llm_request.NAME,
            data,
            priority=self.priority,
            service_class=self.service_class,
            slo_seconds=self.slo_seconds,
            deadline=deadline,
            tenant=self.tenant,
            **details,
        )


def check_terms(terms: Terms) -> None:
    """Raise `ConfigurationError` for terms that no line can have."""
    if terms.priority is not None:
        read_priority(terms.priority)
    if terms.service_class is not None:
        service_class(terms.service_class)
    if terms.slo_seconds is not None and terms.deadline is not None:
        raise ConfigurationError("--slo and --deadline both say until when; give one of them")
    if terms.slo_seconds is not None and terms.slo_seconds <= 0:
        raise ConfigurationError("--slo must be more than no time")


def read_deadline(text: str, now: float) -> float:
    """The instant of `2026-01-31T18:00`, or of `2h` from now; raises `ConfigurationError` when it is
    past."""
    try:
        at = datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        try:
            at = now + read_span(text, "--deadline")
        except ConfigurationError:
            raise ConfigurationError(
                f"--deadline {text!r} is no time; give one such as 2026-01-31T18:00 or 2h (from now)"
            ) from None
    if at <= now:
        raise ConfigurationError(f"--deadline {text!r} has passed; give a later one")
    return at
