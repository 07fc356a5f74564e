"""The last node of a goal's workflow: it compiles the report, or plans what is still missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstock.errors import InvalidTask
from penstock.model.estimate import Estimate
from penstock.task_types.base import TaskData, Toolbox
from penstock.task_types.chat import CHAT, Answer, Message, chat_body, prompt_tokens
from penstock.task_types.conversation import BadAnswer, Talk, converse
from penstock.task_types.structured import REPAIRS
from penstock.workflows.plan_nodes import GoalTerms, nodes_of
from penstock.workflows.plan_reading import PlanTerms, read_plan
from penstock.workflows.plan_results import subtask_of
from penstock.workflows.plan_text import FIELD, find_plan
from penstock.workflows.plan_tools import offered, work_of_tools
from penstock.workflows.plan_words import report_messages
from penstock.workflows.plans import Plan, Subtask

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

USUAL_REPORT = 1_500
"""Tokens of a report, for estimates."""

_LONGEST_SHOWN = 8_000


class GoalReportData(TaskData):
    """The goal, all its subtasks so far with their results, and what may still be planned. `reports` are the
    nodes of this kind, this one the last of them."""

    goal: str
    model: str
    instructions: str | None = None
    tools: list[str] = Field(default_factory=list)
    max_subtasks: int
    replans: int
    reports: list[str]
    subtasks: list[dict[str, Any]]
    results: dict[str, Any]


async def compile_report(
    context: TaskContext, data: GoalReportData, toolbox: Toolbox, types: frozenset[str]
) -> dict[str, Any]:
    """`report` as Markdown; or, where more was planned, `subtasks`: their nodes and a further one like this
    have joined the workflow."""
    terms = goal_terms(data, toolbox, types)
    answer = await converse(context, toolbox.client().post, _talk(data, toolbox))
    if isinstance(answer, str):
        return {"report": answer}
    grown = GoalTerms(
        **{
            name: getattr(terms, name)
            for name in ("goal", "model", "instructions", "tools", "direct", "tries")
        },
        subtasks=(*terms.subtasks, *answer.subtasks),
        max_subtasks=terms.max_subtasks,
        replans=data.replans - 1,
        reports=tuple(data.reports),
    )
    await context.grow(nodes_of(grown, answer.subtasks))
    return {"subtasks": answer.as_dict()["subtasks"]}


def goal_terms(data: GoalReportData, toolbox: Toolbox, types: frozenset[str]) -> GoalTerms:
    """What the nodes of this goal have in common."""
    direct, tries = work_of_tools(toolbox, data.tools, types)
    subtasks = tuple(map(subtask_of, data.subtasks))
    return GoalTerms(data.goal, data.model, data.instructions, subtasks, tuple(data.tools), direct, tries,
                     data.max_subtasks, data.replans, tuple(data.reports))  # fmt: skip


def estimate(data: GoalReportData, toolbox: Toolbox) -> Estimate:
    """The one call that the report is."""
    return Estimate(data.model, prompt_tokens(CHAT, _body(data, toolbox)), USUAL_REPORT)


def _body(data: GoalReportData, toolbox: Toolbox) -> dict[str, Any]:
    more = (offered(toolbox, data.tools), data.max_subtasks) if data.replans > 0 else None
    results = [(one, data.results[one.id]) for one in map(subtask_of, data.subtasks)]
    return chat_body(data.model, report_messages(data.goal, data.instructions, results, more))


def _talk(data: GoalReportData, toolbox: Toolbox) -> Talk[str | Plan]:
    known: tuple[Subtask, ...] = tuple(map(subtask_of, data.subtasks))
    terms = PlanTerms(data.goal, offered(toolbox, data.tools), data.max_subtasks, known, tuple(data.reports))

    def read(answer: Answer) -> str | Plan:
        text = (answer.text or "").strip()
        if not text:
            raise BadAnswer("the answer is empty")
        if not _is_plan(text):
            return text
        if data.replans <= 0:
            raise BadAnswer("no further subtasks are possible: write the report from what is there")
        try:
            return read_plan(find_plan(text), terms)
        except InvalidTask as error:
            raise BadAnswer(*getattr(error, "text", str(error)).splitlines()) from None

    def repair(answer: Answer, bad: BadAnswer) -> list[Message]:
        problems = "\n".join(f"- {problem}" for problem in bad.problems)
        return [
            {"role": "assistant", "content": (answer.text or "(nothing)")[:_LONGEST_SHOWN]},
            {"role": "user", "content": f"That answer cannot be used:\n{problems}"},
        ]

    return Talk("report", _body(data, toolbox), read, repair, rounds=1 + REPAIRS)


def _is_plan(text: str) -> bool:
    """Whether this is a plan, or meant for one, and no report in which JSON stands."""
    return text.startswith(("{", "```json", "```\n{")) and FIELD in text
