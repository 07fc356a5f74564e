"""Finds and records the steps of one attempt: the journal in memory, and its way to the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from penstock.errors import Parked, ReplyRejected, StepError
from penstock.model.options import TaskOptions
from penstock.model.step import StepKey, StepRecord
from penstock.model.task import Claimed
from penstock.model.usage import Usage
from penstock.runtime.journal import Journal
from penstock.runtime.services import Services


class Recorder:
    """The journal of one claimed task; read from the store once, and only when something may be in it."""

    def __init__(self, task: Claimed, options: TaskOptions, services: Services) -> None:
        self._task = task
        self._strict = options.strict_journal
        self._services = services
        self._journal = None if task.journaled else Journal(task.id, strict=self._strict)
        self._reading = asyncio.Lock()

    async def find(self, key: StepKey) -> bytes | None:
        """The recorded result of the next step of this key; `None` when it has to be made."""
        record = (await self._read()).find(key)
        return None if record is None else record.value

    async def record(
        self, key: StepKey, kind: str, value: bytes, usage: Usage | None = None, cost: int = 0
    ) -> None:
        """Make a step durable. Raises `Parked` when this node lost the task: it must not go on with it."""
        journal = self._journal or await self._read()
        record = StepRecord(
            seq=self._task.seq,
            claim_no=self._task.claim_no,
            key=key,
            occurrence=journal.number(key),
            kind=kind,
            value=value,
            at=self._services.clock.wall(),
            cost=cost,
        )
        if usage is not None:
            record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
        (kept,) = await self._services.committer.do("record", [record])
        if not kept:
            raise Parked

    async def scope_of(self, step: StepKey) -> str:
        """The scope of steps made inside this step; equal steps in a row have different ones."""
        occurrence = (await self._read()).occurrence(step)
        return f"{step.scope}/{step.name}:{step.digest[:8]}" + (f".{occurrence}" if occurrence else "")

    async def keep(self, step: StepKey, result: Any, validate: Callable[[Any], Any] | None) -> Any:
        """Record the result of a step; what a replay would answer."""
        if validate is not None:
            accept(validate, result, step.name)
        try:
            value = json.dumps(result, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise StepError(f"step {step.name}: its result is no JSON: {error}") from error
        await self.record(step, "value", value)
        return json.loads(value)

    async def _read(self) -> Journal:
        if self._journal is None:
            async with self._reading:
                if self._journal is None:
                    seq = self._task.seq
                    records = await self._services.committer.read(lambda reader: reader.journal(seq))
                    self._journal = Journal(self._task.id, records, self._strict)
        return self._journal


def accept(validate: Callable[[Any], Any], result: Any, name: str) -> None:
    """Raise `ReplyRejected` with the validator's own words when `result` does not pass."""
    try:
        verdict = validate(result)
    except Exception as error:
        raise ReplyRejected(f"step {name}: the reply was rejected: {error}") from error
    if verdict is False:
        raise ReplyRejected(f"step {name}: the reply was rejected by validate=")
