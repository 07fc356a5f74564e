"""GOAL: a goal in plain words becomes a plan, the plan a workflow, and its results a report.

The plan is recorded before anything runs: a crash never plans twice. The workflow is a child task; its last
node compiles the report, or plans further subtasks while that is allowed. Tried again after a failure, a
goal goes on with the results that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from penstock.errors import ChildFailed, InvalidTask, WorkflowFailed
from penstock.model.estimate import NOTHING, Estimate
from penstock.model.task_type import TaskType
from penstock.runtime.child_tasks import Child
from penstock.task_types.agent import Count, Dollars, ToolName
from penstock.task_types.base import TaskData, TaskKind, Toolbox
from penstock.task_types.conversation import BadAnswer
from penstock.task_types.field_types import ModelName, ShortText, Text
from penstock.task_types.structured import Form, Question, ask, question_tokens
from penstock.workflows.coordinator import TYPE as WORKFLOW
from penstock.workflows.plan_nodes import GoalFlow, GoalTerms, nodes_of
from penstock.workflows.plan_reading import PlanTerms, read_plan
from penstock.workflows.plan_results import Collected, collect
from penstock.workflows.plan_text import find_plan
from penstock.workflows.plan_tools import offered, work_of_tools
from penstock.workflows.plan_words import plan_messages, plan_schema
from penstock.workflows.plans import Plan

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

USUAL_PLAN = 800
"""Tokens of a plan, for the door's estimate."""

Seconds = Annotated[float, Field(gt=0, le=31_622_400, allow_inf_nan=False)]


class GoalData(TaskData):
    """`goal` says what is wanted, `instructions` what is to be kept in mind at every step. `tools` are names
    of tools and registered functions that the plan may use. A given `plan` is run as it is; with `dry_run`
    the plan is made and not run.

    `max_subtasks` bounds each round of planning, `replans` how often the last step may plan more. `budget` is
    in US dollars, for the subtasks and the report; `deadline_seconds` count from the submission.
    """

    goal: Text
    instructions: ShortText | None = None
    model: ModelName | None = None
    plan: dict[str, Any] | None = None
    tools: Annotated[list[ToolName], Field(max_length=128)] = Field(default_factory=list)
    max_subtasks: Annotated[Count, Field(le=200)] = 12
    replans: Annotated[int, Field(strict=True, ge=0, le=10)] = 1
    budget: Dollars | None = None
    deadline_seconds: Seconds | None = None
    dry_run: bool = False


def kind(types: Callable[[], frozenset[str]]) -> TaskKind[GoalData]:
    """The task type; `types` are those that there are."""

    async def run(context: TaskContext, data: GoalData, toolbox: Toolbox) -> dict[str, Any]:
        return await pursue(context, data, toolbox, types())

    return TaskKind(TaskType.GOAL, GoalData, run, estimate, model, refuse, settle)


async def pursue(
    context: TaskContext, data: GoalData, toolbox: Toolbox, types: frozenset[str]
) -> dict[str, Any]:
    """`report` (Markdown), `plan` as it was run, `results` by subtask (a text, or what a tool gave), `rounds`
    (ids of the subtasks of each), `mended`, and `workflow`, the id of the task that led them."""
    plan = await planned(context, data, toolbox)
    told = {"report": None, "plan": plan.as_dict(), "results": {}, "rounds": [], "mended": list(plan.mended)}
    if data.dry_run:
        return told | {"workflow": None}
    collected = Collected(plan.subtasks, {}, [[one.id for one in plan.subtasks]])
    number = 0
    while True:
        child = await _start(context, data, toolbox, types, collected, number)
        error = await _failure(child)
        collected = await collect(context, child.id, collected)
        if error is None:
            break
        if await context.step("failed", lambda: context.task_id, key=str(number)) == context.task_id:
            raise error
        number += 1  # an earlier task met this failure; this one was made to try again
    return told | {
        "report": collected.report,
        "plan": Plan(data.goal, collected.subtasks).as_dict(),
        "results": collected.results,
        "rounds": collected.rounds,
        "workflow": child.id,
    }


