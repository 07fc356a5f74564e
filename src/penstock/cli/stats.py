"""`penstock stats`: tasks, money, limits and processes of a store at a glance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import typer

from penstock.cli.gate_words import gauge_text, is_money
from penstock.cli.nodes import living, node_name
from penstock.cli.order import size_error_words
from penstock.cli.show_text import (
    counted,
    heading,
    indented,
    iso,
    money,
    number,
    print_json,
    size,
    span,
    table,
    usd,
)
from penstock.cli.stores import JsonOption, StoreOption, file_sizes, find_store, reading
from penstock.runtime.figures import SETTING as FIGURES
from penstock.runtime.figures import Figures, read_figures
from penstock.runtime.reranking import Told, told_last
from penstock.stores.contract import Gauge, NodeView, Reader, Spend, StoredLane, Tally

SLICE_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at a store; `nodes` are alive."""

    tallies: list[Tally]
    lanes: list[StoredLane]
    totals: dict[str, float]
    spend: list[Spend]
    gauges: list[Gauge]
    nodes: list[NodeView]
    pauses: list[str]
    held: int
    strategy: Told
    figures: Figures


@dataclass(slots=True)
class Sums:
    """Pico-dollars and counts of a model."""

    total: int = 0
    today: int = 0
    hour: int = 0
    uncertain: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


def stats(store: StoreOption = None, json: JsonOption = False) -> None:
    """Count tasks by status, type and priority; add up money; show limits, processes and the store's size."""
    path, now = find_store(store), time.time()
    with reading(path) as opened:
        seen = opened.read(lambda reader: _look(reader, now))
    sums = spend_by_model(seen.spend, now)
    if json:
        print_json(_as_data(seen, sums, path))
        return
    _tell_counts(seen)
    _tell_money(seen, sums)
    _tell_limits(seen.gauges, now)
    _tell_scheduling(seen)
    _tell_nodes(seen, path, now)


def _look(reader: Reader, now: float) -> Standing:
    return Standing(
        tallies=reader.tallies(),
        lanes=reader.lanes(),
        totals=reader.totals(),
        spend=reader.spend(),
        gauges=reader.gauges(),
        nodes=living(reader.nodes(), now),
        pauses=reader.pauses(),
        held=sum(one.cost_held for one in reader.reservations(("held",), 100_000)),
        strategy=told_last(reader),
        figures=read_figures(reader.setting(FIGURES)),
    )


def spend_by_model(rows: Sequence[Spend], now: float) -> dict[str, Sums]:
    """Sums by model; the day and the hour are those of the local calendar."""
    here = datetime.fromtimestamp(now).astimezone()
    hour = here.replace(minute=0, second=0, microsecond=0)
    day_start, hour_start = hour.replace(hour=0).timestamp(), hour.timestamp()
    sums: dict[str, Sums] = {}
    for row in rows:
        of_model = sums.setdefault(row.model, Sums())
        booked = row.cost + row.uncertain
        begin = row.slice * SLICE_SECONDS
        of_model.total += booked
        of_model.today += booked if begin >= day_start else 0
        of_model.hour += booked if begin >= hour_start else 0
        of_model.uncertain += row.uncertain
        of_model.calls += row.calls
        of_model.input_tokens += row.input_tokens
        of_model.output_tokens += row.output_tokens
    return sums


def _counts(tallies: Sequence[Tally], key: Callable[[Tally], str]) -> dict[str, Counter[str]]:
    """Counts by status, for each value of the key."""
    counts: dict[str, Counter[str]] = {}
    for tally in tallies:
        counts.setdefault(key(tally), Counter())[tally.status.value] += tally.count
    return counts


def _by_type(seen: Standing) -> dict[str, Counter[str]]:
    names = {
        one.id: f"{one.lane.type}/{one.lane.model}" if one.lane.model else one.lane.type for one in seen.lanes
    }
    return _counts(seen.tallies, lambda tally: names.get(tally.lane, tally.type))


def _as_data(seen: Standing, sums: dict[str, Sums], path: str) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    for tally in seen.tallies:
        statuses[tally.status.value] += tally.count
    return {
        "store": {"path": path, **{f"{name}_bytes": count for name, count in file_sizes(path).items()}},
        "tasks": {
            "by_status": dict(statuses),
            "by_type": {name: dict(counts) for name, counts in _by_type(seen).items()},
            "by_priority": {
                name: dict(counts)
                for name, counts in _counts(seen.tallies, lambda t: str(t.priority)).items()
            },
        },
        "totals": seen.totals,
        "spend": {model or "(none)": _sums_data(of_model) for model, of_model in sums.items()},
        "held_usd": usd(seen.held),
        "limits": [_gauge_data(gauge) for gauge in seen.gauges],
        "nodes": [
            {"id": node.id, "pid": node.pid, "host": node.host, "started_at": iso(node.started_at)}
            for node in seen.nodes
        ],
        "pauses": seen.pauses,
        "scheduling": {
            "strategy": seen.strategy.name,
            "strategy_settings": dict(seen.strategy.settings),
            **asdict(seen.figures),
        },
    }


