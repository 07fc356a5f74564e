"""What a store promises about what it keeps: batches, events, settings, the cache, retention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.model.batch import Batch
from penstock.model.reservation import ReservationState
from penstock.model.states import TaskStatus
from penstock.stores.contract import FinishedLine, Pruned, Retention, TaskFilter
from penstock.testing.store_probe import NOW, Probe, rising, same, settled, step_of, task_named, where_id


def open_batch(probe: Probe, name: str = "requests.jsonl") -> Batch:
    """A new, empty batch of that name."""
    batch = Batch(0, name, "in", "out", "errors", "print", "{}", NOW)
    return probe.store.run(lambda tx: tx.open_batch(batch))


def lines_after(probe: Probe, batch: Batch, no: int, limit: int = 100) -> list[FinishedLine]:
    return probe.store.read(lambda reader: reader.finished_lines(batch.id, no, limit))


def check_batch(probe: Probe) -> None:
    """A batch is found by id and by name, and where it stands is kept."""
    batch, other = open_batch(probe), open_batch(probe, "other")
    assert batch.id != other.id, f"two batches have one id: {batch.id}"
    same((batch.name, batch.written_no, batch.read_all), ("requests.jsonl", 0, False), "a new batch")
    moved = replace(
        batch, read_bytes=2**40, read_lines=9, read_all=True, written_no=4, results_bytes=7, errors_bytes=8,
        results_lines=3, errors_lines=1, settings='{"model":"m"}',
    )  # fmt: skip
    probe.store.run(lambda tx: tx.update_batch(moved))
    same(probe.store.read(lambda reader: reader.batch(batch.id)), moved, "by id")
    same(probe.store.read(lambda reader: reader.batch_named("requests.jsonl")), moved, "by name")
    same(probe.store.read(lambda reader: reader.batch_named("none")), None, "a name that is not there")
    same(probe.store.read(lambda reader: reader.batch(other.id + 99)), None, "an id that is not there")
    same([row.id for row in probe.store.read(lambda reader: reader.batches())].count(batch.id), 1, "batches")


def check_finished_lines(probe: Probe) -> None:
    """Finished tasks of a batch come in the order of `finished_no`, each once, with what its files need."""
    batch, other = open_batch(probe), open_batch(probe, "other")
    tasks = [probe.running(batch=batch.id, position=n, metadata='{"n":1}') for n in range(3)]
    stranger = probe.running(batch=other.id, position=0)
    probe.settle(
        settled(probe.reserve(tasks[2]), ReservationState.SETTLED, input_tokens=5, output_tokens=6, cost=7)
    )
    probe.finish(tasks[2], result='{"r":2}')
    probe.finish(stranger, result='{"r":9}')
    probe.finish(tasks[0], TaskStatus.FAILED, error='{"code":"c","message":"m"}')
    probe.add(batch=batch.id, position=3, error='{"code":"bad","message":"line"}')
    lines = lines_after(probe, batch, 0)
    same([line.position for line in lines], [2, 0, 3], "positions")
    numbers = [line.no for line in lines]
    rising(numbers, "numbers")
    first, second, third = lines
    same((first.id, first.status, first.result), (tasks[2].id, TaskStatus.COMPLETED, '{"r":2}'), "first line")
    same((first.payload, first.metadata, first.attempt), ('{"text":"hi"}', '{"n":1}', 1), "first line, texts")
    same((first.input_tokens, first.output_tokens, first.cost), (5, 6, 7), "first line, use")
    same((second.status, second.error), (TaskStatus.FAILED, '{"code":"c","message":"m"}'), "second line")
    same(third.status, TaskStatus.FAILED, "status of a line that entered as failed")
    same([line.position for line in lines_after(probe, batch, numbers[0], 1)], [0], "a page of one")
    same(lines_after(probe, batch, numbers[-1]), [], "after the last")
    counts = {status: n for status, n in probe.store.read(lambda r: r.batch_counts(batch.id)).items() if n}
    same(counts, {TaskStatus.COMPLETED: 1, TaskStatus.FAILED: 2, TaskStatus.RUNNING: 1}, "batch_counts")


def check_batch_line_waits_for_its_file(probe: Probe) -> None:
    """A task that is not kept keeps its result until its batch has written it, and no longer."""
    batch = open_batch(probe)
    tasks = [probe.running(batch=batch.id, position=n) for n in range(3)]
    for task in tasks:
        probe.finish(task, result='{"secret":1}', keep=False)
    lines = lines_after(probe, batch, 0)
    same([line.result for line in lines], ['{"secret":1}'] * 3, "results before they are written")
    probe.store.run(lambda tx: tx.drop_written(batch.id, lines[1].no))
    results = [probe.view(task.id).result for task in tasks]
    same(results, [None, None, {"secret": 1}], "results after two lines are written")
    same([probe.view(task.id).payload for task in tasks[:2]], [None, None], "payloads after that")


def check_finished_no_is_never_used_again(probe: Probe) -> None:
    """Numbers rise on after their tasks were pruned: a writer would miss a number used twice."""
    numbers = []
    for _ in range(3):
        task = probe.running()
        probe.finish(task)
        numbers.append(probe.view(task.id).finished_no)
        same(prune_all(probe, Retention(finished_before=NOW + 1), NOW + 1).tasks, 1, "pruned tasks")
    rising(numbers, "finished_no")


def check_events(probe: Probe) -> None:
    """Events are numbered as they happened, read in pages, by task or all, and name their task."""
    first = probe.running()
    second = probe.add(at=NOW + 1)
    probe.finish(first, at=NOW + 2)
    events = probe.store.read(lambda reader: reader.events(0))
    kinds = [(event.kind, event.task_id) for event in events]
    of_first = [("submitted", first.id), ("started", first.id), ("finished", first.id)]
    same(kinds, [*of_first[:2], ("submitted", second.id), of_first[2]], "events")
    numbers = [event.no for event in events]
    rising(numbers, "numbers")
    same([event.at for event in events], [NOW, NOW, NOW + 1, NOW + 2], "times")
    same(probe.store.read(lambda reader: reader.last_event()), numbers[-1], "last_event")
    page = probe.store.read(lambda reader: reader.events(numbers[0], limit=2))
    same([event.no for event in page], numbers[1:3], "a page of two")
    same(probe.kinds(second.seq), ["submitted"], "events of one task")


def check_settings(probe: Probe) -> None:
    """A setting is what was last set, or nothing."""
    got = []
    for value in ("1", "two", None):
        probe.store.run(lambda tx, value=value: tx.set_setting("name", value))  # type: ignore[misc]
        got.append(probe.store.read(lambda reader: reader.setting("name")))
    same(got, ["1", "two", None], "setting")


def check_cache(probe: Probe) -> None:
    """An entry answers its tenant until it expires; the last one stored counts."""

    def cached(tenant: str, digest: str, now: float) -> bytes | None:
        return probe.store.read(lambda reader: reader.cached(tenant, digest, now))

    probe.store.run(lambda tx: tx.cache("a", "d", b"old", NOW + 5))
    probe.store.run(lambda tx: tx.cache("a", "d", b"\x00new" * 5_000, NOW + 10))
    same(cached("a", "d", NOW + 9), b"\x00new" * 5_000, "before it expires")
    same(cached("a", "d", NOW + 11), None, "after it expired")
    same((cached("b", "d", NOW), cached("a", "e", NOW)), (None, None), "another tenant, another digest")


def prune_all(probe: Probe, rule: Retention, now: float) -> Pruned:
    """Prune until no more is left; the sum."""
    total = Pruned()
    for _ in range(200):
        part = probe.store.run(lambda tx: tx.prune(rule, now))
        total = Pruned(
            total.tasks + part.tasks, total.events + part.events, total.reservations + part.reservations
        )
        if not part.more:
            return total
    raise AssertionError(f"prune still says more after 200 chunks: {total}")


def check_prune_by_age(probe: Probe) -> None:
    """Tasks that ended before go with all they had; younger ones and those that have not ended stay."""
    old, young, waiting = probe.running(), probe.running(), probe.add(idempotency_key="w", fingerprint="f")
    probe.record(step_of(old, "a", b"x" * 9_000))
    probe.finish(old, at=NOW + 10, result='"old"')
    probe.finish(young, at=NOW + 20, result='"young"')
    same(prune_all(probe, Retention(finished_before=NOW + 15), NOW + 10**6).tasks, 1, "pruned tasks")
    same(probe.store.read(lambda reader: reader.task(old.id)), None, "the old task")
    same(probe.store.read(lambda reader: reader.journal(old.seq)), [], "its journal")
    same((probe.view(young.id).result, probe.status(waiting.id)), ("young", TaskStatus.QUEUED), "the others")
    same(probe.counts().get(TaskStatus.QUEUED), 1, "tally of waiting tasks")
    assert probe.store.run(lambda tx: tx.prune(Retention(), NOW + 10**6)) == Pruned(), (
        "an empty rule removed something"
    )


def check_prune_spares_unwritten_lines(probe: Probe) -> None:
    """A task of a batch stays until its line is in the batch's files, whatever its age."""
    batch = open_batch(probe)
    tasks = [probe.running(batch=batch.id, position=n) for n in range(2)]
    for task in tasks:
        probe.finish(task)
    rule = Retention(finished_before=NOW + 1)
    same(prune_all(probe, rule, NOW + 1).tasks, 0, "pruned before anything is written")
    first = lines_after(probe, batch, 0)[0]
    probe.store.run(lambda tx: tx.update_batch(replace(batch, written_no=first.no)))
    same(prune_all(probe, rule, NOW + 1).tasks, 1, "pruned after one line is written")
    same([line.position for line in lines_after(probe, batch, 0)], [1], "lines left")


