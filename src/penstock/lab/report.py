"""A study as tables for people and as data for machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from penstock.lab.study import Outcome, Study

Better = Literal["low", "high", ""]


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of an outcome: its title, what it means, which way is better, and how it is written."""

    title: str
    meaning: str
    better: Better
    value: Callable[[Outcome], float | None]
    write: Callable[[float], str]


def seconds(value: float) -> str:
    """Three digits that count: 0.52, 8.40, 34.1, 1,124."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _limit(name: str, which: Literal["use", "worst"]) -> Callable[[Outcome], float | None]:
    def value(one: Outcome) -> float | None:
        return None if one.limits is None else getattr(one.limits, which).get(name)

    return value


_COLUMNS = (
    Column("mean", "completion time, mean, s", "low", lambda o: o.metrics.completion.mean, seconds),
    Column("p50", "completion time, median, s", "low", lambda o: o.metrics.completion.p50, seconds),
    Column("p95", "completion, 95th percentile, s", "low", lambda o: o.metrics.completion.p95, seconds),
    Column("p99", "completion, 99th percentile, s", "low", lambda o: o.metrics.completion.p99, seconds),
    Column("wait", "time in line, mean, s", "low", lambda o: o.metrics.wait.mean, seconds),
    Column("wait p95", "time in line, 95th percentile, s", "low", lambda o: o.metrics.wait.p95, seconds),
    Column("longest", "longest time in line, s", "low", lambda o: o.metrics.wait.most, seconds),
    Column(
        "urgent", "wait p95 of the highest priority, s", "low", lambda o: o.metrics.urgent_wait_p95, seconds
    ),
    Column(
        "5x %", "ended within five times their service", "high", lambda o: o.metrics.slowdown_slo, percent
    ),
    Column("SLO %", "ended before their deadline", "high", lambda o: o.metrics.deadline_slo, percent),
    Column("goodput", "output tokens/s of requests in time", "high", lambda o: o.metrics.goodput, seconds),
    Column("gap", "largest service gap of two tenants / bound", "low", lambda o: o.metrics.gap, seconds),
    Column(
        "Jain", "Jain's index of the tenants' pace", "high", lambda o: o.metrics.jain, lambda v: f"{v:.3f}"
    ),
    Column("busy %", "slot time that was busy", "", lambda o: o.metrics.utilisation, percent),
    Column(
        "taken", "times a slot was taken away", "", lambda o: o.metrics.preemptions, lambda v: f"{v:,.0f}"
    ),
    Column("TPM %", "token limit used after the warm-up", "high", _limit("tokens", "use"), percent),
    Column("TPM worst", "fullest token window, %", "", _limit("tokens", "worst"), percent),
    Column("RPM %", "request limit used after the warm-up", "high", _limit("requests", "use"), percent),
    Column("RPM worst", "fullest request window, %", "", _limit("requests", "worst"), percent),
)
_PROGRAM = (
    Column("program", "completion of programs, mean, s", "low", lambda o: o.mean, seconds),
    Column("prog. p95", "completion of programs, p95, s", "low", lambda o: _program_p95(o), seconds),
)


def _program_p95(outcome: Outcome) -> float | None:
    return outcome.metrics.program.p95 if outcome.metrics.program else None


def columns(study: Study) -> list[Column]:
    """The columns that say something in this study."""
    wanted = (*(_PROGRAM if study.facts.programs else ()), *_COLUMNS)
    found = []
    for column in wanted:
        values = [column.value(one) for one in study.outcomes]
        if any(value is not None for value in values) and (column.title != "taken" or any(values)):
            found.append(column)
    return found


def best_of(column: Column, outcomes: list[Outcome]) -> float | None:
    """The best value among outcomes that differ, else `None`."""
    values = [value for one in outcomes if (value := column.value(one)) is not None]
    if not column.better or len({column.write(value) for value in values}) < 2:
        return None
    return min(values) if column.better == "low" else max(values)


def title_of(load: float | None) -> str:
    return "as it came" if load is None else f"load {load:g}"


def text_report(study: Study) -> list[str]:
    """Facts, and one table for each load; a star marks the best of a column."""
    lines = [*facts(study), ""]
    shown = columns(study)
    for load in study.loads:
        outcomes = study.at(load)
        lines.append(
            f"{title_of(load)}: no schedule on these slots has a mean below {seconds(study.bounds[load])} s"
        )
        rows = [["policy", *(column.title for column in shown)]]
        best = [best_of(column, outcomes) for column in shown]
        for one in outcomes:
            rows.append(
                [one.policy, *(_cell(column, one, top) for column, top in zip(shown, best, strict=True))]
            )
        lines += [*_aligned(rows), ""]
    lines += [f"{column.title:<12}{column.meaning}" for column in shown]
    slowest = min(one.speed for one in study.outcomes)
    lines += [
        "",
        f"* best of its column; virtual time ran at least {slowest:,.0f} times as fast as real time",
    ]
    return lines


def facts(study: Study) -> list[str]:
    """What was replayed, on what."""
    one, setup, service = study.facts, study.setup, study.setup.service
    who = f"{one.tenants} tenants" if one.tenants > 1 else "one tenant"
    programs = f", {one.programs:,} programs" if one.programs else ""
    natural = "" if one.natural_load is None else f", natural load {one.natural_load:.2f}"
    whole = service.step_tokens is None or study.rates is not None
    lines = [
        f"{one.name}: {one.requests:,} requests{programs} of {who} in {one.span_seconds:,.0f} s; "
        f"{one.mean_prompt:,.0f} prompt and {one.mean_output:,.0f} output tokens in the mean",
        f"{setup.slots} slots{natural}; service {service.start_seconds:g} s + "
        f"{service.seconds_per_prompt_token:g} s per prompt token + "
        f"{service.seconds_per_output_token:g} s per output token",
        f"{'a request is one step' if whole else f'steps of {service.step_tokens} tokens'}; "
        f"sizes in {setup.unit.replace('_', ' ')}",
    ]
    if study.rates is not None:
        rates = study.rates
        given = [f"{rates.tokens:,} tokens"] if rates.tokens else []
        given += [f"{rates.requests:,} requests"] if rates.requests else []
        lines.append(
            f"limits: {' and '.join(given)} per {rates.window_seconds:g} s, {rates.kind} at the provider"
        )
    return lines


def _cell(column: Column, one: Outcome, best: float | None) -> str:
    value = column.value(one)
    if value is None:
        return "-"
    return column.write(value) + ("*" if value == best else " ")


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if not place else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def data_report(study: Study) -> dict[str, Any]:
    """Everything as JSON would have it, curves left out."""
    return {
        "trace": asdict(study.facts),
        "setup": asdict(study.setup),
        "rates": None if study.rates is None else asdict(study.rates),
        "bounds": [{"load": load, "mean_completion": bound} for load, bound in study.bounds.items()],
        "outcomes": [
            {
                "policy": one.policy,
                "load": one.load,
                **asdict(one.metrics),
                "limits": None if one.limits is None else asdict(one.limits),
                "virtual_seconds": one.virtual_seconds,
                "speed": one.speed,
            }
            for one in study.outcomes
        ],
    }
