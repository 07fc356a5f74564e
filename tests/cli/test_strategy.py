"""`penstock strategy`: what orders a store, and switching it; ranks and flows in words; deadlines."""

import asyncio
import json
import time

import pytest

from penstock import Manager, Settings, Submission, TaskFilter
from penstock.cli.assignments import read_assignments
from penstock.cli.rank_words import rank_words
from penstock.cli.run.desk import ClientDesk
from penstock.cli.strategy import switch
from penstock.errors import ConfigurationError
from penstock.model.lane import Lane
from penstock.model.rank import Rank
from penstock.model.standing import Program, Standing
from penstock.model.states import TaskStatus
from penstock.policies import policy_named, policy_names
from penstock.runtime.figures import SETTING, Deadlines, Figures, FlowFigures, read_figures
from penstock.runtime.reranking import ASKED, Told, rerank_store
from penstock.stores.sqlite.store import SqliteStore

LLM = Lane("llm", "small-model")
NOW = 1_700_000_000.0


def waiting(probe, *priorities, **fields):
    """Tasks of these priorities, each ranked by arrival."""
    now = time.time()
    return [
        probe.add(at=now + place / 1000, lane=LLM, priority=priority, **fields)
        for place, priority in enumerate(priorities)
    ]


def order(probe):
    """Tasks of the line, best first, as places of their arrival."""
    return [seq for seq in probe.store.read(lambda reader: reader.waiting_seqs())]


def by_rank(reader):
    return sorted(reader.tasks(TaskFilter()), key=lambda task: task.rank)


def test_it_tells_the_strategy_in_force_and_lists_all(probe, penstock):
    code, out, _ = penstock("strategy")
    assert code == 0
    assert out.splitlines()[0].startswith("strategy priority orders this store")
    for name in policy_names():
        assert f"\n{name} " in out
    assert "--set time_slice=1.0" in out
    data = json.loads(penstock("strategy", "--json")[1])
    assert data["strategy"] == "priority"
    rules = {one["name"]: one for one in data["strategies"]}
    assert rules["fifo"]["rule"] == "First come, first served."
    assert rules["shortest_job_first"]["settings"] == {"ageing": 0.05}


def test_a_store_at_rest_is_ranked_anew(probe, penstock):
    added = waiting(probe, 10, 30, 20)
    low, high, medium = (one.seq for one in added)
    assert order(probe) == [low, high, medium]
    assert penstock("strategy", "priority")[1] == (
        "strategy priority is in force; 3 waiting tasks ranked anew\n"
    )
    assert order(probe) == [high, medium, low]
    out = penstock("strategy", "fair", "--set", "inside=fifo", "--set", 'weights={"a": 2}')[1]
    assert out.startswith('strategy fair (inside=fifo, weights={"a": 2}) is in force')
    assert order(probe) == [low, high, medium]
    data = json.loads(penstock("strategy", "--json")[1])
    assert (data["settings"], data["ranked"]) == ({"inside": "fifo", "weights": {"a": 2}}, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickest"], "choose one of deadline, fair, fifo"),
        (["fair", "--set", "weigth=2"], "it takes inside, inside_settings, weights"),
        (["round_robin", "--set", "time_slice=0"], "time_slice must be a number above 0"),
        (["fifo", "--set", "much"], "is no setting; give one such as"),
        (["--set", "ageing=1"], "--set goes with a name"),
    ],
)
def test_what_there_is_not_is_refused_and_changes_nothing(probe, penstock, arguments, message):
    waiting(probe, 10, 30)
    before = order(probe)
    code, _, err = penstock("strategy", *arguments)
    assert code == 2
    assert message in err
    assert order(probe) == before
    assert penstock("strategy")[1].startswith("strategy priority")


def test_assignments_are_json_or_text():
    given = ["a=1.5", "b=fifo", "c=[1, 2]", "d=true", 'e={"x": 1}', "f="]
    assert read_assignments(given, "--set") == {
        "a": 1.5, "b": "fifo", "c": [1, 2], "d": True, "e": {"x": 1}, "f": "",
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="names a twice"):
        read_assignments(["a=1", "a=2"], "--set")


