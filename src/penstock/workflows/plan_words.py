"""What models are told when they plan, do a subtask, and compile the report; and the form of a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.task_types.chat import Message, conversation
from penstock.workflows.plan_arguments import OfferedTool
from penstock.workflows.plans import Subtask

LONGEST_RESULT = 40_000
"""Characters of one result in the question for the report."""

_PLANNER = """\
You break a goal down into subtasks. They are carried out exactly as you write them, side by side wherever \
their dependencies allow it, and a report is compiled from all of their results at the end.

- Each subtask stands for itself: its description says all that is needed to do it, what it is to bring, and \
in which form. Whoever does it sees the goal, its description, and the results of its dependencies; nothing \
else.
- List in `dependencies` the ids of the subtasks whose results it needs, and no others: what does not wait \
runs at once. Nothing may depend on itself, directly or through others.
- `estimated_time` is in seconds. Ids are short words, each used once.
- As few subtasks as the goal needs, at most {most}. Leave the final report out: it is compiled anyway."""

_TOOLS = """
- A subtask may be a call of one of the tools below: name it in `tool`, and give its `arguments` as the text \
of a JSON object. "${{id}}" in an argument stands for the result of that subtask ("${{id/key}}" for a part \
of what a tool gave). Where no tool fits, leave both null: a model thinks and writes."""

_WORKER = """\
You do one subtask of a larger goal. Do that subtask only, from what you are given, as completely as its \
description asks. Give the result itself, without remarks about it or about yourself."""

_WRITER = """\
You compile the results of the subtasks into the final answer to the goal: a complete report in Markdown, \
with a title and headings, that somebody can use who has seen nothing else. Use what the results say, keep \
their figures as they are, add nothing that does not follow from them, and say openly what is missing."""

_REPLAN = """

If something that the goal cannot do without is missing, and further subtasks can bring it, answer instead \
with a JSON object of further subtasks and nothing else. They may depend on those that are done, and need \
ids of their own. Do so only if you must; otherwise write the report.

"""


def plan_schema(tools: Mapping[str, OfferedTool]) -> dict[str, Any]:
    """The JSON schema of a plan, strict enough for structured outputs."""
    properties: dict[str, Any] = {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "dependencies": {"type": "array", "items": {"type": "string"}, "minItems": 0},
        "estimated_time": {"type": "number", "description": "seconds"},
    }
    if tools:
        properties["tool"] = {"type": ["string", "null"], "enum": [None, *tools]}
        properties["arguments"] = {"type": ["string", "null"], "description": "the text of a JSON object"}
    subtask = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"subtasks": {"type": "array", "items": subtask, "minItems": 1}},
        "required": ["subtasks"],
        "additionalProperties": False,
    }


def plan_messages(
    goal: str, instructions: str | None, tools: Mapping[str, OfferedTool], most: int
) -> list[Message]:
    """The question for a plan."""
    system = _rules(tools, most)
    return conversation(system, "\n\n".join(_goal(goal, instructions)))


def work_system() -> str:
    """The system prompt of a subtask."""
    return _WORKER


def work_prompt(
    goal: str, instructions: str | None, subtask: Subtask, results: Sequence[tuple[str, Any]]
) -> list[Any]:
    """The prompt of a subtask as the parts of a text; `results` are (name, reference) of what it needs."""
    asked = [*_goal(goal, instructions), f"Your subtask: {subtask.name}\n{subtask.description}"]
    parts: list[Any] = ["\n\n".join(asked)]
    for name, reference in results:
        parts += [f"\n\n<result of={json.dumps(name, ensure_ascii=False)}>\n", reference, "\n</result>"]
    return parts


def report_messages(
    goal: str,
    instructions: str | None,
    results: Sequence[tuple[Subtask, Any]],
    more: tuple[Mapping[str, OfferedTool], int] | None,
) -> list[Message]:
    """The question for the report; with `more` (tools, most subtasks) the answer may be a further plan."""
    system = _WRITER
    if more is not None:
        system += (
            _REPLAN + _rules(*more) + "\n\nThe form of that object:\n" + json.dumps(plan_schema(more[0]))
        )
    parts = _goal(goal, instructions)
    for subtask, result in results:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        if len(text) > LONGEST_RESULT:
            text = f"{text[:LONGEST_RESULT]}\n(cut: {len(text) - LONGEST_RESULT:,} more characters)"
        head = f"<result of={json.dumps(subtask.name, ensure_ascii=False)} id={json.dumps(subtask.id)}>"
        parts.append(f"{head}\n{text}\n</result>")
    return conversation(system, "\n\n".join(parts))


def _goal(goal: str, instructions: str | None) -> list[str]:
    return [f"The goal: {goal}", *([instructions] if instructions else [])]


def _rules(tools: Mapping[str, OfferedTool], most: int) -> str:
    told = _PLANNER.format(most=most)
    if tools:
        listed = [
            {"name": one.name, "description": one.description, "arguments": one.schema}
            for one in tools.values()
        ]
        told += _TOOLS.format() + "\n\nThe tools:\n" + "\n".join(map(_line, listed))
    return told


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
