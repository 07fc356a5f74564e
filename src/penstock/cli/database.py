"""`penstock db`: looking after a store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from penstock.cli.amounts import read_size, read_span
from penstock.cli.choosing import CHUNK
from penstock.cli.describe import reservation_data, reservation_row
from penstock.cli.nodes import living, node_name
from penstock.cli.show_text import (
    clock_time,
    counted,
    indented,
    iso,
    money,
    number,
    print_json,
    size,
    table,
    usd,
)
from penstock.cli.stores import (
    FAILED,
    JsonOption,
    StoreOption,
    YesOption,
    file_sizes,
    find_store,
    reading,
    writing,
)
from penstock.errors import ConfigurationError
from penstock.model.reservation import ReservationView
from penstock.model.states import FINAL
from penstock.stores.contract import Pruned, Reader, Retention, Store, TaskFilter

app = typer.Typer(
    help="Look after a store.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

_MOST = 100_000
_WINDOW_SECONDS = 2 * 86_400
"""Reservations younger than this are what limits and budgets are rebuilt from."""


@app.command()
def show(store: StoreOption = None, json: JsonOption = False) -> None:
    """Show what a store holds and how large it is."""
    path, now = find_store(store), time.time()
    with reading(path) as opened:
        sizes, nodes, batches = opened.read(
            lambda reader: (reader.sizes(), living(reader.nodes(), now), reader.batches())
        )
    files = file_sizes(path)
    if json:
        print_json(
            {
                "path": path,
                "file_bytes": files["file"],
                "log_bytes": files["log"],
                **sizes,
                "nodes": [{"pid": node.pid, "host": node.host} for node in nodes],
                "batches": [
                    {
                        "id": one.id,
                        "input": one.input_path,
                        "output": one.output_path,
                        "created_at": iso(one.created_at),
                    }
                    for one in batches
                ],
            }
        )
        return
    typer.echo(f"{path}: {size(files['file'])}, and {size(files['log'])} of write-ahead log")
    rows = [
        [name.replace("_", " "), size(count) if name.endswith("bytes") else number(count)]
        for name, count in sizes.items()
        if name != "batches"
    ]
    typer.echo(indented("\n".join(table(("", ""), rows, (1,))[1:])))
    for batch in batches:
        typer.echo(
            f"  batch {batch.id}, {clock_time(batch.created_at)}: {batch.input_path} to {batch.output_path}"
        )
    typer.echo("dispatched by " + (", ".join(map(node_name, nodes)) or "nobody now"))


@app.command()
def prune(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Remove tasks that ended before: 7d, 12h, 2w."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Then the oldest, until the data fit: 500MB, 1GB."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Remove what ended long ago and give the space back. Nothing that waits or runs is touched."""
    if older_than is None and max_size is None:
        raise ConfigurationError("say what to remove: --older-than 30d, --max-size 1GB, or both")
    now = time.time()
    age = None if older_than is None else read_span(older_than, "--older-than")
    rule = Retention(
        finished_before=None if age is None else now - age,
        events_before=None if age is None else now - age,
        reservations_before=None if age is None else now - max(age, _WINDOW_SECONDS),
        max_bytes=None if max_size is None else read_size(max_size, "--max-size"),
    )
    if dry_run:
        _tell_dry_run(store, rule, json)
        return
    path = find_store(store)
    before = sum(file_sizes(path).values())
    with writing(path) as opened:
        pruned = prune_all(opened, rule, now)
        opened.compact()
        after = sum(file_sizes(path).values())
    if json:
        counts = {"tasks": pruned.tasks, "events": pruned.events, "reservations": pruned.reservations}
        print_json({**counts, "bytes_before": before, "bytes_after": after})
        return
    typer.echo(
        f"removed {counted(pruned.tasks, 'task')}, {counted(pruned.events, 'event')} and "
        f"{counted(pruned.reservations, 'reservation')}; {size(before)} became {size(after)}"
    )


def prune_all(store: Store, rule: Retention, now: float) -> Pruned:
    """Prune in chunks, each a transaction of its own, until nothing is left to remove; the sums."""
    sums = Pruned()
    while True:
        one = store.run(lambda transaction: transaction.prune(rule, now))
        sums = replace(
            sums,
            tasks=sums.tasks + one.tasks,
            events=sums.events + one.events,
            reservations=sums.reservations + one.reservations,
        )
        if not one.more:
            return sums


@dataclass(frozen=True, slots=True)
class Removable:
    """What a prune would find: `old` of the `ended` tasks are past their age, and `live_bytes` are in use."""

    ended: int
    old: int
    live_bytes: int


