"""The worked example, with a crash in every node once: the report is whole, and nothing is paid again."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from penstock import TaskFailed, TaskStatus
from penstock.simulator import Script, SimulatorConfig
from penstock.stores.asks import TaskFilter
from penstock.testing import Harness, SimulatedProvider

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NODES = [
    "market",
    "rivals",
    "size-chart",
    "segment-chart",
    "share-chart",
    "trend",
    "analysis",
    "chances",
    "report",
]


@pytest.fixture(scope="module")
def example():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import market_research

        yield market_research
    finally:
        sys.path.remove(str(EXAMPLES))


class Crashes:
    """Kills the process at the first run of every node: when its work is over and nobody knows of it yet, or,
    `early`, before it has begun."""

    def __init__(self, manager, early):
        self.died: list[str] = []
        self.now = asyncio.Event()
        self._early = early
        self._handlers = manager.engine.handlers
        for type in ("goal", "workflow", "goal_report", "goal_tool", "llm_call"):
            handler = self._handlers[type]
            wrapped = replace(handler, function=self._wrapped(handler.function))
            self._handlers._by_type[type] = wrapped
            self._handlers._versions[type] = {"": wrapped}

    def _wrapped(self, function):
        async def run(context):
            if self._early:
                await self._die_once(context)
            try:
                result = await function(context)
            except asyncio.CancelledError:  # killed already
                raise
            except BaseException:  # suspended
                await self._die_once(context)
                raise
            await self._die_once(context)
            return result

        return run

    async def _die_once(self, context):
        name = (context.metadata or {}).get("node") or context.task.type
        if name not in self.died and not self.now.is_set():
            self.died.append(name)
            self.now.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("early", [False, True], ids=["after its work", "before its work"])
async def test_every_node_crashes_the_process_once(example, tmp_path, early, monkeypatch):
    drawn = Counter()

    def draw(path, *rest):
        drawn[path.name] += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a chart")

    monkeypatch.setattr(example, "draw", draw)
    replies = json.loads((EXAMPLES / "market_research_parts" / "replies.json").read_text(encoding="utf-8"))
    with SimulatedProvider(SimulatorConfig(scripts=tuple(Script(**one) for one in replies))) as provider:
        # One at a time: no other call is in flight when the process dies.
        manager = provider.manager(max_concurrent=1)
        tools = example.register(manager, tmp_path)
        crashes = Crashes(manager, early)
        async with Harness(manager) as harness:
            run = await manager.pursue(example.GOAL, tools=tools, instructions=example.INSTRUCTIONS)
            for _ in range(40):
                if manager.get_task(run.id).status is TaskStatus.COMPLETED:
                    break
                crashes.now.clear()
                running = asyncio.ensure_future(harness.drain())
                dying = asyncio.ensure_future(crashes.now.wait())
                await asyncio.wait([running, dying], return_when=asyncio.FIRST_COMPLETED, timeout=20)
                running.cancel()
                dying.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                if crashes.now.is_set():
                    await harness.crash_and_restart()
            found = await run.result(5)
            assert sorted(crashes.died) == sorted([*NODES, "goal", "workflow"])
            assert harness.lives == len(crashes.died) + 1

            assert provider.repeated == []
            assert len([call for call in provider.calls if call.answered]) == 5  # plan, three texts, report
            assert drawn == {name: 1 for name in ("market-size-by-year.png", "units-sold-by-segment.png",
                                                  "shares-of-revenue.png")}  # fmt: skip
            assert list(found["results"]) == NODES[:-1]
            example.write(tmp_path, found, [["a", "b", "c", "d", "e", "f"]])
            # One workflow, one task for each node: nothing was added twice.
            tasks = Counter(task.task_type for task in manager.list_tasks(TaskFilter(), 100))
            assert tasks == {"goal": 1, "workflow": 1, "goal_report": 1, "goal_tool": 5, "llm_call": 3}
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        for part in ("Chances of a newcomer", "3,400 EUR", "Sources", "Example data set, table 4"):
            assert part in text
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("data:image/png;base64,") == 3


async def test_a_failed_goal_tried_again_pays_only_for_what_is_missing(example, tmp_path):
    replies = json.loads((EXAMPLES / "market_research_parts" / "replies.json").read_text(encoding="utf-8"))
    with SimulatedProvider(SimulatorConfig(scripts=tuple(Script(**one) for one in replies))) as provider:
        manager = provider.manager(max_concurrent=1)
        out_of_order = [True]

        def competitor_data() -> dict:
            if out_of_order:
                raise OSError("the data service is away")
            return example.competitor_data()

        manager.tool(competitor_data)
        for function in (example.market_data, example.Charts(tmp_path).draw_chart):
            manager.tool(function)
        tools = ["market_data", "competitor_data", "draw_chart"]
        async with manager:
            run = await manager.pursue(example.GOAL, tools=tools, instructions=example.INSTRUCTIONS)
            with pytest.raises(TaskFailed, match=r"'rivals' failed .*the data service is away"):
                await run.result(20)
            paid = len(provider.calls)
            assert paid >= 1
            out_of_order.clear()
            again = await manager.retry_task(run.id)
            found = await manager.wait_for_task(again, 20)
            assert list(found["results"]) == NODES[:-1]
            assert found["report"].startswith("# E-bikes in Europe")
            assert provider.repeated == []
            assert len(provider.calls) == 5
