"""Finds and records the steps of one attempt: the journal in memory, and its way to the store."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

from penstock.errors import JournalMismatch, Parked, ReplyRejected, StepError
from penstock.model.clock import Clock
from penstock.model.json_text import json_text
from penstock.model.options import TaskOptions
from penstock.model.step import NOTE, StepKey, StepRecord, inner_scope
from penstock.model.task import Claimed
from penstock.model.usage import Usage
from penstock.runtime.committer import run_whole
from penstock.runtime.journal import Journal
from penstock.runtime.mismatch import check_fits
from penstock.runtime.notes import Notes
from penstock.runtime.position import current_position, owns_scope
from penstock.runtime.services import Services
from penstock.stores.contract import Transaction

Work = Callable[[Transaction], Any]


class Making:
    """A step on its way: `known` is its result where it is there already, `is_there` whether it was recorded
    since."""

    __slots__ = ("_clock", "_records", "is_there", "known")

    def __init__(self, clock: Clock, records: list[StepRecord], known: StepRecord | None = None) -> None:
        self.known = None if known is None else known.value
        self.is_there = False
        self._clock = clock
        self._records = records

    def write(self, store: Transaction, result: Any) -> None:
        """Record the result in this transaction."""
        record = self._records[-1]
        record.value, record.at = json_text(result).encode(), self._clock.wall()
        store.record(self._records)

    def landed(self, outcome: tuple[Any, Any]) -> None:
        """The transaction is durable; it gave this, which is true first where the step was recorded."""
        self.is_there = self.is_there or bool(outcome[0])


class Recorder:
    """The journal of one claimed task; read from the store once, and only when something may be in it."""

    def __init__(self, task: Claimed, options: TaskOptions, services: Services) -> None:
        self._task = task
        self._options = options
        self._services = services
        self._journal = None if task.journaled else Journal()
        self._reading = asyncio.Lock()
        self._locks: WeakValueDictionary[StepKey, asyncio.Lock] = WeakValueDictionary()
        self._shared: set[str] = set()
        self.notes = Notes(options.version)
        self._mismatch: JournalMismatch | None = None

    async def find(self, key: StepKey, sole: bool | None = None) -> bytes | None:
        """The recorded result of the next step of this key; `None` when it has to be made. `sole` says
        whether the caller owns its scope, where this does not run in the caller's own task.

        Raises `JournalMismatch` when the code no longer fits what was recorded.
        """
        sole = owns_scope() if sole is None else sole
        journal = self._journal
        if journal is not None and journal.empty:
            found = None
        else:
            found = await self._look(key, sole, http=False)
        if found is None and sole:
            self.notes.begins(key)
        return found

    async def find_call(self, key: StepKey) -> bytes | None:
        """The same for a request; one that does not fit fails in strict mode only, for it may be a library
        that makes it."""
        return await self._look(key, owns_scope(), http=True)

    async def _look(self, key: StepKey, sole: bool, http: bool) -> bytes | None:
        journal = self._journal or await self._read()
        if journal.empty:
            return None
        record = journal.find(key)
        if not sole:
            self._shared.add(key.scope)
        if record is not None:
            return record.value
        self.check()
        try:
            if (position := current_position()) is not None and position.context.knows_attempt:
                self._shared.add(key.scope)
            strict = self._options.strict_journal
            await check_fits(journal, key, self._task.id, self._shared, http=http, strict=strict)
        except JournalMismatch as error:
            self._mismatch = error
            raise
        return None

    def check(self) -> None:
        """Raise `JournalMismatch` again if it was raised and the handler went on."""
        if self._mismatch is not None:
            raise self._mismatch

    def share(self, scope: str) -> None:
        """Branches that nobody waits for in order run in this scope."""
        self._shared.add(scope)

    def reread(self) -> None:
        """Code runs again from the top in the same attempt: what it recorded so far answers."""
        self._journal = None
        self.notes.clear()

    async def begun_with(self) -> str | None:
        """The version of the handler that made the recorded steps; `None` when there are none."""
        journal = self._journal or await self._read()
        if journal.empty:
            return None
        return self._options.version if journal.version is None else journal.version

    async def record(
        self, key: StepKey, kind: str, value: bytes, usage: Usage | None = None, cost: int = 0
    ) -> None:
        """Make a step durable. Raises `Parked` when this node lost the task: it must not go on with it."""
        journal = self._journal or await self._read()
        records = self._numbered(journal, key, kind, value)
        record = records[-1]
        record.cost = cost
        if usage is not None:
            record.input_tokens, record.output_tokens = usage.input_tokens, usage.output_tokens
        if not all(await self._services.committer.do("record", records)):
            raise Parked

    def send(self, key: StepKey, value: bytes) -> None:
        """Record a step of a journal that was empty, without waiting: it is durable no later than what is
        written after it."""
        journal = self._journal = self._journal or Journal()
        self._services.committer.send("record", self._numbered(journal, key, "value", value))

    async def once(self, key: StepKey, begin: Callable[[], Awaitable[Work]]) -> Any:
        """The recorded result of a step; else that of the work that `begin()` gives, which is recorded in the
        work's own transaction: both happen, or none. Raises `Parked` when this node lost the task."""
        known = await self.find(key)
        if known is not None:
            return json.loads(known)
        work, task = await begin(), self._task
        async with self.making(key) as made:
            if made.known is not None:
                return json.loads(made.known)

            def transact(store: Transaction) -> Any:
                if not store.holds(task.seq, task.claim_no):
                    return False, None
                result = work(store)
                made.write(store, result)
                return True, result

            held, result = await run_whole(self._services.committer, transact, made.landed)
            if not held:
                raise Parked
        return result

    @contextlib.asynccontextmanager
    async def making(self, key: StepKey) -> AsyncIterator[Making]:
        """For a step that is made in a transaction of the caller's own, `run_whole`. Equal steps
        side by side are made one after the other. What landed though its maker was cancelled before it heard
        of it is `known` to whoever asks next."""
        clock = self._services.clock
        async with self._locks.setdefault(key, asyncio.Lock()):
            journal = self._journal or await self._read()
            if key in journal.unheard:
                yield Making(clock, [], journal.find(key))
                return
            record = self._new(key, journal.occurrence(key), "value")
            made = Making(clock, self._with_notes(journal, record))
            try:
                yield made
            except BaseException:
                if made.is_there:
                    journal.left(record)
                    self.notes.given(journal, key)
                raise
            if made.is_there:
                journal.number(key)
                self.notes.given(journal, key)

    def _numbered(self, journal: Journal, key: StepKey, kind: str, value: bytes) -> list[StepRecord]:
        """The record of a step that goes out now, after its notes."""
        records = self._with_notes(journal, self._new(key, journal.number(key), kind, value))
        self.notes.given(journal, key)
        return records

    def _new(self, key: StepKey, occurrence: int, kind: str, value: bytes = b"") -> StepRecord:
        task, at = self._task, self._services.clock.wall()
        return StepRecord(task.seq, task.claim_no, key, occurrence, kind, value, at)

    def _with_notes(self, journal: Journal, record: StepRecord) -> list[StepRecord]:
        """The record of a step, after what is to be remembered with it."""
        due = self.notes.due(journal, record.key)
        return [*(self._new(note, NOTE, kind) for note, kind in due), record]

    async def scope_of(self, step: StepKey) -> str:
        """The scope of steps made inside this step; equal steps in a row have different ones."""
        return inner_scope(step, (await self._read()).occurrence(step))

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
                    self._journal = Journal(records)
        return self._journal


def accept(validate: Callable[[Any], Any], result: Any, name: str) -> None:
    """Raise `ReplyRejected` with the validator's own words when `result` does not pass."""
    try:
        verdict = validate(result)
    except Exception as error:
        raise ReplyRejected(f"step {name}: the reply was rejected: {error}") from error
    if verdict is False:
        raise ReplyRejected(f"step {name}: the reply was rejected by validate=")
