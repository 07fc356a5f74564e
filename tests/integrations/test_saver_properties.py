"""Whatever is put, in whatever order: ours reads as LangGraph's own, and the store stays in order."""

from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver

from penstock.integrations.langgraph import PenstockSaver

CHANNELS = ("a", "b", "c")

changes = st.sampled_from(["grow", "cut", "other", "gone", "keep", "keep"])
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.integers(0, 9), st.tuples(changes, changes, changes), st.integers(1, 900)
        ),
        st.tuples(
            st.just("write"), st.integers(0, 9), st.integers(0, 2), st.sampled_from([*CHANNELS, "__error__"])
        ),
        st.tuples(st.just("thread"), st.integers(0, 1)),
        st.tuples(st.just("delete")),
        st.tuples(st.just("copy")),
    ),
    max_size=25,
)


class Story:
    """Puts the same into both, a thread at a time; `parents` are the checkpoints that there are of it."""

    def __init__(self, ours):
        self.both = ours, InMemorySaver()
        self.thread = "t0"
        self.parents = {"t0": [], "t1": []}
        self.states = {}

    def config(self, id=None):
        given = {"thread_id": self.thread, "checkpoint_ns": ""}
        return {"configurable": given | ({"checkpoint_id": id} if id else {})}

    def chosen(self, number):
        there = self.parents[self.thread]
        return there[-1 - number % len(there)] if there else None

    def put(self, number, changed, size):
        parent = self.chosen(number)
        values, versions = map(dict, self.states.get(parent, ({}, {})))
        new = {}
        for channel, change in zip(CHANNELS, changed, strict=True):
            if change == "keep":
                continue
            new[channel] = versions[channel] = self.both[0].get_next_version(versions.get(channel), None)
            before = values.pop(channel, [])
            if change != "gone":
                values[channel] = {"grow": [*before, "x" * size], "cut": before[1:], "other": [size]}[change]
        id = str(uuid6())
        checkpoint = {
            "v": 4, "id": id, "ts": "", "channel_values": values, "channel_versions": versions,
            "versions_seen": {}, "updated_channels": None,
        }  # fmt: skip
        for saver in self.both:
            saver.put(self.config(parent), checkpoint, {"source": "loop", "step": size}, new)
        self.parents[self.thread].append(id)
        self.states[id] = values, versions

    def write(self, number, task, channel):
        parent = self.chosen(number)
        for saver in self.both if parent else ():
            saver.put_writes(
                self.config(parent), [(channel, number), ("b", "y" * 3000)], f"task{task}", f"~{number % 3}"
            )

    def delete(self):
        for saver in self.both:
            saver.delete_thread(self.thread)
        self.parents[self.thread].clear()

    def copy(self):
        self.both[0].copy_thread(self.thread, "copy")
        self.both[0].copy_thread(self.thread, "copy")
        assert [one.checkpoint for one in self.both[0].list({"configurable": {"thread_id": "copy"}})] == [
            one.checkpoint for one in self.both[1].list(self.config())
        ]
        self.both[0].delete_thread("copy")

    def same(self):
        ours, theirs = ([one._asdict() for one in saver.list(self.config())] for saver in self.both)
        assert ours == theirs
        for id in self.parents[self.thread]:
            found = [
                saver.get_delta_channel_history(config=self.config(id), channels=CHANNELS)
                for saver in self.both
            ]
            assert found[0] == found[1]


@settings(max_examples=60)
@given(steps)
def test_ours_reads_as_theirs(told):
    with PenstockSaver.from_store("memory") as ours:
        story = Story(ours)
        for what, *how in told:
            if what == "thread":
                story.thread = f"t{how[0]}"
            else:
                getattr(story, what)(*how)
        for story.thread in ("t0", "t1"):
            story.same()
        assert ours._access._store.verify() == []
        newest = [ours.get_tuple({"configurable": {"thread_id": thread}}) for thread in ("t0", "t1")]
        ours.prune(["t0", "t1"])
        pruned = [ours.get_tuple({"configurable": {"thread_id": thread}}) for thread in ("t0", "t1")]
        assert pruned == newest
        assert len(list(ours.list(None))) == sum(one is not None for one in newest)
        assert ours._access._store.verify() == []
        ours.prune(["t0", "t1"], strategy="delete")
        assert ours._access._store.read(lambda reader: reader.sizes())["content_bytes"] == 0
        assert ours._access._store.verify() == []
