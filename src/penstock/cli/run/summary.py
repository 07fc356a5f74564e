"""The end of a job: what became of it, in words and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from penstock.cli.exit_codes import ExitCode
from penstock.cli.run.lines import UNREADABLE

_NOT_RETRIED = UNREADABLE | {"budget_exhausted"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job came to. `lines` were read and are no blank; `errors` by code; calls, refusals, replays and
    `limit_use` (percent of each limit over the run) are of this run, money and tokens of the whole job.
    `stopped` is `interrupted`, what stopped the job in words, or `None`."""

    code: ExitCode
    lines: int
    results: int
    failed: int
    open: int
    errors: Mapping[str, int]
    calls: int
    refused: int
    replayed: int
    shared: int
    input_tokens: int
    output_tokens: int
    cost_usd: str
    uncertain_usd: str
    seconds: float
    results_path: str
    errors_path: str
    store: str
    limit_use: Mapping[str, float] = field(default_factory=dict)
    money: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stopped: str | None = None
    sample: bool = False

    def as_json(self) -> str:
        """One line for machines."""
        kept: dict[str, Any] = asdict(self)
        return json.dumps({"event": "summary", **kept, "code": int(self.code), "next": next_steps(self)})


def exit_code(interrupted: bool, failed: int, errors: Mapping[str, int]) -> ExitCode:
    """What scripts are told."""
    if interrupted:
        return ExitCode.INTERRUPTED
    if errors.get("budget_exhausted"):
        return ExitCode.BUDGET_EXHAUSTED
    return ExitCode.LINES_FAILED if failed else ExitCode.OK


def summary_text(end: Outcome) -> str:
    """The summary for people, several lines."""
    rows = [
        ("lines", _lines(end)),
        ("results", f"{end.results:,} in {end.results_path}"),
        ("errors", _errors(end)),
        ("calls", _calls(end)),
        ("tokens", f"{end.input_tokens:,} in, {end.output_tokens:,} out"),
        ("cost", _cost(end)),
        ("limits", ", ".join(f"{key} {share:.0f} % used" for key, share in end.limit_use.items())),
        ("time", duration(end.seconds)),
        ("store", end.store),
    ]
    text = "\n".join(f"{name + ':':<9}{value}" for name, value in rows if value)
    return "\n".join([text, *next_steps(end)])


def next_steps(end: Outcome) -> list[str]:
    """What the user may do now, one sentence each."""
    steps = []
    if end.stopped == "interrupted":
        steps.append("Interrupted; nothing is lost. Continue with the same command.")
    elif end.stopped is not None:
        steps.append(f"Stopped: {end.stopped}.")
    elif end.sample:
        steps.append(
            "This was a sample; the same command without --sample does the rest and repeats nothing."
        )
    if end.errors.get("budget_exhausted"):
        steps.append(
            "The budget is exhausted: raise --budget and add --retry-failed for the lines it refused."
        )
    if end.errors.get("price_unknown"):
        steps.append("A budget needs prices: add --price MODEL=IN,OUT for the models the errors name.")
    mendable = sum(count for code, count in end.errors.items() if code not in _NOT_RETRIED)
    if mendable and not end.stopped:
        lines = "failed line" if mendable == 1 else f"{mendable:,} failed lines"
        steps.append(f"Try the {lines} again: the same command with --retry-failed.")
    unreadable = end.failed - mendable - end.errors.get("budget_exhausted", 0)
    if unreadable > 0:
        lines = "1 line is no request" if unreadable == 1 else f"{unreadable:,} lines are no requests"
        steps.append(f"{lines}; {end.errors_path} says why, with line numbers.")
    return steps


def duration(seconds: float) -> str:
    """Seconds as people say them: 12.3 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 2 * 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} days {whole % 86_400 // 3600} h"


def _lines(end: Outcome) -> str:
    return f"{end.lines:,}" + (f", {end.open:,} not done yet" if end.open else "")


def _errors(end: Outcome) -> str:
    if not end.failed:
        return ""
    kinds = ", ".join(
        f"{count:,} {code}" for code, count in sorted(end.errors.items(), key=lambda one: -one[1])
    )
    return f"{end.failed:,} in {end.errors_path} ({kinds})"


def _calls(end: Outcome) -> str:
    parts = [f"{end.calls:,}", f"{end.refused:,} refused"]
    if end.replayed:
        parts.append(f"{end.replayed:,} answered from the journal")
    if end.shared:
        parts.append(f"{end.shared:,} shared or cached")
    return ", ".join(parts)


def _cost(end: Outcome) -> str:
    parts = [_dollars(end.cost_usd)]
    if float(end.uncertain_usd):
        parts.append(f"at most {_dollars(end.uncertain_usd)} more for calls whose end is unknown")
    parts += [
        f"{_dollars(used)} of the {key} of {_dollars(limit)} used" for key, (used, limit) in end.money.items()
    ]
    return ", ".join(parts)


def _dollars(plain: str) -> str:
    """Plain decimals as people write them: $0.25, $0.043003, $1,000.00."""
    whole, _, rest = plain.partition(".")
    return f"${int(whole):,}.{rest.rstrip('0').ljust(2, '0')}"
