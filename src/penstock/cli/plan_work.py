"""The work of `penstock plan`: the plan is made and run by tasks of a store, so that the same command goes on
where it was. Goals are told apart by what was asked, and found again by that."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from penstock.cli.run.summary import duration
from penstock.cli.show_text import money
from penstock.errors import ConfigurationError
from penstock.llm.profiles import profile_for
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.client import APIConfig, OpenAICompatibleClient
from penstock.manager.goals import GoalRun
from penstock.model.states import TaskStatus
from penstock.model.usage import to_pico
from penstock.stores.asks import TaskFilter
from penstock.workflows.plans import Plan

LOOK_SECONDS = 0.25
_MARK = "penstock plan"
_AGAIN = (TaskStatus.FAILED, TaskStatus.CANCELLED)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for; `plan` is a given one."""

    goal: str
    model: str
    max_subtasks: int = 12
    instructions: str | None = None
    plan: Mapping[str, Any] | None = None
    again: bool = False
    replans: int = 1
    deadline_seconds: float | None = None

    def planning(self) -> dict[str, Any]:
        """The fields of the task that plans."""
        fields: dict[str, Any] = {"model": self.model, "max_subtasks": self.max_subtasks}
        return fields if self.instructions is None else fields | {"instructions": self.instructions}

    def running(self) -> dict[str, Any]:
        """The fields of the task that runs the plan."""
        fields = self.planning() | {"replans": self.replans}
        return (
            fields if self.deadline_seconds is None else fields | {"deadline_seconds": self.deadline_seconds}
        )


class Desk:
    """A manager for one goal."""

    def __init__(
        self, wanted: Wanted, base_url: str | None, key_env: str, slots: int, settings: Mapping[str, Any]
    ) -> None:
        self._wanted = wanted
        key = os.environ.get(key_env)
        client = OpenAICompatibleClient(APIConfig(key or "", base_url, model=wanted.model))
        self._local = profile_for(client.endpoint.base_url).local
        if not key and not self._local:
            raise ConfigurationError(
                f"{key_env} is not set; it is to hold the key of {client.endpoint.base_url}"
            )
        self._manager = AITaskManager(client, slots, **settings)

    async def __aenter__(self) -> Self:
        await self._manager.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._manager.stop(now=error[0] is not None)

    async def plan(self, say: Say) -> Plan:
        """The plan: given, made before, or made now by a model."""
        wanted = self._wanted
        if wanted.plan is not None:
            return self._manager.read_plan(wanted.goal, wanted.plan)
        mark = _digest("plan", wanted.goal, wanted.planning())
        known = None if wanted.again else await self._earlier(mark)
        if known is not None:
            say(f"the plan was begun before, as task {known}; --again makes a new one")
            return await self._manager.plan_made(known)
        price = self._price_of_plan()
        say(f"making the plan: one call of {wanted.model}, {price}; up to two more to repair it")
        return await self._manager.plan(wanted.goal, metadata={_MARK: mark}, **wanted.planning())

    async def pursue(self, plan: Plan, say: Say) -> dict[str, Any]:
        """Run it, and say what becomes of its subtasks; what the GOAL task gave."""
        wanted = self._wanted
        mark = _digest("run", wanted.goal, wanted.running() | plan.as_dict())
        known = None if wanted.again else await self._earlier(mark)
        if known is not None:
            say(f"this plan was begun before, as task {known}")
            run = self._manager.goal(known)
        else:
            run = await self._manager.pursue(plan, metadata={_MARK: mark}, **wanted.running())
        spent = self._manager.cost_controller.total_cost
        result = asyncio.ensure_future(run.result())
        try:
            await self._follow(run, result, say)
        finally:
            result.cancel()
        found: dict[str, Any] = await run.result()
        spent = self._manager.cost_controller.total_cost - spent
        say(f"done in {duration(self._seconds(run.id))} for {money(to_pico(spent))}; penstock show {run.id}")
        return {"task_id": run.id, "cost": spent, **{name: found[name] for name in _TOLD}}

    async def _follow(self, run: GoalRun, result: asyncio.Future[dict[str, Any]], say: Say) -> None:
        told: set[str] = set()
        while True:
            await asyncio.wait([result], timeout=LOOK_SECONDS)
            workflow = run.workflow()
            if workflow is not None:
                nodes = await workflow.nodes()
                ended = [one for one in nodes if one.status.final and one.node not in told]
                for one in sorted(ended, key=lambda one: one.ended_no or 0):
                    told.add(one.node)
                    say(f"[{len(told)}/{len(nodes)}] {one.node} {one.status}")
            if result.done():
                return

    async def _earlier(self, mark: str) -> str | None:
        """The task of an earlier run of this command; one that failed is tried again."""
        where = TaskFilter(types=("goal",), metadata={_MARK: mark})
        found = self._manager.list_tasks(where, 1)
        if not found:
            return None
        if found[0].status in _AGAIN:
            return await self._manager.retry_task(found[0].task_id)
        return found[0].task_id

    def _price_of_plan(self) -> str:
        """What the call for the plan costs, in words."""
        engine, wanted = self._manager.engine, self._wanted
        data = {"goal": wanted.goal, **wanted.planning()}
        handler = engine.handlers["goal"]
        estimate = None if handler.estimate is None else handler.estimate(data)
        cost = (
            None if estimate is None else engine.node.weigher.cost_of(estimate, self._manager.setup.base_url)
        )
        if cost is None:
            return "price unknown"
        return f"about {money(cost)}" if cost else "free"

    def _seconds(self, id: str) -> float:
        task = self._manager.get_task(id)
        if task is None or task.completed_at is None:
            return 0.0
        return task.completed_at - task.created_at


_TOLD = ("report", "results", "rounds", "workflow")


def _digest(what: str, goal: str, fields: Mapping[str, Any]) -> str:
    text = json.dumps([what, goal, fields], sort_keys=True, ensure_ascii=False)
    return f"{what}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
