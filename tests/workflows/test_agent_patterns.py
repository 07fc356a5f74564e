"""Agents that work together, as durable tasks with the agents as their children."""

from __future__ import annotations

from collections import Counter

import pytest

from penstock import (
    Agent,
    ConfigurationError,
    InvalidTask,
    TaskConfig,
    TaskFailed,
    TaskStatus,
    TaskType,
    as_tool,
)
from penstock.simulator import Script, SimulatorConfig
from penstock.testing import Harness, SimulatedProvider
from penstock.workflows.agent_patterns import fan_out, hand_off, sequence, supervisor

ONCE = TaskConfig(max_retries=0, timeout=None)


def calls(pattern, tool, **arguments):
    """What calls a tool once, in the script of the simulator."""
    return Script(pattern, tool=tool, tool_arguments=arguments, once=True)


class World:
    """A team on a provider with a script."""

    def __init__(self, provider, team):
        self.provider = provider
        self.harness = Harness(provider.manager(max_concurrent=4))
        self.manager = self.harness.manager
        self.manager.add_team("team", team)

    async def submit(self, prompt="PROMPT"):
        return await self.manager.submit_task("team", {"prompt": prompt}, config=ONCE)

    async def finish(self, id):
        """The team's result; agents that wait for each other need several rounds."""
        while not (task := self.manager.get_task(id)).status.final:
            await self.harness.drain()
        assert task.status == TaskStatus.COMPLETED, task.error
        return task.result


class Case:
    def __init__(self, team, scripts, said):
        self.team = team
        self.scripts = scripts
        self.said = said


