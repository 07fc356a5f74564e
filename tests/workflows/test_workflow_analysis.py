"""Execution analysis: the critical path is the longest chain, and the figures add up."""

import json
import time
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidWorkflow
from penstock.model.group import MemberView
from penstock.model.states import TaskStatus
from penstock.workflows.analysis import NodeRecord, analyse, record_of


def record(id, after=(), started=None, finished=None, **more):
    status = "completed" if finished is not None else "queued"
    details = {"type": "work", "status": status, "created": 0.0, **more}
    return NodeRecord(id=id, after=tuple(after), started=started, finished=finished, **details)


@st.composite
def runs(draw):
    """A DAG that ran: each node started after its needs had ended; whole seconds, so that sums are exact."""
    records = []
    for number in range(draw(st.integers(1, 9))):
        after = draw(st.lists(st.sampled_from(records), unique_by=id, max_size=3)) if records else []
        freed = max([one.finished for one in after], default=0)
        started = freed + draw(st.integers(0, 3))
        records.append(
            record(
                f"n{number}",
                [one.id for one in after],
                started,
                started + draw(st.integers(0, 5)),
                freed=freed,
                cost=draw(st.integers(0, 10**12)),
            )
        )
    return draw(st.permutations(records))


def chains(records):
    """Every chain of dependent nodes that begins at one without needs."""
    by_id = {one.id: one for one in records}

    def ending_with(one):
        if not one.after:
            return [[one.id]]
        return [[*chain, one.id] for id in one.after for chain in ending_with(by_id[id])]

    return [chain for one in records for chain in ending_with(one)]


@given(runs())
def test_the_critical_path_is_the_longest_chain(records):
    run = analyse(records)
    length = {one.id: one.finished - one.started for one in records}
    longest = max(sum(length[id] for id in chain) for chain in chains(records))
    assert run.critical_seconds == longest
    assert sum(length[id] for id in run.critical_path) == longest
    after = {one.id: one.after for one in records}
    assert all(earlier in after[later] for earlier, later in pairwise(run.critical_path))
    for node in run.nodes:
        through = max(sum(length[id] for id in chain) for chain in chains(records) if node.id in chain)
        assert node.slack_seconds == longest - through
        assert not node.critical or node.slack_seconds == 0


@given(runs())
def test_the_figures_add_up(records):
    run = analyse(records)
    assert run.total_seconds == max(one.finished for one in records)
    assert run.run_seconds == sum(node.run_seconds for node in run.nodes)
    assert run.critical_seconds <= run.total_seconds
    assert int(run.cost * 10**12) == sum(one.cost for one in records)
    by_id = {node.id: node for node in run.nodes}
    for one in records:
        node = by_id[one.id]
        assert node.blocked_seconds + node.queued_seconds == one.started
        assert node.begin == one.started
    busy = [sum(one.started <= at < one.finished for one in records) for at in range(40)]
    assert run.most_at_once == max(busy)
    chain = [by_id[id] for id in run.held_up]
    assert chain[-1].begin + chain[-1].run_seconds == run.total_seconds
    assert sum(node.queued_seconds + node.run_seconds for node in chain) == run.total_seconds
    json.dumps(run.as_dict())
    ET.fromstring(run.as_svg())
    assert run.as_text()


REPORT = [
    record("collect", (), 100.1, 103, created=100, cost=10**10, tokens=1200, attempts=1),
    record("prices", (), 100.1, 105.5, created=100, cost=2 * 10**10, attempts=2, waits={"rate limit": 2.0}),
    record("charts", ["collect"], 103.2, 104, created=100, freed=103),
    record(
        "write",
        ["collect", "prices", "charts"],
        105.6,
        112,
        created=100,
        freed=105.5,
        cost=10**11,
        tokens=9000,
        status="failed",
    ),
    record("send", ["write"], created=100, status="cancelled"),
]


