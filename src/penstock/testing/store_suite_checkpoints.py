"""What a store promises about checkpoints of graphs."""

from __future__ import annotations

from hashlib import shake_128
from typing import Any

from penstock.model.checkpoint import (
    ChannelPast,
    ChannelWrite,
    CheckpointAt,
    CheckpointFilter,
    NewCheckpoint,
    StoredCheckpoint,
    TypedBytes,
)
from penstock.stores.contract import Retention
from penstock.testing.store_probe import NOW, Probe, same

# Kept apart, in a log, and perhaps in parts.
LARGE = shake_128(b"large").digest(20_000)


def typed(body: bytes, head: bytes = b"") -> TypedBytes:
    return TypedBytes("bytes", body, head)


def new(
    id: str,
    parent: str | None = None,
    values: dict[str, tuple[int, bytes]] | None = None,
    *,
    versions: dict[str, int] | None = None,
    thread: str = "t",
    ns: str = "",
    **more: Any,
) -> NewCheckpoint:
    """A checkpoint whose `values` are (version, bytes) by channel, with older `versions` beside them; `more`:
    `run`, `rebuilt`."""
    given = values or {}
    everything = (versions or {}) | {channel: version for channel, (version, _) in given.items()}
    return NewCheckpoint(
        CheckpointAt(thread, ns, id),
        parent,
        typed(f"body of {id}".encode()),
        typed(f"metadata of {id}".encode()),
        tuple(everything.items()),
        tuple((channel, version, typed(body, b"h")) for channel, (version, body) in given.items()),
        **more,
    )


def write(task: str, index: int, body: bytes = b"1", channel: str = "c", path: str = "") -> ChannelWrite:
    return ChannelWrite(task, index, channel, typed(body), path)


def put(probe: Probe, *checkpoints: NewCheckpoint, now: float = NOW, ttl: float | None = None) -> None:
    for one in checkpoints:
        probe.store.run(lambda tx, one=one: tx.put_checkpoint(one, now, ttl))  # type: ignore[misc]


def put_writes(probe: Probe, at: CheckpointAt, *writes: ChannelWrite) -> None:
    probe.store.run(lambda tx: tx.put_channel_writes(at, writes, NOW))


def found(probe: Probe, id: str | None = None, thread: str = "t", ns: str = "") -> StoredCheckpoint | None:
    return probe.store.read(lambda reader: reader.checkpoint(CheckpointAt(thread, ns, id)))


def values(probe: Probe, id: str | None = None, thread: str = "t", ns: str = "") -> dict[str, bytes]:
    one = found(probe, id, thread, ns)
    assert one is not None, f"there is no checkpoint {id} of {thread}"
    return {channel: value.body for channel, value in one.values}


def ids(probe: Probe, where: CheckpointFilter | None = None) -> list[str | None]:
    wanted = where or CheckpointFilter()
    return [one.at.id for one in probe.store.read(lambda reader: reader.checkpoints(wanted))]


def content_bytes(probe: Probe) -> int:
    return probe.store.read(lambda reader: reader.sizes())["content_bytes"]


def check_checkpoints_are_kept(probe: Probe) -> None:
    """A checkpoint reads back as it was put, by id or as the newest; one of the same id takes its place."""
    put(probe, new("1", None, {"a": (1, b"x"), "b": (1, LARGE)}), new("2", "1", {"a": (2, b"y")}))
    one = found(probe, "1")
    assert one is not None, "checkpoint 1 is not there"
    same((one.parent, one.body, one.metadata), (None, typed(b"body of 1"), typed(b"metadata of 1")), "kept")
    same(dict(one.values)["b"], typed(LARGE, b"h"), "a large value, with its head")
    newest = found(probe)
    assert newest is not None, "no newest"
    same((newest.at, newest.parent), (CheckpointAt("t", "", "2"), "1"), "the newest")
    put(probe, new("2", "1", {"a": (3, b"z")}))
    same(values(probe), {"a": b"z"}, "replaced")
    same(found(probe, "3"), None, "no such checkpoint")
    same(found(probe, ns="sub"), None, "no such namespace")