def check_prune_in_chunks(probe: Probe) -> None:
    """One call removes at most a chunk of tasks and says whether more are left."""
    for _ in range(5):
        probe.finish(probe.running())
    rule = Retention(finished_before=NOW + 1, chunk=2)
    parts = [probe.store.run(lambda tx: tx.prune(rule, NOW + 1)) for _ in range(4)]
    assert all(part.tasks <= 2 for part in parts), f"more than a chunk at once: {parts}"
    same(parts[0].more, True, "more after the first chunk")
    same(sum(part.tasks for part in parts), 5, "removed")
    same(parts[-1].more, False, "more after the last chunk")


def check_prune_frees_the_key(probe: Probe) -> None:
    """An idempotency key is kept as long as its task, no longer."""
    key: dict[str, Any] = {"idempotency_key": "k", "fingerprint": "f"}
    probe.finish(probe.running(**key))
    prune_all(probe, Retention(finished_before=NOW + 1), NOW + 1)
    probe.add(**key)


def check_prune_events(probe: Probe) -> None:
    """Events go by their own age; numbering goes on."""
    task = probe.running()
    probe.finish(task, at=NOW + 50)
    last = probe.store.read(lambda reader: reader.last_event())
    same(prune_all(probe, Retention(events_before=NOW + 10), NOW + 60).events, 2, "pruned events")
    same(probe.kinds(task.seq), ["finished"], "events left")
    prune_all(probe, Retention(events_before=NOW + 100), NOW + 100)
    probe.add(at=NOW + 200)
    events = probe.store.read(lambda reader: reader.events(0))
    assert [event.no > last for event in events] == [True], f"numbers after {last}: {events}"


