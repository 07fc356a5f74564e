"""What a goal's workflows have brought so far: results by subtask, the report, and what was planned later."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.model.states import TaskStatus
from penstock.stores.contract import Reader
from penstock.workflows.plan_nodes import REPORT_TYPE
from penstock.workflows.plans import Subtask

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


@dataclass(frozen=True, slots=True)
class Collected:
    """All subtasks so far; the results of those that are done (texts, or what tools gave); the subtasks of
    each round."""

    subtasks: tuple[Subtask, ...]
    results: dict[str, Any] = field(default_factory=dict)
    rounds: list[list[str]] = field(default_factory=list)
    report: str | None = None


async def collect(context: TaskContext, workflow: str, before: Collected) -> Collected:
    """What was there before, and what this workflow brought. It has ended: whoever looks finds the same."""

    def look(reader: Reader) -> list[tuple[str, str, Any]]:
        leader = reader.task(workflow)
        members = [] if leader is None else reader.members(leader.seq)
        done = {one.id: one for one in members if one.status is TaskStatus.COMPLETED}
        found = reader.results_of(list(done))
        return [(one.node, one.type, found[id][1]) for id, one in done.items() if id in found]

    ended = await context.services.committer.read(look)
    read = [(node, type, None if text is None else json.loads(text)) for node, type, text in ended]
    subtasks, rounds, report = list(before.subtasks), list(before.rounds), before.report
    for _, type, value in read:
        if type == REPORT_TYPE and value is not None:
            more = [subtask_of(one) for one in value.get("subtasks", ())]
            report = value.get("report", report)
            if more:
                subtasks += more
                rounds.append([one.id for one in more])
    told = {one.id: one for one in subtasks}
    results = dict(before.results)
    for node, type, value in read:
        if type != REPORT_TYPE and node in told:
            results[node] = said(told[node], value)
    ordered = {one.id: results[one.id] for one in subtasks if one.id in results}
    return Collected(tuple(subtasks), ordered, rounds, report)


def said(subtask: Subtask, result: Any) -> Any:
    """The result of a subtask as others see it: the model's text, or what the tool gave."""
    if subtask.tool is not None:
        return result
    text = result["text"]
    return text if text is not None else f"(no answer: {result['refusal'] or result['finish_reason']})"


def subtask_of(form: dict[str, Any]) -> Subtask:
    """A subtask from its own form."""
    return Subtask(**{**form, "dependencies": tuple(form["dependencies"])})