def check_unchanged_channels_are_named(probe: Probe) -> None:
    """A checkpoint has the values of all its versions, also of those put before; none of others."""
    put(probe, new("1", None, {"a": (1, b"x"), "b": (1, LARGE)}))
    before = content_bytes(probe)
    put(
        probe, new("2", "1", {"a": (2, b"y")}, versions={"b": 1, "gone": 4}), new("3", "2", versions={"a": 1})
    )
    same(values(probe, "2"), {"a": b"y", "b": LARGE}, "of the second")
    same(values(probe, "3"), {"a": b"x"}, "of the third")
    same(content_bytes(probe), before, "bytes for what did not change")


def check_growing_values_cost_what_is_new(probe: Probe) -> None:
    """A value that begins as the parent's did costs its tail; each version reads back; branches are apart."""
    grown = [LARGE + b"-" * 100 * n for n in range(50)]
    put(probe, *(new(f"{n:03}", f"{n - 1:03}" if n else None, {"a": (n, grown[n])}) for n in range(50)))
    assert content_bytes(probe) < 3 * len(LARGE), f"50 versions cost {content_bytes(probe)} bytes"
    same([values(probe, f"{n:03}")["a"] for n in range(50)], grown, "every version")
    put(probe, new("100", "020", {"a": (51, grown[20] + b"other")}))
    put(probe, new("101", "100", {"a": (52, grown[20] + b"other and more")}))
    put(probe, new("102", "101", {"a": (53, LARGE[:9000])}))
    same(values(probe, "100")["a"], grown[20] + b"other", "a branch")
    same(values(probe, "101")["a"], grown[20] + b"other and more", "the branch, longer")
    same(values(probe, "102")["a"], LARGE[:9000], "one that became shorter")
    same(values(probe, "049")["a"], grown[49], "the trunk")


def check_checkpoints_are_listed(probe: Probe) -> None:
    """`checkpoints` pages through what matches, largest id first."""
    put(probe, *(new(f"{n}", None, {"a": (n, b"x")}) for n in range(1, 6)))
    put(probe, new("7", ns="sub"), new("6", thread="u"))
    same(ids(probe), ["7", "6", "5", "4", "3", "2", "1"], "all")
    same(ids(probe, CheckpointFilter("t")), ["7", "5", "4", "3", "2", "1"], "of a thread")
    same(ids(probe, CheckpointFilter("t", "")), ["5", "4", "3", "2", "1"], "of a namespace")
    same(ids(probe, CheckpointFilter("t", "", "4")), ["4"], "of an id")
    same(ids(probe, CheckpointFilter(ns="sub")), ["7"], "of a namespace of any thread")
    same(ids(probe, CheckpointFilter("t", "", before="3")), ["2", "1"], "before one")
    same(ids(probe, CheckpointFilter("nobody")), [], "of nobody")
    odd = CheckpointFilter("t", "", accept=lambda metadata: metadata.body[-1:] in b"135")
    first = probe.store.read(lambda reader: reader.checkpoints(odd, None, 2))
    rest = probe.store.read(lambda reader: reader.checkpoints(odd, first[-1], 2))
    same([one.at.id for one in (*first, *rest)], ["5", "3", "1"], "pages of what is accepted")
    same(dict(rest[0].values), {"a": typed(b"x", b"h")}, "with values")


def check_pending_writes(probe: Probe) -> None:
    """Writes come back by (path, task, index), also those that came first; a second one of the same index is
    left out, with a negative index it replaces."""
    at = CheckpointAt("t", "", "1")
    put_writes(probe, at, write("b", 0, path="~1"), write("b", 1, LARGE, path="~1"), write("a", 0, path="~2"))
    put(probe, new("1"))
    put_writes(probe, at, write("a", 0, b"again", path="~2"), write("a", -1, b"old"), write("a", -1, b"new"))
    one = found(probe)
    assert one is not None, "the checkpoint is not there"
    same(
        [(each.task, each.index, each.value.body) for each in one.writes],
        [("a", -1, b"new"), ("b", 0, b"1"), ("b", 1, LARGE), ("a", 0, b"1")],
        "writes in order",
    )
    same(found(probe, "1", ns="sub"), None, "writes make no checkpoint")