def _sums_data(sums: Sums) -> dict[str, Any]:
    return {
        "total_usd": usd(sums.total),
        "today_usd": usd(sums.today),
        "hour_usd": usd(sums.hour),
        "uncertain_usd": usd(sums.uncertain),
        "calls": sums.calls,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
    }


def _gauge_data(gauge: Gauge) -> dict[str, Any]:
    amounts = {"used": gauge.used, "held": gauge.held, "limit": gauge.limit}
    if is_money(gauge):
        amounts = {f"{name}_usd": usd(int(amount)) for name, amount in amounts.items()}
    return {"key": gauge.key, **amounts, "at": iso(gauge.at)}


def _tell_counts(seen: Standing) -> None:
    if not seen.tallies:
        typer.echo("no tasks in this store")
        return
    for title, counts in (
        ("TASKS BY TYPE", _by_type(seen)),
        ("TASKS BY PRIORITY", _counts(seen.tallies, lambda tally: str(tally.priority))),
    ):
        statuses = list(dict.fromkeys(tally.status.value for tally in sorted(seen.tallies, key=_order)))
        rows = [
            [name, *(number(count[status]) for status in statuses)] for name, count in sorted(counts.items())
        ]
        if len(rows) > 1:
            rows.append(["all", *(number(sum(c[status] for c in counts.values())) for status in statuses)])
        _tell_table([title, *(status.upper() for status in statuses)], rows)
    done = seen.totals.get("processed", 0)
    if done:
        waited, ran = seen.totals.get("queue_seconds", 0) / done, seen.totals.get("run_seconds", 0) / done
        typer.echo(f"on average a task waited {span(waited)} and ran {span(ran)}")


def _order(tally: Tally) -> int:
    return list(type(tally.status)).index(tally.status)


def _tell_money(seen: Standing, sums: dict[str, Sums]) -> None:
    if not sums:
        return
    rows = [[model or "(none)", *_sums_row(one)] for model, one in sorted(sums.items())]
    if len(rows) > 1:
        every = Sums()
        for one in sums.values():
            for name in Sums.__slots__:
                setattr(every, name, getattr(every, name) + getattr(one, name))
        rows.append(["all", *_sums_row(every)])
    titles = ["SPENT ON", "THIS HOUR", "TODAY", "TOTAL", "UNCERTAIN", "CALLS", "TOKENS IN", "OUT"]
    _tell_table(titles, rows)
    if seen.held:
        typer.echo(f"{money(seen.held)} are held for calls in flight")


def _sums_row(sums: Sums) -> list[str]:
    amounts = [money(amount) for amount in (sums.hour, sums.today, sums.total, sums.uncertain)]
    return amounts + [number(count) for count in (sums.calls, sums.input_tokens, sums.output_tokens)]


def _tell_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    title, *lines = table(titles, rows, range(1, len(titles)))
    typer.echo(heading(title))
    for line in lines:
        typer.echo(line)


def _tell_limits(gauges: Sequence[Gauge], now: float) -> None:
    if gauges:
        age = now - max(gauge.at for gauge in gauges)
        typer.echo(heading("LIMITS") + (f" ({span(age)} ago)" if age > 5 else ""))
        typer.echo(indented("\n".join(gauge_text(gauge) for gauge in gauges)))


def _tell_scheduling(seen: Standing) -> None:
    figures, ends = seen.figures, seen.figures.deadlines
    typer.echo(f"ordered by strategy {seen.strategy.words}")
    if figures.takeovers or figures.put_backs:
        typer.echo(
            f"preemption: {counted(figures.takeovers, 'slot')} left to better-ranked tasks, "
            f"{counted(figures.put_backs, 'started task')} put back"
        )
    if ends.kept or ends.late or ends.expired:
        typer.echo(
            f"deadlines: {number(ends.kept)} kept, {number(ends.late)} missed, "
            f"{number(ends.expired)} expired before the start"
        )
    if figures.sizes_known:
        typer.echo(size_error_words(figures))


def _tell_nodes(seen: Standing, path: str, now: float) -> None:
    names = [f"{node_name(node)} for {span(now - node.started_at)}" for node in seen.nodes]
    typer.echo("dispatched by " + (", ".join(names) if names else "nobody now"))
    if seen.pauses:
        typer.echo("paused: " + ", ".join(seen.pauses))
    sizes = file_sizes(path)
    typer.echo(
        f"store {path}: {size(sizes['file'])}" + (f" and {size(sizes['log'])} of log" if sizes["log"] else "")
    )