def _tell_dry_run(store: str | None, rule: Retention, json: bool) -> None:
    with reading(store) as opened:
        seen = _removable(opened, rule)
    over = 0 if rule.max_bytes is None else max(0, seen.live_bytes - rule.max_bytes)
    if json:
        print_json({"dry_run": True, "tasks_by_age": seen.old, "ended_tasks": seen.ended, "bytes_over": over})
        return
    if rule.finished_before is not None:
        typer.echo(f"{number(seen.old)} of {number(seen.ended)} ended tasks would go by age")
    if rule.max_bytes is not None:
        typer.echo(
            f"{size(seen.live_bytes)} are in use, {size(over)} more than {size(rule.max_bytes)}"
            + ("; the oldest ended tasks would go until they fit" if over else "; nothing would go by size")
        )


def _removable(store: Store, rule: Retention) -> Removable:
    """Counted page by page, so that no reader keeps the write-ahead log from being emptied for long."""
    where = TaskFilter(statuses=tuple(sorted(FINAL)))
    limit = rule.finished_before if rule.finished_before is not None else 0.0
    ended = old = after = 0
    while True:
        page = store.read(lambda reader, after=after: reader.tasks(where, after, CHUNK, newest=False))  # type: ignore[misc]
        ended += len(page)
        old += sum((task.finished_at or limit) < limit for task in page)
        if len(page) < CHUNK:
            return Removable(ended, old, store.read(lambda reader: reader.sizes().get("live_bytes", 0)))
        after = page[-1].seq


@app.command()
def backup(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A file that does not exist yet.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the store into a new file while others go on using it."""
    with reading(store) as opened:
        opened.backup(target)
    count = file_sizes(target)["file"]
    if json:
        print_json({"target": target, "bytes": count})
    else:
        typer.echo(f"{target}: {size(count)}")


@app.command()
def verify(store: StoreOption = None, json: JsonOption = False) -> None:
    """Check the file and the data in it; exit code 1 when something is wrong."""
    path = find_store(store)
    with reading(path) as opened:
        faults = opened.verify()
    if json:
        print_json({"path": path, "ok": not faults, "faults": faults})
    elif not faults:
        typer.echo(f"{path}: nothing is wrong")
    else:
        typer.echo(f"{path}: {counted(len(faults), 'fault')}", err=True)
        for fault in faults:
            typer.echo(f"  {fault}", err=True)
        typer.echo("keep a copy of the file, and go back to a backup if tasks behave strangely", err=True)
    if faults:
        raise typer.Exit(FAILED)


@app.command()
def uncertain(store: StoreOption = None, json: JsonOption = False) -> None:
    """List calls that nobody knows the cost of: cut off, timed out, or in flight when a process died."""
    with reading(store) as opened:
        found = opened.read(_uncertain)
    total = sum(one.cost_held for one in found)
    if json:
        print_json({"uncertain": [reservation_data(one) for one in found], "cost_usd": usd(total)})
        return
    if not found:
        typer.echo("no call is uncertain")
        return
    rows = [[*reservation_row(one), one.task_id or "-"] for one in found]
    for line in table(("NO", "STATE", "MODEL", "SINCE", "TOKENS", "MONEY", "TASK"), rows, (0, 4, 5)):
        typer.echo(line)
    typer.echo(
        f"{counted(len(found), 'call')}, {money(total)}, booked in full; look them up in your provider's"
    )
    typer.echo("usage page, and give the money of those it did not bill back with: penstock db release NO...")


@app.command()
def release(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="NO...", help="Numbers that `db uncertain` lists.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are uncertain.")] = False,
    yes: YesOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Give back the money of uncertain calls that the provider did not bill."""
    if bool(numbers) == every:
        raise ConfigurationError("release takes the numbers that `penstock db uncertain` lists, or --all")
    with writing(store) as opened:
        known = {one.id: one for one in opened.read(_uncertain)}
        wanted = list(known) if every else list(dict.fromkeys(numbers or ()))
        _check_uncertain(wanted, known)
        total = sum(known[id].cost_held for id in wanted)
        if every and wanted and not yes:
            typer.confirm(
                f"Give back {money(total)} of {counted(len(wanted), 'call')}?", abort=True, err=True
            )
        outcomes = opened.run(lambda transaction: transaction.release_uncertain(wanted))
        alive = opened.read(lambda reader: living(reader.nodes(), time.time()))
    released = [id for id, given in zip(wanted, outcomes, strict=True) if given]
    total = sum(known[id].cost_held for id in released)
    if json:
        print_json({"released": released, "cost_usd": usd(total)})
        return
    typer.echo(f"{money(total)} of {counted(len(released), 'call')} given back")
    if released and alive:
        names = ", ".join(map(node_name, alive))
        typer.echo(f"{names} counts it against its budgets until it starts anew")


def _check_uncertain(wanted: Sequence[int], known: dict[int, ReservationView]) -> None:
    strange = [str(id) for id in wanted if id not in known]
    if strange:
        raise ConfigurationError(
            f"not uncertain: {', '.join(strange)}; `penstock db uncertain` lists what is"
        )


def _uncertain(reader: Reader) -> list[ReservationView]:
    return reader.reservations(("uncertain",), _MOST)