def test_as_text():
    assert analyse(REPORT, name="market").as_text() == "\n".join(
        [
            "workflow market: 5 nodes in 12.00 s (1 cancelled, 3 completed, 1 failed)",
            "running 15.50 s in all, 1.3 at once on average, 2 at most; $0.13, 10,200 tokens",
            "critical path, 11.80 s: prices → write",
            "",
            "   node     status                  blocked  queued     ran   slack   cost  tokens  waited for",
            "   collect  completed                  0 ms  100 ms  2.90 s  1.70 s  $0.01   1,200",
            "*  prices   completed (2 attempts)     0 ms  100 ms  5.40 s    0 ms  $0.02       0  "
            "rate limit 2.00 s",
            "   charts   completed                3.00 s  200 ms  800 ms  1.70 s  $0.00       0  collect",
            "*  write    failed                   5.50 s  100 ms  6.40 s    0 ms  $0.10   9,000  prices",
            "   send     cancelled               12.00 s    0 ms    0 ms    0 ms  $0.00       0  write",
            "* on the critical path",
        ]
    )


def test_as_json():
    form = json.loads(json.dumps(analyse(REPORT, name="market").as_dict()))
    assert form["critical_path"] == ["prices", "write"]
    assert form["cost"] == "0.130000000000"
    write = next(node for node in form["nodes"] if node["id"] == "write")
    assert (write["waited_for"], write["critical"], write["status"]) == ("prices", True, "failed")
    assert form["statuses"] == {"completed": 3, "failed": 1, "cancelled": 1}


def test_as_a_picture():
    odd = record("odd", (), 1, 2, type="<script>&\x00")
    root = ET.fromstring(analyse([*REPORT, odd], name='a "<b>"').as_svg())
    space = "{http://www.w3.org/2000/svg}"
    bars = [one.get("class") for one in root.iter(f"{space}rect")]
    assert bars.count("critical") == 1
    assert bars.count("critical failed") == 1
    assert not [one for one in root.iter() if "href" in one.attrib or one.tag.endswith("script")]


def test_members_of_a_group_as_records():
    member = MemberView(
        7,
        "0123",
        "a",
        "work",
        TaskStatus.COMPLETED,
        True,
        2,
        1.0,
        2.0,
        3.0,
        5.0,
        9,
        10,
        20,
        10**12,
        None,
        None,
    )
    assert record_of(member, ["b"]) == NodeRecord(
        "a", "work", ("b",), "completed", 1.0, 2.0, 3.0, 5.0, 2, 10**12, 30
    )


def test_a_run_under_way():
    run = analyse([record("a", (), 0, 4), record("b", ["a"], 5), record("c", ["b"])], now=11)
    assert [(node.id, node.run_seconds) for node in run.nodes] == [("a", 4), ("b", 6), ("c", 0)]
    assert run.total_seconds == 11
    assert run.nodes[2].begin is None


def test_needs_outside_of_the_workflow_are_left_out():
    run = analyse([record("a", ["gone"], 1, 2)])
    assert run.nodes[0].waited_for is None
    assert run.critical_path == ("a",)


def test_nothing_and_nothing_that_ran():
    assert analyse([], name="x").as_text() == "workflow x: no nodes"
    run = analyse([record("a"), record("b", ["a"])])
    assert (run.critical_path, run.held_up, run.parallelism) == ((), (), 0.0)
    ET.fromstring(run.as_svg())
    assert "nothing ran" in run.as_text()


def test_a_cycle_is_refused():
    with pytest.raises(InvalidWorkflow, match="in a cycle"):
        analyse([record("a", ["b"]), record("b", ["a"])])


def test_large_runs_are_quick_and_shown_in_short():
    chain = [
        record(f"n{number}", [f"n{one}" for one in range(max(0, number - 10), number)], number, number + 1)
        for number in range(10_000)
    ]
    begin = time.process_time()
    run = analyse(chain)
    written, picture = run.as_text(), run.as_svg()
    assert time.process_time() - begin < 3  # 0.3 s on a quiet machine
    assert len(run.critical_path) == 10_000
    assert "and 9,940 more nodes" in written
    assert "(9988 more)" in written
    assert "9700 shorter nodes left out" in picture