CASES = {
    "sequence": Case(
        lambda: sequence(Agent("ann"), Agent("bob"), Agent("cy")),
        (
            Script("What bob found:\nfrom bob", "from cy"),
            Script("What ann found:\nfrom ann", "from bob"),
            Script("^PROMPT$", "from ann"),
        ),
        ["ann", "bob", "cy"],
    ),
    "fan_out": Case(
        lambda: fan_out(Agent("ann", "I am ann."), Agent("bob", "I am bob."), then=Agent("cy")),
        (
            Script("What ann found:\nthe same\n\nWhat bob found:\nthe same", "from cy"),
            Script("^PROMPT$", "the same"),
        ),
        ["ann", "bob", "cy"],
    ),
    "supervisor": Case(
        lambda: supervisor(Agent("boss", "Lead."), Agent("ann"), Agent("bob"), rounds=5),
        (
            calls("^PROMPT$", "ann", prompt="for ann"),
            calls("^PROMPT$", "bob", prompt="for bob"),
            Script("^PROMPT$", "from boss"),
            Script("for ann", "from ann"),
            Script("for bob", "from bob"),
        ),
        ["boss"],
    ),
    "hand_off": Case(
        lambda: hand_off(Agent("ann"), Agent("bob", description="knows all")),
        (calls("^PROMPT$", "transfer_to_bob", note="yours"), Script("^PROMPT$", "from bob")),
        ["ann", "bob"],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_it_comes_to_its_end(name):
    case = CASES[name]
    with SimulatedProvider(SimulatorConfig(scripts=case.scripts)) as provider:
        world = World(provider, case.team())
        async with world.harness:
            id = await world.submit()
            result = await world.finish(id)
            tasks = world.manager.list_tasks()
        assert [one["agent"] for one in result["agents"]] == case.said
        assert result["text"] == f"from {case.said[-1]}"
        assert result["stopped"] is None
        runs = 3 if name != "hand_off" else 2
        assert Counter(task.task_type for task in tasks) == {"team": 1, "agent": runs}
        assert {task.status for task in tasks} == {TaskStatus.COMPLETED}


@pytest.mark.parametrize("name", CASES)
async def test_a_crash_after_each_step(name):
    case = CASES[name]
    for step in range(1, 30):
        with SimulatedProvider(SimulatorConfig(scripts=case.scripts)) as provider:
            world = World(provider, case.team())
            async with world.harness:
                id = await world.submit()
                try:
                    await world.harness.crash_and_restart(after_steps=step)
                except AssertionError:
                    break
                result = await world.finish(id)
                tasks = world.manager.list_tasks()
            assert result["text"] == f"from {case.said[-1]}"
            # Where two work side by side, the other one's call may have been in flight.
            assert len(provider.repeated) <= (1 if name == "fan_out" else 0), step
            assert len(tasks) == (4 if name != "hand_off" else 3)
    assert step > 4


async def test_an_agent_that_is_stopped_ends_a_sequence():
    scripts = (Script("PROMPT", tool="dig", tool_arguments={}),)
    with SimulatedProvider(SimulatorConfig(scripts=scripts)) as provider:
        world = World(provider, sequence(Agent("ann", tools=[dig], max_turns=2), Agent("bob")))
        async with world.harness:
            result = await world.finish(await world.submit())
    assert (result["stopped"], [one["agent"] for one in result["agents"]]) == ("turns", ["ann"])


async def dig() -> str:
    return "sand"


@pytest.mark.parametrize("least", [None, 1])
async def test_a_failure_among_those_side_by_side(least):
    def answer(call):
        system = call.body["messages"][0]["content"]
        return 400 if system == "I am bob." else "well"

    with SimulatedProvider() as provider:
        provider.say(*[answer] * 3)
        ann, bob, cy = (Agent(name, f"I am {name}.") for name in ("ann", "bob", "cy"))
        world = World(provider, fan_out(ann, bob, then=cy, least=least))
        async with world.harness:
            id = await world.submit()
            if least:
                assert [one["agent"] for one in (await world.finish(id))["agents"]] == ["ann", "cy"]
                return
            while not world.manager.get_task(id).status.final:
                await world.harness.drain()
            with pytest.raises(TaskFailed, match="400"):
                await world.manager.wait_for_task(id)


async def test_rounds_of_a_supervisor_are_bounded():
    scripts = (Script("^PROMPT$", tool="ann", tool_arguments={"prompt": "again"}), Script("again", "done"))
    with SimulatedProvider(SimulatorConfig(scripts=scripts)) as provider:
        world = World(provider, supervisor(Agent("boss"), Agent("ann"), rounds=3))
        async with world.harness:
            result = await world.finish(await world.submit())
            runs = len(world.manager.list_tasks())
    assert result["stopped"] == "turns"
    assert runs == 1 + 1 + 2  # the team, the boss, and ann in all rounds but the last


async def test_hand_offs_are_bounded():
    def answer(call):
        tools = [one["function"]["name"] for one in call.body.get("tools", ())]
        return Script("", tool=tools[0], tool_arguments={}) if tools else "enough"

    with SimulatedProvider() as provider:
        provider.say(*[answer] * 9)
        world = World(provider, hand_off(Agent("ann"), Agent("bob"), most=4))
        async with world.harness:
            result = await world.finish(await world.submit())
    assert [one["agent"] for one in result["agents"]] == ["ann", "bob", "ann", "bob", "ann"]
    assert result["text"] == "enough"


async def test_the_conversation_goes_along():
    case = CASES["hand_off"]
    with SimulatedProvider(SimulatorConfig(scripts=case.scripts)) as provider:
        world = World(provider, case.team())
        async with world.harness:
            await world.finish(await world.submit())
    first, second = (call.body for call in provider.calls)
    assert "knows all" in first["tools"][0]["function"]["description"]
    assert [one["role"] for one in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][-1]["content"] == "bob goes on."


async def test_a_task_type_as_a_tool():
    said = as_tool(TaskType.LLM_CALL, name="think", data={"temperature": 0.0}, description="Think.")
    scripts = (calls("^Q$", "think", prompt="deeply"), Script("^Q$", "so"), Script("deeply", "thought"))
    with SimulatedProvider(SimulatorConfig(scripts=scripts)) as provider:
        async with provider.manager() as manager:
            thinker = manager.add_agent(Agent("thinker", tools=[said]))
            result = await (await thinker.submit("Q", config=ONCE))
            child = next(task for task in manager.list_tasks() if task.task_type == "llm_call")
    assert result["text"] == "so"
    assert child.result["text"] == "thought"
    assert child.data["temperature"] == 0.0
    schema = provider.calls[0].body["tools"][0]["function"]["parameters"]
    assert "prompt" in schema["properties"]
    assert "temperature" not in schema["properties"]


async def test_an_agent_as_a_tool_comes_with_its_agent():
    scripts = (calls("^Q$", "ann", prompt="for ann"), Script("^Q$", "so"), Script("for ann", "from ann"))
    with SimulatedProvider(SimulatorConfig(scripts=scripts)) as provider:
        async with provider.manager() as manager:
            ann = Agent("ann", description="knows")
            boss = manager.add_agent(Agent("boss", tools=[as_tool(ann, timeout=30)]))
            assert (await (await boss.submit("Q", config=ONCE)))["text"] == "so"
    assert provider.calls[-1].body["messages"][-1]["content"] == "from ann"


class TestApproval:
    @pytest.mark.parametrize("approved", [True, False])
    async def test_a_person_is_asked_and_the_answer_outlives_a_crash(self, approved):
        sent = []

        def send(to: str) -> str:
            """Send it."""
            sent.append(to)
            return "sent"

        scripts = (calls("^Q$", "send", to="all"), Script("^Q$", "so"))
        with SimulatedProvider(SimulatorConfig(scripts=scripts)) as provider:
            harness = Harness(provider.manager())
            manager = harness.manager
            manager.tool(needs_approval=True)(send)
            async with harness:
                manager.add_agent(Agent("clerk", tools=["send"]))
                id = await manager.submit_task("agent", {"agent": "clerk", "prompt": "Q"}, config=ONCE)
                await harness.drain()
                assert manager.get_task(id).status == TaskStatus.SUSPENDED
                assert sent == []
                await harness.crash_and_restart()
                (open_question,) = manager.approvals()
                assert open_question.details == {"tool": "send", "arguments": {"to": "all"}}
                await manager.decide(id, approved, by="eve", comment="not now")
                await harness.drain()
                assert manager.get_task(id).result["text"] == "so"
        assert sent == (["all"] if approved else [])
        told = provider.calls[-1].body["messages"][-1]["content"]
        assert told == ("sent" if approved else "Error: a person refused this call: not now")
        assert provider.repeated == []

    async def test_two_questions_at_once(self):
        sent = []

        def send(to: str) -> str:
            """Send it."""
            sent.append(to)
            return f"sent to {to}"

        def turn(call):
            wanted = [
                {"id": to, "type": "function", "function": {"name": "send", "arguments": f'{{"to": "{to}"}}'}}
                for to in ("ann", "bob")
            ]
            message = {"role": "assistant", "content": None, "tool_calls": wanted}
            return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}

        with SimulatedProvider() as provider:
            provider.say(turn, "so")
            harness = Harness(provider.manager())
            manager = harness.manager
            manager.tool(needs_approval=True)(send)
            async with harness:
                id = await manager.submit_task("agent", {"prompt": "Q", "tools": ["send"]}, config=ONCE)
                await harness.drain()
                first, second = sorted(manager.approvals(), key=lambda one: one.name)
                await manager.decide(id, False, name=second.name)
                await harness.drain()
                await harness.crash_and_restart()
                assert [one.name for one in manager.approvals()] == [first.name]
                await manager.decide(id, True, name=first.name)
                await harness.drain()
                assert manager.get_task(id).result["text"] == "so"
        assert sent == ["ann"]
        told = [one["content"] for one in provider.calls[-1].body["messages"] if one["role"] == "tool"]
        assert told == ["sent to ann", "Error: a person refused this call"]


class TestRefused:
    def test_teams_that_cannot_be(self):
        for made in (
            lambda: sequence(),
            lambda: sequence(Agent("a"), Agent("a")),
            lambda: sequence("ann"),
            lambda: supervisor(Agent("a")),
            lambda: fan_out(Agent("a"), then=Agent("b"), least=2),
        ):
            with pytest.raises(ConfigurationError):
                made()

    def test_tools_that_cannot_be(self):
        with pytest.raises(ConfigurationError, match="needs schema="):
            as_tool("my_own")
        assert as_tool("my_own", schema={"type": "object"}, retries=1).name == "my_own"

    async def test_data_of_a_team(self):
        with SimulatedProvider() as provider:
            async with provider.manager() as manager:
                manager.add_team("team", sequence(Agent("ann")))
                with pytest.raises(InvalidTask, match="prompt"):
                    await manager.submit_task("team", {"prompt": ""})
                with pytest.raises(InvalidTask, match="promt"):
                    await manager.submit_task("team", {"promt": "x"})