async def idle(context):
    await asyncio.sleep(0)


async def test_a_live_process_switches_and_its_refusal_is_told(tmp_path):
    path = str(tmp_path / "live.db")
    manager = Manager(Settings(store=path, strategy="fifo", durability="normal"))
    manager.register("idle", idle)
    async with manager:
        await manager.pause()
        await manager.submit_many([Submission("idle", n, n) for n in (10, 30, 20)])
        with SqliteStore.open(path) as other:
            assert await asyncio.to_thread(switch, other, Told("priority", {})) is None
            rows = await manager.read(by_rank)
            assert [row.priority for row in rows] == [30, 20, 10]
            with pytest.raises(ConfigurationError, match="choose one of"):
                await asyncio.to_thread(switch, other, Told("quickest", {}))
            with pytest.raises(ConfigurationError, match="time_slice"):
                await asyncio.to_thread(switch, other, Told("round_robin", {"time_slice": 0}))
        assert manager.ranker.policy.name == "priority"


def until_asked(store):
    while store.read(lambda reader: reader.setting(ASKED)) is None:
        time.sleep(0.01)


async def test_of_two_switches_at_once_the_later_counts_and_the_earlier_is_told(tmp_path):
    path = str(tmp_path / "two.db")
    with SqliteStore.open(path) as busy, SqliteStore.open(path) as other:
        busy.lock_dispatch()  # a process that does not come to look
        first = asyncio.create_task(asyncio.to_thread(switch, other, Told("deadline", {})))
        await asyncio.to_thread(until_asked, busy)
        busy.run(lambda tx: tx.set_setting(ASKED, Told("fifo", {}).text))
        with pytest.raises(ConfigurationError, match="fifo was named after it, and counts"):
            await asyncio.wait_for(first, 10)


async def test_a_client_ranks_by_the_strategy_of_the_store_even_when_it_is_switched(tmp_path):
    path = str(tmp_path / "c.db")
    with SqliteStore.open(path) as store:
        rerank_store(store, Told("priority", {}), NOW)
        manager = Manager(Settings(store=path), store=store)
        manager.register("idle", idle)
        desk = ClientDesk(manager, store)
        assert desk.prepare(Submission("idle", priority=30)).rank.key < time.time() - 1000
        rerank_store(store, Told("fifo", {}), NOW)
        await desk.run(lambda tx: None)
        assert desk.prepare(Submission("idle", priority=30)).rank.key > time.time() - 1000


async def test_the_strategy_named_last_stays_until_another_is_named(tmp_path):
    path = str(tmp_path / "s.db")

    async def in_force(**settings):
        async with Manager(Settings(store=path, durability="normal", **settings)) as manager:
            told = await manager.read(
                lambda reader: (reader.setting("strategy"), reader.setting("ranked_by"))
            )
            assert told[0] == manager.ranker.policy.name
            return told[1]

    assert await in_force() == '["priority", {}]'
    assert await in_force(strategy="fifo") == '["fifo", {}]'
    assert await in_force() == '["fifo", {}]'
    with SqliteStore.open(path) as store:
        assert rerank_store(store, Told("mlfq", {"boost_seconds": 60}), NOW) == 0
    assert await in_force() == '["mlfq", {"boost_seconds": 60}]'
    assert await in_force(strategy="fifo") == '["fifo", {}]'
    with SqliteStore.open(path) as store:
        store.run(lambda tx: tx.set_setting("strategy_chosen", '["of_my_own", {}]'))
    with pytest.raises(ConfigurationError, match="told to use strategy of_my_own, which cannot be made here"):
        await in_force()
    with pytest.raises(ConfigurationError, match="go with the name of a strategy"):
        Manager(Settings(strategy_settings={"ageing": 1}))


