"""Agents that work together: one after another, side by side, led by one of them, or passing the word on.

Each pattern is one durable task, and each run of an agent in it a child task: it waits in the queue like any
other, with a rank, limits, retries and figures of its own, a failure of one does not repeat the others, and
what waits for agents holds neither slot nor memory. (A handler that wants agents inside its own task, without
rows for each, calls `manager.run_agent`.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from penstock.errors import ChildFailed, ConfigurationError
from penstock.model.json_text import json_text
from penstock.model.task_type import TaskType
from penstock.runtime.context import TaskContext
from penstock.task_types.agent_definition import Agent
from penstock.task_types.field_types import Text
from penstock.task_types.task_tools import as_tool

Result = dict[str, Any]
"""What a team's task returns: `text` and `output` of the last word, `stopped` (the limit that ended the
work, or `None`), and `agents`: what each of them said, in order."""

ROUNDS = 10


class TeamData(BaseModel):
    """What a team is asked."""

    model_config = ConfigDict(extra="forbid")

    prompt: Text


@dataclass(frozen=True, slots=True)
class Team:
    """A pattern of agents; `manager.add_team(name, team)` makes it a task type."""

    agents: tuple[Agent, ...]
    run: Callable[[TaskContext, TeamData], Awaitable[Result]]


def sequence(*agents: Agent) -> Team:
    """One agent after another: each is told the prompt and what the one before it said. An agent that ends at
    a limit of its own ends the work."""
    _check(agents)

    async def run(context: TaskContext, data: TeamData) -> Result:
        told: list[Result] = []
        for place, agent in enumerate(agents, 1):
            told.append(await _run(context, agent, {"prompt": _with_answers(data.prompt, told[-1:])}))
            context.progress(place, len(agents), agent.name)
            if told[-1]["stopped"]:
                break
        return _result(told)

    return Team(agents, run)


def fan_out(*agents: Agent, then: Agent, least: int | None = None) -> Team:
    """All agents work on the prompt side by side, and `then` makes one answer of theirs. When one fails so
    does the task, unless `least` answers are enough."""
    _check((*agents, then))
    enough = len(agents) if least is None else least
    if not 1 <= enough <= len(agents):
        raise ConfigurationError(f"least of a fan_out is from 1 to {len(agents)}, not {least!r}")

    async def one(context: TaskContext, agent: Agent, prompt: str) -> Result | ChildFailed:
        try:
            return await _run(context, agent, {"prompt": prompt})
        except ChildFailed as error:
            if enough == len(agents):
                raise
            return error

    async def run(context: TaskContext, data: TeamData) -> Result:
        found = await context.gather(*(one(context, agent, data.prompt) for agent in agents))
        told = [result for result in found if not isinstance(result, ChildFailed)]
        if len(told) < enough:
            raise next(error for error in found if isinstance(error, ChildFailed))
        told.append(await _run(context, then, {"prompt": _with_answers(data.prompt, told)}))
        return _result(told)

    return Team((*agents, then), run)


def supervisor(boss: Agent, *members: Agent, rounds: int = ROUNDS) -> Team:
    """`boss` decides which member does what next, by calling it as a tool, side by side where it calls
    several; it speaks at most `rounds` times, the answer included."""
    _check((boss, *members))
    if len(members) < 1 or rounds < 1:
        raise ConfigurationError("a supervisor needs a member and a round")
    tools = [*boss.tools, *(as_tool(member) for member in members)]
    leader = replace(boss, tools=tools, max_turns=rounds)

    async def run(context: TaskContext, data: TeamData) -> Result:
        return _result([await _run(context, leader, {"prompt": data.prompt})])

    return Team((leader,), run)


def hand_off(first: Agent, *others: Agent, most: int = ROUNDS) -> Team:
    """`first` begins; whoever has the conversation may pass all of it on to any other by a tool, at most
    `most` times. Who answers ends it."""
    _check((first, *others))
    members = {agent.name: agent for agent in (first, *others)}

    def may_pass_to(holder: str, passed: int) -> list[str]:
        """The last one has to answer."""
        return [name for name in members if name != holder] if passed < most else []

    async def run(context: TaskContext, data: TeamData) -> Result:
        asked: dict[str, Any] = {"prompt": data.prompt, "hand_off": may_pass_to(first.name, 0)}
        told = [await _run(context, first, asked)]
        while (heir := told[-1]["handed_to"]) is not None:
            asked = {"messages": told[-1]["messages"], "hand_off": may_pass_to(heir, len(told))}
            told.append(await _run(context, members[heir], asked))
        return _result(told)

    return Team(tuple(members.values()), run)


async def _run(context: TaskContext, agent: Agent, asked: dict[str, Any]) -> Result:
    """One run of an agent, as a child task."""
    result: Result = await context.child(TaskType.AGENT.value, {"agent": agent.name, **asked})
    return result


def _with_answers(prompt: str, told: Sequence[Result]) -> str:
    parts = [prompt, *(f"What {one['agent']} found:\n{_said(one)}" for one in told)]
    return "\n\n".join(parts)


def _said(result: Result) -> str:
    if result["output"] is not None:
        return json_text(result["output"])
    return str(result["text"] or "(nothing)")


def _result(told: Sequence[Result]) -> Result:
    last = told[-1]
    said = [{name: one[name] for name in ("agent", "text", "output", "stopped")} for one in told]
    return {"text": last["text"], "output": last["output"], "stopped": last["stopped"], "agents": said}


def _check(agents: Sequence[Agent]) -> None:
    for agent in agents:
        if not isinstance(agent, Agent):
            raise ConfigurationError(f"a team is made of Agent(...), not of {agent!r}")
    if not agents:
        raise ConfigurationError("a team needs at least one agent")
    names = [agent.name for agent in agents]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigurationError(f"a team needs agents with different names; {twice[0]!r} stands twice")
