"""`penstock run` with a strategy, a service class and deadlines; what a live node tells of its scheduling."""

import asyncio
import json
import time
from dataclasses import replace

import pytest

from penstock import Manager, Settings, Submission, TaskFilter, TaskOptions
from penstock.cli.exit_codes import ExitCode
from penstock.cli.run.job import run_job
from penstock.cli.run.options import RunOptions
from penstock.cli.run.terms import Terms, read_deadline
from penstock.cli.run.wiring import settings_of
from penstock.errors import ConfigurationError, TaskFailed
from penstock.manager import open_store
from penstock.runtime.figures import SETTING, read_figures
from penstock.simulator import SimulatorConfig, SimulatorThread
from penstock.testing import virtually

OPTIONS = RunOptions("in.jsonl", "out.jsonl")
LINE = {"model": "sim", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


class Silent:
    def __getattr__(self, name):
        return lambda *arguments: None


def test_a_job_keeps_its_strategy_and_its_lines_have_terms(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text(f"{json.dumps(LINE)}\n" * 3, encoding="utf-8")
    with SimulatorThread(SimulatorConfig()) as simulated:
        options = RunOptions(
            str(source),
            str(tmp_path / "out.jsonl"),
            base_url=(simulated.base_url,),
            durability="normal",
            strategy="deadline",
            strategy_set=("preemptive=true",),
            service_class="background",
            slo="1h",
            tenant="acme",
            sample=2,
        )
        assert asyncio.run(run_job(options, Silent())).code is ExitCode.OK
        again = replace(options, strategy=None, strategy_set=(), slo=None, deadline="2h", sample=None)
        assert asyncio.run(run_job(again, Silent())).code is ExitCode.OK
    with open_store(settings_of(again)) as store:
        tasks = store.read(lambda reader: reader.tasks(TaskFilter(), newest=False))
        chosen = store.read(lambda reader: reader.setting("ranked_by"))
        figures = read_figures(store.read(lambda reader: reader.setting(SETTING)))
    assert chosen == '["deadline", {"preemptive": true}]'
    assert [(task.tenant, task.priority) for task in tasks] == [("acme", 20)] * 3
    spans = [round((task.deadline - task.created_at) / 60) for task in tasks]
    assert spans == [60, 60, 120]
    assert (figures.deadlines.kept, figures.deadlines.late) == (3, 0)  # over both runs


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "quickest"}, "choose one of"),
        ({"strategy": "round_robin", "strategy_set": ("time_slice=0",)}, "time_slice must be"),
        ({"strategy_set": ("ageing=1",)}, "--strategy-set goes with --strategy"),
        ({"service_class": "soon"}, "choose one of immediate"),
        ({"slo": "soon"}, "--slo 'soon' is no length of time"),
        ({"slo": "0s"}, "more than no time"),
        ({"slo": "1h", "deadline": "2h"}, "give one of them"),
        ({"deadline": "tomorrow"}, "2026-01-31T18:00 or 2h"),
        ({"deadline": "2001-01-01"}, "has passed"),
    ],
)
def test_terms_that_there_are_not_are_refused(given, message):
    with pytest.raises(ConfigurationError, match=message):
        settings_of(replace(OPTIONS, **given))


def test_deadlines_are_instants_or_spans():
    assert read_deadline("90min", 1000.0) == 6400.0
    assert read_deadline("2030-01-01T00:00:00Z", 0.0) == 1893456000.0
    late = Terms(deadline=1.0).submission(None)
    assert late.deadline > time.time() - 60  # read too late: as late as can be, and no error


@virtually
async def test_a_node_tells_of_takeovers_expiry_and_its_estimates(tmp_path):
    manager = Manager(
        Settings(store=str(tmp_path / "s.db"), durability="normal", strategy="preemptive", max_concurrent=2)
    )

    async def agent(context):
        for number in range(30):
            await context.step(f"step {number}", asyncio.sleep, 0.003)
            under_way.set()

    under_way = asyncio.Event()
    manager.register("agent", agent)
    manager.register("urgent", lambda context: None, options=TaskOptions(max_retries=0))
    async with manager:
        ids = await manager.submit_many([Submission("agent", n, "low", size=0.05) for n in range(4)])
        async with asyncio.timeout(20):
            await under_way.wait()
        ids += await manager.submit_many([Submission("urgent", n, "urgent") for n in range(4)])
        await asyncio.gather(*map(manager.wait, ids))
        assert manager.node.admitter.takeovers.count >= 1
        await manager.pause()
        await manager.switch_strategy("deadline")
        late = await manager.submit("agent", slo_seconds=0.001)
        await asyncio.sleep(0.002)
        await manager.resume()
        with pytest.raises(TaskFailed, match="deadline passed"):
            await manager.wait(late)
    with open_store(manager.settings) as store:
        figures = read_figures(store.read(lambda reader: reader.setting(SETTING)))
    assert figures.takeovers >= 1
    assert (figures.deadlines.expired, figures.sizes_known) == (1, 4)
    assert 0 < figures.size_error < 10


async def test_fair_shares_are_told_while_tenants_wait(tmp_path):
    manager = Manager(Settings(store=str(tmp_path / "f.db"), durability="normal", strategy="fair"))
    manager.register("any", lambda context: None)
    async with manager:
        await manager.pause()
        await manager.submit_many([Submission("any", n, tenant=f"t{n % 3}", size=2.0) for n in range(9)])
        figures = read_figures(manager.node.figures.text())
    assert set(figures.flows) == {"t0", "t1", "t2"}
    assert figures.flows["t0"].weight == 1.0