async def test_a_switch_that_was_cut_off_is_made_good_at_the_next_start(tmp_path):
    path = str(tmp_path / "s.db")
    manager = Manager(Settings(store=path, strategy="fifo", durability="normal"))
    manager.register("idle", idle)
    async with manager:
        await manager.pause()
        await manager.submit_many([Submission("idle", n, n) for n in (10, 30, 20)])
    with SqliteStore.open(path) as store:
        store.run(
            lambda tx: (
                tx.set_setting("strategy_chosen", '["priority", {}]'),
                tx.set_setting("ranked_by", ""),
            )
        )
    async with Manager(Settings(store=path, durability="normal")) as manager:
        rows = await manager.read(by_rank)
        assert [row.priority for row in rows] == [30, 20, 10]


def test_why_tells_rank_flow_and_who_goes_first(probe, penstock):
    first, second = waiting(probe, 20, 30)
    penstock("strategy", "priority")
    answer = json.loads(penstock("why", "--json", first.id)[1])
    assert (answer["strategy"], answer["ahead"], answer["ahead_ids"]) == ("priority", 1, [second.id])
    assert answer["explanation"][0].startswith("strategy priority: priority 20, has waited 0")
    assert f"1 task goes first in its line: {second.id}" in answer["explanation"]
    penstock("strategy", "fair", "--set", "inside=fifo")
    other = probe.add(at=time.time(), lane=LLM, tenant="acme", flow="acme")
    figures = Figures(flows={"": FlowFigures(120.0, 1.0), "acme": FlowFigures(60.0, 1.0)})
    probe.store.run(lambda tx: tx.set_setting(SETTING, figures.text()))
    answer = json.loads(penstock("why", "--json", second.id)[1])
    assert (answer["flow"], answer["flows_lower"], answer["ahead_in_flow"]) == ("", 1, 1)
    assert "1 of 1 other waiting flows stand lower and go first" in answer["explanation"][1]
    answer = json.loads(penstock("why", "--json", other.id)[1])
    assert (answer["flow"], answer["flows_lower"], answer["ahead_in_flow"]) == ("acme", 0, 0)
    assert "it is the next one of its flow" in answer["explanation"]


def test_why_reckons_with_the_share_of_a_flow(probe, penstock):
    now = time.time()
    for number in range(10):
        probe.finish(probe.running(now=now - 40 + number, lane=LLM), at=now - 20 + number)
    mine = probe.add(at=now, lane=LLM, flow="")
    penstock("strategy", "fair")
    alone = json.loads(penstock("why", "--json", mine.id)[1])["expected_seconds"]
    figures = Figures(flows={"": FlowFigures(1.0, 1.0), "b": FlowFigures(2.0, 1.0)})
    probe.store.run(lambda tx: tx.set_setting(SETTING, figures.text()))
    answer = json.loads(penstock("why", "--json", mine.id)[1])
    assert answer["expected_seconds"] == pytest.approx(2 * alone, rel=0.2)
    assert any("of which its flow gets 50 %" in line for line in answer["explanation"])
    assert answer["expected_start"] is not None


def test_why_of_a_strategy_this_process_does_not_know(probe, penstock):
    (task,) = waiting(probe, 20)
    probe.store.run(lambda tx: tx.set_setting("strategy_chosen", '["of_my_own", {}]'))
    assert "strategy of_my_own (not known to this process): rank 0, 17" in penstock("why", task.id)[1]