def check_channel_pasts(probe: Probe) -> None:
    """`channel_pasts` gives the writes since the nearest value along the ancestors, and that value; what
    another branch or the checkpoint itself has is not in it."""
    put(probe, new("000", None, {"a": (1, b"seed"), "b": (1, b"plain")}))
    for n in range(1, 300):
        put(probe, new(f"{n:03}", f"{n - 1:03}", versions={"a": n + 1}, rebuilt=("a",)))
    put(probe, new("500", "250", versions={"a": 999}, rebuilt=("a",)))
    for n in (0, 7, 250, 299):
        at = CheckpointAt("t", "", f"{n:03}")
        put_writes(probe, at, write("y", 0, b"%d" % n, "a", "~2"), write("z", 0, b"0", "a", "~1"))
    put_writes(probe, CheckpointAt("t", "", "500"), write("y", 0, b"pending", "a"))
    pasts = probe.store.read(
        lambda reader: reader.channel_pasts(CheckpointAt("t", "", "500"), ["a", "b", "none"])
    )
    same([one.value.body for one in pasts["a"].writes], [b"0", b"0", b"0", b"7", b"0", b"250"], "writes")
    same((pasts["a"].seed, pasts["b"].seed), (typed(b"seed", b"h"), typed(b"plain", b"h")), "seeds")
    same(pasts["none"], ChannelPast(), "a channel that is not there")
    nothing = probe.store.read(lambda reader: reader.channel_pasts(CheckpointAt("no"), ["a"]))
    same(nothing, {"a": ChannelPast()}, "a thread that is not there")


def check_keep_newest(probe: Probe) -> None:
    """The newest of each namespace stays with what belongs to it, and the ancestors it is made again from."""
    chain = [new(f"{n}", f"{n - 1}" if n else None, {"a": (n, LARGE + b"x" * n)}) for n in range(5)]
    put(
        probe, *chain, new("8", ns="sub"), new("9", "8", ns="sub"), new("0", thread="u"), new("1", thread="u")
    )
    for id in ("3", "4", "5"):  # of 5 the checkpoint is still to come
        put_writes(probe, CheckpointAt("t", "", id), write("a", 0, LARGE + id.encode()))
    same(probe.store.run(lambda tx: tx.keep_newest(["t", "nobody"])), 5, "gone")
    same(ids(probe), ["9", "4", "1", "0"], "left")
    same(values(probe)["a"], LARGE + b"xxxx", "the value of the newest")
    put(probe, new("5", "4", versions={"a": 4}))
    same(len(getattr(found(probe, "5"), "writes", ())), 1, "writes that came before their checkpoint")
    rebuilt = [
        new(f"{n}", f"{n - 1}", versions={"d": 30, "e": 40}, rebuilt=("d", "e"), thread="v") for n in (5, 6)
    ]
    seeds = [
        new(f"{n}", f"{n - 1}", {c: (n, b"s")}, thread="v")
        for n, c in ((1, "x"), (2, "d"), (3, "d"), (4, "e"))
    ]
    put(probe, *seeds, *rebuilt)
    probe.store.run(lambda tx: tx.keep_newest(["v"]))
    same(ids(probe, CheckpointFilter("v")), ["6", "5", "4", "3"], "with the ancestors that are needed")


def check_threads_are_dropped(probe: Probe) -> None:
    """`drop_threads` forgets all of a thread and leaves nothing behind."""
    for thread in ("t", "u"):
        put(probe, new("1", None, {"a": (1, LARGE)}, thread=thread), new("2", thread=thread, ns="sub"))
        put_writes(probe, CheckpointAt(thread, "", "1"), write("a", 0, LARGE))
    same(probe.store.run(lambda tx: tx.drop_threads(["t", "nobody"])), 1, "dropped")
    same((found(probe), values(probe, "1", "u")), (None, {"a": LARGE}), "what is left")
    probe.store.run(lambda tx: tx.drop_threads(["u"]))
    same(content_bytes(probe), 0, "bytes left")


def check_runs_are_dropped(probe: Probe) -> None:
    """`drop_runs` forgets the checkpoints of runs in all threads, and names threads whose checkpoints lose
    what they are made from; a thread that has nothing left is gone."""
    put(probe, new("1", None, {"d": (1, LARGE)}, run="r"), new("2", "1", run="s", rebuilt=("d",)))
    put(probe, new("1", run="r", thread="u"), new("1", run="r", ns="sub"))
    put_writes(probe, CheckpointAt("t", "", "1"), write("a", 0, LARGE))
    same(probe.store.run(lambda tx: tx.drop_runs([])), [], "of no runs")
    same(probe.store.run(lambda tx: tx.drop_runs(["r", "other"])), ["t"], "threads that lost something")
    same(ids(probe), ["2"], "left")
    same([one.id for one in probe.store.read(lambda reader: reader.threads())], ["t"], "threads left")
    same(content_bytes(probe), 0, "bytes left")


