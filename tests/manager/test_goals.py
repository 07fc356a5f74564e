"""Goals: planned, run as a workflow, compiled into a report; planned further, refused, and tried again."""

import asyncio
import json
from decimal import Decimal

import pytest

from penstock import AITaskManager, InvalidTask, SyncTaskManager, TaskFailed, TaskStatus
from penstock.errors import InvalidPlan
from penstock.task_types.task_tools import as_tool
from penstock.task_types.tools import ToolTerms
from penstock.testing import Harness, SimulatedProvider, virtually
from penstock.workflows.plans import Plan, Subtask


def one(id, *needs, **more):
    return {"id": id, "name": f"Do {id}", "description": f"all of {id}", "dependencies": list(needs), **more}


def plan_of(*subtasks):
    return {"subtasks": list(subtasks)}


DIAMOND = plan_of(one("a"), one("b", "a"), one("c", "a"), one("d", "b", "c"))


@pytest.fixture
def provider():
    with SimulatedProvider() as provider:
        yield provider


def works(provider):
    """Every subtask says who it is; the report names all results."""
    provider.when(r"Your subtask: Do (\w+)", "result of $1")
    provider.when(r'(<result of="[^"]+" id)', "# Report")


async def test_a_goal_becomes_a_report(provider):
    provider.say(DIAMOND)
    works(provider)
    async with provider.manager() as manager:
        id = await manager.submit_task("GOAL", {"goal": "All of it", "instructions": "Be brief."})
        found = await manager.wait_for_task(id, 20)
        assert found["report"] == "# Report"
        assert found["results"] == {one: f"result of {one}" for one in "abcd"}
        assert found["rounds"] == [["a", "b", "c", "d"]]
        assert [one["id"] for one in found["plan"]["subtasks"]] == ["a", "b", "c", "d"]
        analysis = await manager.workflow(found["workflow"]).analysis()
        assert analysis.critical_path[0] == "a"
        assert {one.id: one.type for one in analysis.nodes}["report"] == "goal_report"
        assert analysis.most_at_once >= 2  # b and c
        asked = {call.text.split("Your subtask: Do ")[1][0]: call.text for call in provider.calls[1:5]}
        assert asked["d"] == (
            "The goal: All of it\n\nBe brief.\n\nYour subtask: Do d\nall of d"
            '\n\n<result of="Do b">\nresult of b\n</result>\n\n<result of="Do c">\nresult of c\n</result>'
        )
        assert "result of" not in asked["a"]


async def test_a_plan_is_shown_and_not_run(provider):
    provider.say(plan_of(one("a", estimated_time=10), one("b", "a", estimated_time="1 minute"), one("c")))
    async with provider.manager(prices={"gpt-4o-mini": (1, 2)}) as manager:
        plan = await manager.plan("All of it", timeout=20)
        assert isinstance(plan, Plan)
        assert [[one.id for one in layer] for layer in plan.layers()] == [["a", "c"], ["b"]]
        assert [one.id for one in plan.critical_path()] == ["a", "b"]
        assert plan.seconds == 70
        assert plan.estimate.calls == 4
        assert plan.estimate.seconds == 130
        tokens = plan.estimate.input_tokens + 2 * plan.estimate.output_tokens
        assert plan.estimate.cost in (0, Decimal(tokens) / 1_000_000)  # addresses of this machine are free
        assert len(provider.calls) == 1
        works(provider)
        run = await manager.pursue(plan, replans=0)
        assert (await run.result(20))["report"] == "# Report"
        assert len(provider.calls) == 1 + 4
        assert run.workflow().progress().fraction == 1.0


async def test_the_last_step_may_plan_more_within_a_bound(provider):
    more = plan_of(one("e", "a"), one("report", "e"))
    again = plan_of(one("f"))
    works(provider)
    answers = iter([more, again, "no more, then: # Report"])

    def report(call):
        return (200, chat(json.dumps(said)) if isinstance(said := next(answers), dict) else chat(said))

    provider.say(plan_of(one("a"), one("b", "a")), "A", "B", report, "E", "R", report, report)
    async with provider.manager(max_concurrent=1) as manager:
        run = await manager.pursue("All of it", replans=1)
        found = await run.result(20)
        # The id of the first report is taken, so the subtask of that name has another.
        assert found["rounds"] == [["a", "b"], ["e", "report-2"]]
        assert found["results"] == {"a": "A", "b": "B", "e": "E", "report-2": "R"}
        assert found["report"] == "no more, then: # Report"
        assert "no further subtasks are possible" in provider.calls[-1].text
        nodes = await run.workflow().nodes()
        assert [one.node for one in nodes] == ["a", "b", "report", "e", "report-2", "report-3"]
        assert "answer instead with a JSON object" in provider.calls[3].body["messages"][0]["content"]
        assert "answer instead with" not in provider.calls[-1].body["messages"][0]["content"]


