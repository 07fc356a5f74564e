"""What running a plan will probably take: calls, tokens, money, time."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from penstock.model.estimate import Estimate
from penstock.model.usage import from_pico
from penstock.task_types.chat import CHAT, chat_body, conversation, prompt_tokens
from penstock.task_types.llm_call import USUAL_OUTPUT
from penstock.workflows.plan_report import USUAL_REPORT
from penstock.workflows.plan_words import report_messages, work_prompt, work_system
from penstock.workflows.plans import Plan, PlanEstimate, Subtask

REPORT_SECONDS = 60.0
"""How long compiling the report takes, for estimates."""


def weigh(plan: Plan, model: str, price: Callable[[Estimate], int | None]) -> PlanEstimate:
    """The estimate; `price` gives pico-dollars of a call, or `None`. Answers are taken to be of the usual
    length; planning more, retries, and what tools cost are not in it."""
    calls = [_subtask(one, plan, model) for one in plan.subtasks if one.tool is None]
    calls.append(_report(plan, model))
    prices = [price(one) for one in calls]
    known = [one for one in prices if one is not None]
    cost: Decimal | None = from_pico(sum(known)) if len(known) == len(prices) else None
    return PlanEstimate(
        len(calls),
        sum(one.input_tokens for one in calls),
        sum(one.output_tokens for one in calls),
        cost,
        plan.seconds + REPORT_SECONDS,
    )


def _subtask(one: Subtask, plan: Plan, model: str) -> Estimate:
    names = {other.id: other.name for other in plan.subtasks}
    parts = work_prompt(plan.goal, None, one, [(names[need], "") for need in one.dependencies])
    body = chat_body(model, conversation(work_system(), "".join(parts)))
    return Estimate(model, prompt_tokens(CHAT, body) + USUAL_OUTPUT * len(one.dependencies), USUAL_OUTPUT)


def _report(plan: Plan, model: str) -> Estimate:
    body = chat_body(model, report_messages(plan.goal, None, [(one, "") for one in plan.subtasks], None))
    return Estimate(model, prompt_tokens(CHAT, body) + USUAL_OUTPUT * len(plan.subtasks), USUAL_REPORT)