def check_prune_reservations(probe: Probe) -> None:
    """Old reservations go unless they are held or uncertain; what was spent stays booked."""
    held, uncertain, done, young = (
        probe.reserve(),
        probe.reserve(),
        probe.reserve(),
        probe.reserve(at=NOW + 100),
    )
    probe.settle(
        settled(uncertain, ReservationState.UNCERTAIN),
        settled(done, ReservationState.SETTLED, cost=5),
        settled(young, ReservationState.SETTLED, NOW + 100, cost=6),
    )
    before = probe.booked()
    same(prune_all(probe, Retention(reservations_before=NOW + 50), NOW + 200).reservations, 1, "pruned")
    rows = probe.store.read(lambda reader: reader.reservations(tuple(ReservationState)))
    same(sorted(row.id for row in rows), [held, uncertain, young], "reservations left")
    same(probe.booked(), before, "spent and uncertain")


def check_prune_by_bytes(probe: Probe) -> None:
    """Ended tasks go, oldest first, until the live data fits; what has not ended stays, whatever its size."""
    text = '{"t":"' + "y" * 100_000 + '"}'
    ended = []
    for n in range(12):
        ended.append(probe.running(payload=text.replace("y", "abcdefghijkl"[n])))
        probe.finish(ended[-1], at=NOW + n)
    waiting = probe.add(payload=text)
    prune_all(probe, Retention(max_bytes=700_000, chunk=1), NOW + 99)
    left = [probe.store.read(lambda reader, id=task.id: reader.task(id)) is not None for task in ended]  # type: ignore[misc]
    assert left == sorted(left), f"not the oldest first: {left}"
    assert not left[0], "nothing was removed"
    assert left[-1], "all was removed though some would have fitted"
    same(probe.status(waiting.id), TaskStatus.QUEUED, "the waiting task")
    prune_all(probe, Retention(max_bytes=1), NOW + 99)
    same(len(probe.store.read(lambda reader: reader.tasks(TaskFilter()))), 1, "tasks when nothing fits")


def check_equal_values_survive_each_other(probe: Probe) -> None:
    """Large values that two steps have in common stay while one of them is there."""
    value = b"z" * 50_000
    first, second = probe.running(), probe.running()
    probe.record(step_of(first, "a", value), step_of(second, "a", value))
    probe.finish(first)
    prune_all(probe, Retention(finished_before=NOW + 1), NOW + 1)
    steps = probe.store.read(lambda reader: reader.journal(second.seq))
    same([step.value == value for step in steps], [True], "value of the other step")


def check_upkeep(probe: Probe) -> None:
    """A store tells its sizes, compacts and finds nothing wrong with itself."""
    tasks = [task_named(payload=f'"{n}"') for n in range(20)]
    probe.offer(*tasks)
    sizes: dict[str, Any] = probe.store.read(lambda reader: reader.sizes())
    assert sizes, "no sizes"
    assert all(isinstance(size, int) and size >= 0 for size in sizes.values()), (
        f"sizes are no counts: {sizes}"
    )
    probe.store.run(lambda tx: tx.cancel(where_id(*[task.id for task in tasks]), NOW))
    prune_all(probe, Retention(finished_before=NOW + 1), NOW + 1)
    probe.store.compact()
    same(probe.store.verify(), [], "verify")


CHECKS = (
    check_batch,
    check_finished_lines,
    check_batch_line_waits_for_its_file,
    check_finished_no_is_never_used_again,
    check_events,
    check_settings,
    check_cache,
    check_prune_by_age,
    check_prune_spares_unwritten_lines,
    check_prune_in_chunks,
    check_prune_frees_the_key,
    check_prune_events,
    check_prune_reservations,
    check_prune_by_bytes,
    check_equal_values_survive_each_other,
    check_upkeep,
)