async def planned(context: TaskContext, data: GoalData, toolbox: Toolbox) -> Plan:
    """The plan that was given, or one that the model makes."""
    if data.plan is not None:
        return read_plan(data.plan, _terms(data, toolbox))
    return await ask(context, toolbox, question_of(data, toolbox), plan_form(_terms(data, toolbox)))


def plan_form(terms: PlanTerms) -> Form[Plan]:
    """How a plan is asked for and read."""

    def read(value: dict[str, Any]) -> Plan:
        try:
            return read_plan(value, terms)
        except InvalidTask as error:
            raise BadAnswer(*getattr(error, "text", str(error)).splitlines()) from None

    return Form("plan", plan_schema(terms.tools), read, find_plan)


def question_of(data: GoalData, toolbox: Toolbox) -> Question:
    """What the model is asked for the plan."""
    tools = offered(toolbox, data.tools)
    messages = plan_messages(data.goal, data.instructions, tools, data.max_subtasks)
    return Question(_model(data, toolbox), messages)


async def _start(
    context: TaskContext,
    data: GoalData,
    toolbox: Toolbox,
    types: frozenset[str],
    collected: Collected,
    number: int,
) -> Child:
    direct, tries = work_of_tools(toolbox, data.tools, types)
    terms = GoalTerms(
        data.goal,
        _model(data, toolbox),
        data.instructions,
        collected.subtasks,
        tuple(data.tools),
        direct,
        tries,
        data.max_subtasks,
        max(0, data.replans - len(collected.rounds) + 1),
    )
    definition = GoalFlow(
        name=" ".join(data.goal.split())[:100],
        nodes=nodes_of(terms, collected.subtasks, collected.results),
    )
    if data.budget is not None:
        definition["budget"] = str(data.budget)
    details: dict[str, Any] = {"metadata": {"goal": context.task_id, "name": definition["name"]}}
    if data.deadline_seconds is not None:
        details["deadline"] = _deadline(context, data.deadline_seconds)
    return await context.start_child(WORKFLOW, definition, key=str(number), **details)


def _deadline(context: TaskContext, seconds: float) -> float:
    instants = (context.task.created_at + seconds, context.task.deadline)
    deadline = min(one for one in instants if one is not None)
    if deadline <= context.services.clock.wall():
        raise WorkflowFailed("its deadline passed while the plan was made", "workflow_deadline")
    return deadline


async def _failure(child: Child) -> ChildFailed | None:
    try:
        # Suspended at once: who holds nothing is not suspected when the process dies again and again.
        await child.result(patience=0.0)
    except ChildFailed as error:
        return error
    return None


def _terms(data: GoalData, toolbox: Toolbox) -> PlanTerms:
    most = data.max_subtasks if data.plan is None else 1_000
    return PlanTerms(data.goal, offered(toolbox, data.tools), most)


def refuse(data: GoalData, toolbox: Toolbox) -> None:
    """Tools that there are not, and a given plan that cannot be run."""
    try:
        tools = offered(toolbox, data.tools)
    except InvalidTask as error:
        raise InvalidTask(f"data of a {TaskType.GOAL} task: tools: {error}", ["tools"]) from None
    if data.plan is not None and tools is not None:
        read_plan(data.plan, _terms(data, toolbox))


def settle(data: GoalData, toolbox: Toolbox) -> GoalData:
    """The data with the plan as it was understood: what is kept is what is run."""
    if data.plan is None:
        return data
    refuse(data, toolbox)
    plan: Mapping[str, Any] = read_plan(data.plan, _terms(data, toolbox)).as_dict()
    return data.model_copy(update={"plan": dict(plan)})


def estimate(data: GoalData, toolbox: Toolbox) -> Estimate:
    """The call for the plan; nobody knows what follows."""
    if data.plan is not None:
        return NOTHING
    tokens = question_tokens(question_of(data, toolbox), plan_form(_terms(data, toolbox)))
    return Estimate(_model(data, toolbox), tokens, USUAL_PLAN)


def model(data: GoalData, toolbox: Toolbox) -> str:
    return "" if data.plan is not None else _model(data, toolbox)


def _model(data: GoalData, toolbox: Toolbox) -> str:
    return data.model or toolbox.model
