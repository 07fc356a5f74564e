"""Opens the batch of a job: a new one, or the one that an earlier run of the same command left."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.run.books import Books
from penstock.cli.run.fingerprint import Fingerprint, changed
from penstock.cli.run.options import RunOptions
from penstock.cli.run.outputs import Outputs, mend
from penstock.cli.run.reading import FileSource, Lines, Spool, lines_from
from penstock.errors import ConfigurationError
from penstock.model.batch import Batch
from penstock.stores.contract import Store, TaskFilter, Transaction

POISON_AFTER = 3

Say = Callable[[str], None]
Retry = Callable[[Batch], int]


@dataclass(slots=True)
class Opened:
    """A batch with its input and its files, ready to go on."""

    batch: Batch
    source: FileSource | Spool
    lines: Lines
    outputs: Outputs

    def close(self) -> None:
        self.source.close()
        self.outputs.close()


def open_job(store: Store, options: RunOptions, say: Say, retry: Retry) -> Opened:
    """The batch of this output; `retry` puts its failed lines in the queue again when that was asked for.
    Raises `ConfigurationError` for an input that changed, or files that are not ours."""
    found = store.read(lambda reader: reader.batch_named(str(options.output_path)))
    continued = found is not None and not options.restart
    if found is None and not options.restart:
        _refuse_strangers(options)
    batch = found if found is not None and continued else _new_batch(options)
    if continued and batch.errors_path != str(options.errors_path):
        raise ConfigurationError(
            f"this job writes its errors to {batch.errors_path}; give --errors with that file, or begin "
            "anew with "
            "--restart"
        )
    with contextlib.ExitStack() as undo:
        outputs = Outputs(batch, options.durability == "full")
        undo.callback(outputs.close)
        source = _source(options, batch)
        undo.callback(source.close)
        if continued:
            if options.retry_failed:
                say(f"{retry(batch):,} failed lines get another try")
                batch = _row(store, batch)
        else:
            if found is not None:
                _abandon(store, found)
            batch = store.run(lambda transaction: transaction.open_batch(batch))
        batch = _keeping(store, mend(store, batch, say), options.keep == "all")
        outputs.reopen(batch)
        undo.pop_all()
    seen = Fingerprint.read(batch.fingerprint)
    lines = lines_from(source, options.max_line_bytes, seen, batch.read_bytes, batch.read_lines)
    if continued:
        say(_where_it_stands(batch))
    return Opened(batch, source, lines, outputs)


def _row(store: Store, batch: Batch) -> Batch:
    row = store.read(lambda reader: reader.batch(batch.id))
    assert row is not None
    return row


def _where_it_stands(batch: Batch) -> str:
    return (
        f"continuing: {batch.read_lines:,} lines were read before, {batch.results_lines:,} have a result, "
        f"{batch.errors_lines:,} an error"
    )


def _refuse_strangers(options: RunOptions) -> None:
    for path in (options.output_path, options.errors_path):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size:
                raise ConfigurationError(
                    f"{path} exists and was not written by a job of {options.store_name}; name another "
                    "output (or the "
                    "--store of that job), or overwrite it with --restart"
                )


def _new_batch(options: RunOptions) -> Batch:
    return Batch(
        id=0,
        name=str(options.output_path),
        input_path=str(options.input_path),
        output_path=str(options.output_path),
        errors_path=str(options.errors_path),
        fingerprint="",
        settings="",
        created_at=time.time(),
    )


def _source(options: RunOptions, batch: Batch) -> FileSource | Spool:
    """The input, standing at the last whole block that was read; what was read must be as it was."""
    seen = Fingerprint.read(batch.fingerprint)
    path = options.input_path
    if not options.from_stdin:
        _refuse_changes(path, options.input, batch, seen)
        return FileSource(path, seen.chained)
    fresh = path.with_name(path.name + ".new")
    spool = Spool(fresh)
    there = spool.wait_for(batch.read_bytes)
    if there == 0 and batch.read_bytes and path.exists():
        # Nothing came this time: the copy of the last time serves.
        spool.close()
        fresh.unlink()
        _refuse_changes(path, str(path), batch, seen)
        return FileSource(path, seen.chained)
    _refuse_changes(fresh, "standard input", batch, seen)
    if sys.platform != "win32":  # there an open file keeps its name
        os.replace(fresh, path)
    spool.seek(seen.chained)
    return spool


def _refuse_changes(path: Path, name: str, batch: Batch, seen: Fingerprint) -> None:
    how = changed(path, batch.read_bytes, seen)
    if how is not None:
        raise ConfigurationError(
            f"{name} changed since {batch.read_lines:,} lines of it were read: {how}. Put it back (lines "
            "may be "
            "appended), name another output, or begin anew with --restart"
        )


def _abandon(store: Store, batch: Batch) -> None:
    """Cancel what an earlier job of this output left in the queue."""

    def work(transaction: Transaction) -> None:
        now = time.time()
        gone = [node.id for node in transaction.nodes()]
        transaction.rescue(now, now, POISON_AFTER, gone)
        transaction.cancel(TaskFilter(batch=batch.id), now)

    store.run(work)


def _keeping(store: Store, batch: Batch, keep: bool) -> Batch:
    books = Books.of(batch)
    if books.keep == keep:
        return batch
    books.keep = keep
    batch = books.on(batch)
    store.run(lambda transaction: transaction.update_batch(batch))
    return batch