async def test_further_plans_are_judged_and_repaired_too(provider):
    works(provider)
    bad = plan_of(one("a"), one("e", "nobody"))
    provider.say(plan_of(one("a")), "A", bad, plan_of(one("e", "a")), "E", "# Report")
    async with provider.manager(max_concurrent=1) as manager:
        found = await (await manager.pursue("All of it")).result(20)
        assert found["rounds"] == [["a"], ["e"]]
        shown = provider.calls[3].text
        assert "'a' is the id of an earlier round already" in shown
        assert "there is no subtask 'nobody'" in shown


def chat(text):
    message = {"role": "assistant", "content": text}
    return {
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


async def test_tools_get_the_results_of_others(provider):
    works(provider)
    async with provider.manager() as manager:

        @manager.task
        def numbers(upto: int) -> dict:
            return {"list": list(range(upto)), "odd${": "${a}"}

        @manager.tool
        def add(values: list[int], note: str = "") -> str:
            return f"{sum(values)} {note}"

        manager.add_tool(as_tool("llm_call", name="say", description="Ask a model.", data={"model": "m"}))
        plan = plan_of(
            one("a"),
            one("n", tool="numbers", arguments={"upto": 4}),
            one("s", tool="add", arguments={"values": "${n/list}", "note": "of ${n/list/3} and ${a}, $${x}"}),
            one("t", tool="say", arguments={"prompt": "Your subtask: Do t with ${s}"}),
        )
        tools = [numbers, add, "say"]
        run = await manager.pursue("g", plan=plan, tools=tools)
        found = await run.result(20)
        assert found["results"]["n"] == {"list": [0, 1, 2, 3], "odd${": "${a}"}
        assert found["results"]["s"] == "6 of 3 and result of a, ${x}"
        assert found["results"]["t"]["text"] == "result of t"
        types = {one.node: one.type for one in await run.workflow().nodes()}
        assert types == {
            "a": "llm_call", "n": "numbers", "s": "goal_tool", "t": "goal_tool", "report": "goal_report"
        }  # fmt: skip


async def test_a_tool_is_offered_with_its_schema(provider):
    async with provider.manager() as manager:

        @manager.tool
        def add(left: int, right: int) -> int:
            """The sum of two numbers."""
            return left + right

        provider.say(plan_of(one("a", tool="add", arguments='{"left": 1, "right": 2}')))
        plan = await manager.plan("g", tools=[add], timeout=20)
        assert plan.subtasks[0].arguments == {"left": 1, "right": 2}
        assert plan.estimate.calls == 1
        [call] = provider.calls
        assert "The sum of two numbers." in call.body["messages"][0]["content"]
        form = call.body["response_format"]["json_schema"]["schema"]
        assert form["properties"]["subtasks"]["items"]["properties"]["tool"]["enum"] == [None, "add"]
        provider.say("# Report")
        found = await (await manager.pursue(plan)).result(20)
        assert found["results"] == {"a": 3}


async def test_a_person_is_asked_before_a_tool_that_wants_it(provider):
    works(provider)
    async with provider.manager() as manager:

        @manager.tool(needs_approval=True)
        def send(to: str) -> str:
            return f"sent to {to}"

        plan = plan_of(one("a", tool="send", arguments={"to": "all"}))
        for approved in (True, False):
            run = await manager.pursue("g", plan=plan, tools=[send])
            await until(manager.approvals)
            asked = manager.approvals()
            assert asked[0].details == {"tool": "send", "arguments": {"to": "all"}}
            await manager.decide(asked[0].task_id, approved, comment="not today")
            if approved:
                assert (await run.result(20))["results"] == {"a": "sent to all"}
            else:
                with pytest.raises(TaskFailed, match=r"a person refused .*send: not today"):
                    await run.result(20)


@virtually
async def test_a_crash_while_planning_plans_nothing_twice():
    with SimulatedProvider() as provider:
        provider.say("no plan", plan_of(one("a", "a")), DIAMOND)
        works(provider)
        async with Harness(provider.manager(max_concurrent=1)) as harness:
            run = await harness.manager.pursue("All of it")
            for _ in range(2):
                await harness.crash_and_restart(after_steps=1)
            await harness.run_out()
            assert (await run.result())["report"] == "# Report"
            assert provider.repeated == []
            assert len(provider.calls) == 3 + 5


async def test_what_cannot_be_pursued_is_refused_at_the_door(provider):
    async with provider.manager() as manager:
        with pytest.raises(InvalidPlan, match="'a' needs itself: a → a"):
            await manager.pursue("g", plan=plan_of(one("a", "a")))
        with pytest.raises(InvalidTask, match="no tool named 'nobody' is registered"):
            await manager.pursue("g", tools=["nobody"])
        with pytest.raises(InvalidTask, match="goal: "):
            await manager.pursue("  ")
        with pytest.raises(InvalidTask, match="replans"):
            await manager.pursue("g", replans=-1)
        with pytest.raises(InvalidPlan, match="'x' is no tool"):
            manager.read_plan("g", plan_of(one("a", tool="x")))
        with pytest.raises(InvalidPlan, match="must be an object with subtasks"):
            manager.read_plan("g", [])
        assert manager.list_tasks() == []


async def test_a_plan_made_in_python_is_run(provider):
    works(provider)
    async with provider.manager() as manager:
        plan = Plan("g", (Subtask("a", "Do a"), Subtask("b", "Do b", "all", ("a",))))
        assert (await (await manager.pursue(plan)).result(20))["results"] == {
            "a": "result of a",
            "b": "result of b",
        }


async def test_a_goal_is_cancelled_with_its_subtasks(provider):
    async with provider.manager() as manager:
        manager.tool(stall)
        run = await manager.pursue("g", plan=plan_of(one("a", tool="stall"), one("b", "a")), tools=[stall])
        await until(lambda: run.workflow() is not None and run.workflow().progress().total)
        assert await run.cancel()
        await until(lambda: all(task.status.final for task in manager.list_tasks()))
        assert manager.get_task(run.id).status is TaskStatus.CANCELLED


async def test_a_tool_that_awaits_is_called_on_the_loop(provider):
    """A thread that made its coroutine would leave it behind, never awaited, when the task is cancelled."""

    async def quick() -> str:
        return "done"

    async with provider.manager() as manager:
        manager.tool(quick)
        run = await manager.pursue("g", plan=plan_of(one("a", tool="quick")), tools=["quick"])
        await until(lambda: manager.get_task(run.id).status.final)
        assert manager.get_task(run.id).status is TaskStatus.COMPLETED
        assert not manager.engine.node.services.threads._threads


async def until(happened):
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - it happens in the store
            await asyncio.sleep(0.01)


async def stall() -> None:
    await asyncio.sleep(60)


@virtually
async def test_a_deadline_holds_for_all_of_it():
    with SimulatedProvider() as provider:
        manager = provider.manager()
        manager.tool(stall)
        async with Harness(manager) as harness:
            plan = plan_of(one("a", tool="stall"))
            run = await manager.pursue("g", plan=plan, tools=["stall"], deadline_seconds=30)
            await harness.run_out()
            with pytest.raises(TaskFailed, match="deadline"):
                await run.result()


def test_terms_of_a_tool_with_retries_are_kept():
    manager = AITaskManager(store="memory")
    manager.tool(retries=2)(stall)
    from penstock.workflows.plan_tools import work_of_tools

    direct, tries = work_of_tools(manager._toolbox, ["stall"], frozenset({"stall"}))
    assert (direct, tries) == (frozenset(), {"stall": ToolTerms(retries=2).retries})


def test_goals_without_await(provider):
    works(provider)
    with SyncTaskManager(provider.client(), store="memory", requests_per_minute=None) as manager:
        provider.say(plan_of(one("a"), one("b", "a")))
        plan = manager.plan("g", timeout=20)
        run = manager.pursue(plan, replans=0)
        assert run.result(20)["results"] == {"a": "result of a", "b": "result of b"}
        assert run.workflow().progress().completed == 3
        assert manager.goal(run.id).result(20)["report"] == "# Report"
        assert manager.plan_made(run.id).subtasks == plan.subtasks
        assert not run.cancel()


async def test_types_that_goals_use_inside_are_not_for_submissions():
    async with AITaskManager(store="memory") as manager:
        data = {"tool": "anything", "arguments": {}}
        for type in ("goal_tool", "goal_report"):
            node = {"id": "a", "type": type, "data": data}
            undone = {"id": "b", "type": "llm_call", "data": {"prompt": "x"}}
            undone["compensate"] = {"type": type, "data": data}
            for refused in (
                manager.submit_task(type, data),
                manager.schedule("s", "0 8 * * *", type, data),
                manager.run({"nodes": [node]}),
                manager.run({"nodes": [undone]}),
                manager.submit_task("workflow", {"nodes": [node]}),
            ):
                with pytest.raises(InvalidTask, match="not for submissions"):
                    await refused