def check_threads_are_copied(probe: Probe) -> None:
    """A copy has all checkpoints, namespaces and writes, shares large values, and lives on its own; copying
    again changes nothing."""
    put(probe, new("1", None, {"a": (1, LARGE)}), new("2", "1", {"a": (2, LARGE + b"2")}), new("3", ns="sub"))
    put_writes(probe, CheckpointAt("t", "", "2"), write("a", 0, LARGE + b"w"))
    before = content_bytes(probe)
    for _ in range(2):
        probe.store.run(lambda tx: tx.copy_thread("t", "u", NOW))
    probe.store.run(lambda tx: tx.copy_thread("u", "u", NOW))
    probe.store.run(lambda tx: tx.copy_thread("nobody", "none", NOW))
    same(content_bytes(probe), before, "bytes for the copy")
    same(ids(probe, CheckpointFilter("u")), ["3", "2", "1"], "copied")
    one, other = found(probe, thread="t"), found(probe, thread="u")
    same(getattr(other, "values", 0), getattr(one, "values", 1), "values")
    same(getattr(other, "writes", 0), getattr(one, "writes", 1), "writes")
    put(probe, new("4", "2", {"a": (3, LARGE + b"23")}), new("4", "2", {"a": (3, LARGE + b"24")}, thread="u"))
    same(values(probe)["a"] + values(probe, thread="u")["a"], LARGE + b"23" + LARGE + b"24", "both went on")
    probe.store.run(lambda tx: tx.drop_threads(["t"]))
    same(values(probe, "2", "u")["a"], LARGE + b"2", "the copy outlives its source")


def check_threads_are_listed(probe: Probe) -> None:
    """`threads` pages through those whose ids begin so, by id, and says how they stand."""
    put(probe, new("1"), new("2"), new("3", ns="sub"))
    put(
        probe,
        new("1", thread="team/a"),
        new("1", thread="team/b"),
        new("1", thread="team/c"),
        now=NOW + 1,
        ttl=60,
    )
    page = probe.store.read(lambda reader: reader.threads("team/", "", 2))
    rest = probe.store.read(lambda reader: reader.threads("team/", page[-1].id, 2))
    same([one.id for one in (*page, *rest)], ["team/a", "team/b", "team/c"], "pages")
    same((page[0].touched_at, page[0].expires_at), (NOW + 1, NOW + 61), "stamps")
    (one,) = probe.store.read(lambda reader: reader.threads("t", "", 1))
    same(
        (one.id, one.checkpoints, one.namespaces, one.expires_at),
        ("t", 3, ("", "sub"), None),
        "how it stands",
    )


def check_threads_expire(probe: Probe) -> None:
    """A thread is dropped when nothing was written for its ttl, by `drop_idle_threads` and by `prune`; a
    write puts it off."""
    for thread, ttl in (("a", 10.0), ("b", 20.0), ("c", None), ("d", 10.0)):
        put(probe, new("1", None, {"a": (1, LARGE)}, thread=thread), ttl=ttl)
    probe.store.run(
        lambda tx: tx.put_channel_writes(CheckpointAt("d", "", "1"), [write("w", 0)], NOW + 9, 100)
    )
    same(probe.store.run(lambda tx: tx.drop_idle_threads(NOW + 9)), 0, "too early")
    same(probe.store.run(lambda tx: tx.drop_idle_threads(NOW + 10)), 1, "in time")
    same(probe.store.run(lambda tx: tx.prune(Retention(), NOW + 20)).threads, 1, "by prune")
    same([one.id for one in probe.store.read(lambda reader: reader.threads())], ["c", "d"], "left")


CHECKS = (
    check_checkpoints_are_kept,
    check_unchanged_channels_are_named,
    check_growing_values_cost_what_is_new,
    check_checkpoints_are_listed,
    check_pending_writes,
    check_channel_pasts,
    check_keep_newest,
    check_threads_are_dropped,
    check_runs_are_dropped,
    check_threads_are_copied,
    check_threads_are_listed,
    check_threads_expire,
)
