"""A plan becomes the nodes of a workflow: one for each subtask, and one that compiles the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.model.references import LITERAL, RESULT, TEXT, part_of, rebuilt
from penstock.workflows.free_ids import FreeIds
from penstock.workflows.plan_arguments import as_data
from penstock.workflows.plan_words import work_prompt, work_system
from penstock.workflows.plans import Subtask

REPORT_TYPE = "goal_report"
TOOL_TYPE = "goal_tool"

_SAID = "/text"
_LONGEST_TOLD = 500


class GoalFlow(dict[str, Any]):
    """The definition of a goal's workflow, as the goal's handler makes it: the only one that may have nodes
    of the types above."""


@dataclass(frozen=True, slots=True)
class GoalTerms:
    """What all nodes of a goal have in common. `subtasks` are all there are so far, of every round; `direct`
    are the tools that are task types of their own; `tries` further tries of each tool; `replans` says how
    often more may be planned; `reports` are the nodes that were to compile the report in earlier rounds."""

    goal: str
    model: str
    instructions: str | None
    subtasks: tuple[Subtask, ...]
    tools: tuple[str, ...] = ()
    direct: frozenset[str] = frozenset()
    tries: Mapping[str, int] | None = None
    max_subtasks: int = 20
    replans: int = 0
    reports: tuple[str, ...] = ()


def nodes_of(
    terms: GoalTerms, added: Iterable[Subtask], known: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The nodes for the `added` subtasks, and behind them the one that compiles the report.

    `known` are results that are there already, by subtask: they stand in the data as they are.
    """
    done = known or {}
    paths = {one.id: _SAID for one in terms.subtasks if one.tool is None}
    nodes = [_node(one, terms, paths) for one in added if one.id not in done]
    nodes.append(_report(terms, paths))
    return [_with_known(node, done, paths) for node in nodes] if done else nodes


def _node(one: Subtask, terms: GoalTerms, paths: Mapping[str, str]) -> dict[str, Any]:
    type, data = _work(one, terms, paths)
    node: dict[str, Any] = {
        "id": one.id,
        "type": type,
        "name": one.name,
        "description": one.description[:_LONGEST_TOLD],
        "after": list(one.dependencies),
        "data": data,
    }
    if one.estimated_time > 0:
        node["estimated_seconds"] = float(one.estimated_time)
    if one.tool is not None and type == TOOL_TYPE and terms.tries is not None:
        node["max_retries"] = terms.tries[one.tool]
    return node


def _work(one: Subtask, terms: GoalTerms, paths: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """(task type, data)"""
    if one.tool is not None:
        arguments = as_data(dict(one.arguments), paths)
        if one.tool in terms.direct:
            return one.tool, arguments
        return TOOL_TYPE, {"tool": one.tool, "arguments": arguments}
    names = {other.id: other.name for other in terms.subtasks}
    results = [(names[need], reference(need, paths)) for need in one.dependencies]
    prompt = work_prompt(terms.goal, terms.instructions, one, results)
    return "llm_call", {"model": terms.model, "system_prompt": work_system(), "prompt": {TEXT: prompt}}


def _report(terms: GoalTerms, paths: Mapping[str, str]) -> dict[str, Any]:
    id = FreeIds({*terms.reports, *(one.id for one in terms.subtasks)}).free("report")
    plain = {
        "goal": terms.goal,
        "model": terms.model,
        "tools": list(terms.tools),
        "max_subtasks": terms.max_subtasks,
        "replans": terms.replans,
        "reports": [*terms.reports, id],
        "subtasks": {LITERAL: [one.as_dict() for one in terms.subtasks]},
        "results": {one.id: reference(one.id, paths) for one in terms.subtasks},
    }
    if terms.instructions is not None:
        plain["instructions"] = terms.instructions
    return {"id": id, "type": REPORT_TYPE, "name": "Report", "data": plain}


def reference(id: str, paths: Mapping[str, str]) -> dict[str, Any]:
    """What stands for the result of a subtask."""
    return {RESULT: id, "path": paths[id]} if id in paths else {RESULT: id}


def _with_known(node: dict[str, Any], known: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    def answer(found: dict[str, Any]) -> dict[str, Any]:
        id = found[RESULT]
        if id not in known:
            return found
        # Known results are what subtasks said: the way to it is gone already.
        path = found.get("path", "").removeprefix(paths.get(id, ""))
        return {LITERAL: part_of(known[id], path, f"the result of subtask {id!r}")}

    after = [need for need in node.get("after", ()) if need not in known]
    return {**node, "after": after, "data": rebuilt(node["data"], answer)}