@pytest.mark.parametrize(
    ("name", "standing", "rank", "words"),
    [
        ("fifo", Standing(NOW - 240), None, "it has waited 4 min"),
        ("priority", Standing(NOW - 240, 30), None, "priority 30, has waited 4 min: as if it had entered at"),
        ("preemptive", Standing(NOW, 30), None, "priority 30"),
        ("round_robin", Standing(NOW, level=1, slice_used=0.2), None, "in its turn, 0.2 s of 1.0 s used"),
        ("round_robin", Standing(NOW), None, "it has stood in the line since"),
        ("shortest_job_first", Standing(NOW - 60, size=1200), None, "1,200 tokens estimated; has waited 60"),
        ("shortest_job_first", Standing(NOW), None, "nobody knows its size"),
        ("shortest_remaining", Standing(NOW, size=900, attained=400), None, "500 tokens still needed"),
        ("deadline", Standing(NOW, deadline=NOW + 240), None, ", in 4 min"),
        ("deadline", Standing(NOW, deadline=NOW + 2, seconds_left=9), None, "it would still take 9"),
        ("deadline", Standing(NOW), None, "it has no deadline"),
        ("mlfq", Standing(NOW, level=1, attained=70), None, "level 2 of 4, after 70 tokens"),
        ("least_attained", Standing(NOW, attained=5), None, "it has been served 5 tokens so far"),
        ("shortest_program", Standing(NOW, program=Program("w", NOW, 80, 20)), None, "its workflow w has 60"),
        ("program_fifo", Standing(NOW, program=Program("w", NOW)), None, "its workflow w came at"),
        ("fair", Standing(NOW, 30), None, "within its tenant by priority: priority 30"),
        ("fair", Standing(NOW, 30, started=True), None, "it has started already"),
    ],
)  # fmt: skip
def test_ranks_in_words(name, standing, rank, words):
    policy = policy_named(name)
    assert words in rank_words(policy, standing, rank or policy.rank(standing, NOW), NOW, "tokens")


def test_an_unknown_kind_of_policy_has_words_too():
    assert (
        rank_words(object(), Standing(NOW), Rank(1, 2.5), NOW, "tokens")
        == "rank 1, 2.5; the lowest goes first"
    )


def test_deadlines_and_lateness_are_told(probe, penstock):
    now = time.time()
    late = probe.running(now=now - 600, lane=LLM, deadline=now - 300)
    probe.finish(late, TaskStatus.COMPLETED, now - 100)
    kept = probe.running(now=now - 50, lane=LLM, deadline=now + 10)
    probe.finish(kept, TaskStatus.COMPLETED, now - 40)
    open_one = probe.add(at=now, lane=LLM, deadline=now + 3 * 3600)
    out = penstock("tasks")[1]
    assert "DEADLINE" in out
    found = {line.split()[0]: line for line in out.splitlines()}
    assert "3 min late" in found[late.id]
    assert "kept" in found[kept.id]
    assert "in 3 h" in found[open_one.id]
    assert "3 min late" in penstock("show", late.id)[1]
    data = json.loads(penstock("show", "--json", late.id)[1])
    assert data["lateness_seconds"] == pytest.approx(200, abs=1)


def test_stats_tell_strategy_preemptions_deadlines_and_the_error_of_estimates(probe, penstock):
    figures = Figures(3, 12, Deadlines(5, 2, 1), 0.6931, 40)
    assert read_figures(figures.text()) == figures
    probe.store.run(lambda tx: tx.set_setting(SETTING, figures.text()))
    waiting(probe, 20)
    out = penstock("stats")[1]
    assert "ordered by strategy priority" in out
    assert "12 slots left to better-ranked tasks, 3 started tasks put back" in out
    assert "deadlines: 5 kept, 2 missed, 1 expired before the start" in out
    assert "off by a factor of 2.00 in the mean (of 40 tasks)" in out
    assert json.loads(penstock("stats", "--json")[1])["scheduling"]["deadlines"]["expired"] == 1


def test_a_retry_is_ranked_by_the_stored_strategy(probe, penstock):
    failed = probe.running(now=time.time(), lane=LLM, tenant="acme")
    probe.finish(failed, TaskStatus.FAILED, time.time(), error='{"code":"bad"}')
    penstock("strategy", "fair", "--set", "inside=mlfq")
    data = json.loads(penstock("retry", "--json", failed.id)[1])
    new = data["retried"][0]["retried_as"]
    assert json.loads(penstock("why", "--json", new)[1])["flow"] == "acme"
    flows = probe.store.read(lambda reader: reader.waiting_flows())
    assert [flow for _, flow in flows] == ["acme"]
