"""What a store promises about large values: once by content, in parts, as long as anybody names them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from penstock.model.step import NOTE, UNFINISHED, VERSION, StepKey, StepRecord
from penstock.model.task import Added, Claimed, NewTask
from penstock.stores.contract import Retention, Transaction
from penstock.testing.store_probe import NOW, Probe, same, step_of, task_named

_SIZES = (2_047, 2_049, 8_192, 16_383, 16_384, 16_385, 24_576, 24_577, 100_003)


def check_values_of_every_size(probe: Probe) -> None:
    """Values below, at and above every threshold come back byte for byte: steps, data, results, replies."""
    dice = random.Random(1)
    for size in _SIZES:
        value = dice.randbytes(size)
        text = '"' + "".join(dice.choices("abc é", k=size)) + '"'
        task = probe.running(payload=text)
        same(task.payload == text, True, f"data of {size} characters, claimed")
        probe.record(step_of(task, "s", value))
        probe.store.run(lambda tx, size=size, value=value: tx.cache("a", str(size), value, NOW + 9))  # type: ignore[misc]
        probe.finish(task, result=text)
        view = probe.view(task.id)
        same((view.payload, view.result) == (text[1:-1], text[1:-1]), True, f"data and result of {size}")
        same([step.value == value for step in _journal(probe, task)], [True], f"a step of {size} bytes")
        cached = probe.store.read(lambda reader, size=size: reader.cached("a", str(size), NOW))  # type: ignore[misc]
        same(cached == value, True, f"a reply of {size} bytes")
    _sound(probe)


def check_growing_values_cost_what_is_new(probe: Probe) -> None:
    """A value that grows at its end, kept each time, takes little more room than what was added."""
    task = probe.running()
    value, grown, dice = b"", 0, random.Random(2)
    for turn in range(60):
        value += dice.randbytes(3_000)
        probe.record(step_of(task, "history", value, occurrence=turn))
        grown += len(value)
    bytes = probe.store.read(lambda reader: reader.sizes())["content_bytes"]
    assert bytes < 4 * len(value), f"{bytes} bytes are kept of {len(value)} that are new, {grown} in all"
    same([len(step.value) for step in _journal(probe, task)], [3_000 * n for n in range(1, 61)], "lengths")
    same(_journal(probe, task)[-1].value == value, True, "the last value")
    _sound(probe)


def check_parts_live_as_long_as_they_are_named(probe: Probe) -> None:
    """What tasks share of large values stays until the last of them is gone, however it goes."""
    value = random.Random(3).randbytes(50_000)
    first, second = probe.running(), probe.running()
    probe.record(step_of(first, "a", value), step_of(first, "b", value + b"1"), step_of(second, "a", value))
    probe.record(step_of(second, "b", value[:30_000]), step_of(second, "c", value[8_192:16_384]))
    stale = Claimed(**{**{name: getattr(first, name) for name in Claimed.__slots__}, "claim_no": 99})
    same(probe.record(step_of(stale, "late", value + b"2")), [False], "a record of a lost claim")
    _sound(probe)
    probe.store.run(lambda tx: tx.void_step(second.seq, StepKey("", "a", "d" * 32), 0))
    probe.finish(first)
    probe.store.run(lambda tx: tx.prune(Retention(finished_before=NOW + 1), NOW + 1))
    _sound(probe)
    kept = [step.value for step in _journal(probe, second)]
    same(kept == [value[:30_000], value[8_192:16_384]], True, "what the other task keeps")
    probe.record(step_of(second, "d", value))
    same(_journal(probe, second)[-1].value == value, True, "a value that comes again")
    probe.finish(second, keep=False)
    _sound(probe)
    same(probe.store.read(lambda reader: reader.sizes())["content_bytes"], 0, "bytes when all are gone")


def check_kept_and_dropped_in_one_transaction(probe: Probe) -> None:
    """A value that one row gives up while another takes it on stays."""
    value, other = random.Random(4).randbytes(40_000), random.Random(5).randbytes(20_000)
    probe.store.run(lambda tx: tx.cache("a", "d", value, NOW + 9))

    def keep(tx: Transaction, *entries: tuple[str, bytes]) -> None:
        for digest, kept in entries:
            tx.cache("a", digest, kept, NOW + 9)

    probe.store.run(lambda tx: keep(tx, ("d", other), ("e", value + other)))
    probe.store.run(lambda tx: keep(tx, ("e", value), ("d", value)))
    for digest in "de":
        found = probe.store.read(lambda reader, digest=digest: reader.cached("a", digest, NOW))  # type: ignore[misc]
        same(found == value, True, f"entry {digest}")
    _sound(probe)
    same(probe.store.read(lambda reader: reader.sizes())["contents"], 6, "a list and its five parts")


def check_notes_are_no_steps(probe: Probe) -> None:
    """Notes are kept in the journal, answer `record` like steps, and are neither shown nor told."""
    task = probe.running()
    notes = [
        StepRecord(task.seq, task.claim_no, StepKey("", "a", "d"), NOTE, UNFINISHED, b"", NOW),
        StepRecord(task.seq, task.claim_no, StepKey("", "version", "2"), NOTE, VERSION, b"", NOW),
    ]
    same(probe.record(*notes, step_of(task, "b")), [True] * 3, "outcomes")
    same(probe.record(*notes), [True] * 2, "outcomes of the same again")
    same([step.kind for step in _journal(probe, task)], [UNFINISHED, VERSION, "value"], "kinds")
    same([step["name"] for step in probe.view(task.id).steps], ["b"], "steps shown")
    same(probe.kinds(task.seq).count("step"), 1, "events")


def check_a_fork_has_what_came_before(probe: Probe) -> None:
    """A fork has the records before a step, not what was made inside of it, and shares their values."""
    old = probe.running()
    large = random.Random(6).randbytes(40_000)
    inside, other = "/outer:" + "d" * 8, "/outer:" + "d" * 8 + ".1"
    probe.record(
        StepRecord(old.seq, old.claim_no, StepKey("", "version", "2"), NOTE, VERSION, b"", NOW),
        step_of(old, "a", large),
        _in(step_of(old, "inner"), inside),
        _in(step_of(old, "deep"), inside + "/inner:x"),
        _in(step_of(old, "inner"), other),
        step_of(old, "outer"),
        step_of(old, "b"),
    )
    first = [("", "version"), ("", "a")]
    inner = [(inside, "inner"), (inside + "/inner:x", "deep")]
    expected: dict[str, list[tuple[str, str]]] = {
        "outer": [*first, (other, "inner")],
        "b": [*first, *inner, (other, "inner"), ("", "outer")],
        "a": [],
    }
    for name, records in expected.items():
        fork = _fork(probe, old, name)
        found = [(step.key.scope, step.key.name) for step in _journal(probe, fork)]
        same(found, records, f"journal of a fork before {name}")
        same(fork.journaled, bool(records), "journaled")
        same(probe.kinds(fork.seq)[:2], ["submitted", "forked"], "events")
        if records:
            same(_journal(probe, fork)[1].value == large, True, "the value of a")
        probe.finish(fork, keep=False)
    same(len(_journal(probe, old)), 7, "records of the old task")
    _sound(probe)


def _fork(probe: Probe, old: Claimed, before: str) -> Claimed:
    fields: dict[str, Any] = {"fork_before": (StepKey("", before, "d" * 32), 0)}
    task: NewTask = task_named(retry_of=old.id, inherit_journal=True, **fields)
    (added,) = probe.offer(task)
    assert isinstance(added, Added), f"add refused a fork: {added!r}"
    return probe.take(added)


def _in(step: StepRecord, scope: str) -> StepRecord:
    step.key = step.key._replace(scope=scope)
    return step


def _journal(probe: Probe, task: Claimed) -> list[StepRecord]:
    read: Callable[..., list[StepRecord]] = probe.store.read
    return read(lambda reader: reader.journal(task.seq))


def _sound(probe: Probe) -> None:
    same(probe.store.verify(), [], "verify")


CHECKS = (
    check_values_of_every_size,
    check_growing_values_cost_what_is_new,
    check_parts_live_as_long_as_they_are_named,
    check_kept_and_dropped_in_one_transaction,
    check_notes_are_no_steps,
    check_a_fork_has_what_came_before,
)
