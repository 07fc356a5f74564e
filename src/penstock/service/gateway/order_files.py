"""Writes the two files that a batch leaves: what was answered, and what was not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from penstock.manager.engine import Manager
from penstock.model.batch import Batch
from penstock.model.ids import new_id
from penstock.model.order import Order, StoredFile
from penstock.service.gateway.order_lines import read_chunk
from penstock.service.gateway.order_records import record, succeeded, unmade, usage_of
from penstock.service.gateway.shelf import Draft, Shelf
from penstock.stores.contract import FinishedLine, Reader

PAGE = 200
LARGEST = 20_000_000_000


@dataclass(slots=True)
class Written:
    """The rows of the files, what the order is told of them, and how many lines were never made."""

    files: list[StoredFile] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    last_no: int = 0
    unmade: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


async def write_files(engine: Manager, shelf: Shelf, order: Order, batch: Batch, status: str) -> Written:
    """Write output and errors of a batch whose tasks have all ended; an empty file is left out."""
    drafts = shelf.page(LARGEST), shelf.page(LARGEST)
    written = Written()
    try:
        while page := await engine.read(partial(_page, batch.id, written.last_no)):
            await asyncio.to_thread(_write, page, drafts, written, status)
        if not batch.read_all and status != "completed":
            await asyncio.to_thread(_write_unmade, shelf, order, batch, drafts[1], written, status)
        for draft, name in zip(drafts, ("output", "error"), strict=True):
            if draft.size:
                row = _row(order, name, draft.size, engine.clock.wall())
                await shelf.settle(draft, row.id)
                written.files.append(row)
                written.told[f"{name}_file_id"] = row.id
    finally:
        for draft in drafts:
            draft.drop()
    written.told["usage"] = usage_of(written.input_tokens, written.output_tokens)
    return written


def _page(batch: int, after: int, reader: Reader) -> list[FinishedLine]:
    return reader.finished_lines(batch, after, PAGE)


def _write(page: list[FinishedLine], drafts: tuple[Draft, Draft], written: Written, status: str) -> None:
    for line in page:
        drafts[0 if succeeded(line) else 1].write(record(line, status))
        written.input_tokens += line.input_tokens
        written.output_tokens += line.output_tokens
    written.last_no = page[-1].no


def _write_unmade(
    shelf: Shelf, order: Order, batch: Batch, draft: Draft, written: Written, status: str
) -> None:
    path = shelf.path(order.body["input_file_id"])
    offset, number = batch.read_bytes, batch.read_lines
    while lines := read_chunk(path, offset, number, order.body["endpoint"], PAGE):
        for line in lines:
            draft.write(unmade(new_id(), line.custom_id, status))
        written.unmade += len(lines)
        offset, number = lines[-1].behind, lines[-1].number


def _row(order: Order, name: str, size: int, now: float) -> StoredFile:
    life = order.body.get("output_life")
    return StoredFile(
        f"file-{new_id()}",
        order.tenant,
        "batch_output",
        f"{order.id}_{name}.jsonl",
        size,
        now,
        None if life is None else now + life,
    )
