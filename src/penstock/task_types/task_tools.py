"""Task types and agents as tools: each call is a child task of its own, and holds nothing while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from penstock.errors import ConfigurationError
from penstock.model.task_type import TaskType
from penstock.task_types.agent_definition import Agent
from penstock.task_types.tools import TaskTool, ToolTerms

_PROMPT = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "minLength": 1, "description": "what it is to do"}},
    "required": ["prompt"],
    "additionalProperties": False,
}


def as_tool(
    what: TaskType | str | Agent,
    *,
    name: str | None = None,
    description: str = "",
    schema: Mapping[str, Any] | type[BaseModel] | None = None,
    data: Mapping[str, Any] | None = None,
    **terms: Any,
) -> TaskTool:
    """A tool whose calls are child tasks of a type, or runs of an agent.

    The model gives the arguments by `schema`, a JSON schema or pydantic model (of a built-in type, its own);
    `data` are fields that it does not choose, `terms` those of `ToolTerms`. Raises `ConfigurationError`
    without a schema.
    """
    if isinstance(what, Agent):
        return _agent_tool(what, name, description, ToolTerms(**terms))
    type = what.value if isinstance(what, TaskType) else TaskType.__members__.get(what, what)
    if schema is None:
        schema = _built_in(str(type))
    found = dict(schema) if isinstance(schema, Mapping) else schema.model_json_schema()
    return TaskTool(
        name or str(type),
        str(type),
        description,
        _open_fields(found, data or {}),
        ToolTerms(**terms),
        data or {},
    )


def answer_of(result: Any) -> Any:
    """What an agent's run has to say to another agent."""
    if not isinstance(result, dict):
        return result
    said = result.get("output") if result.get("output") is not None else result.get("text")
    stopped = result.get("stopped")
    return {"said": said, "stopped_by_its_limit_of": stopped} if stopped else said


def _agent_tool(agent: Agent, name: str | None, description: str, terms: ToolTerms) -> TaskTool:
    told = description or agent.description or agent.instructions.split("\n\n")[0]
    return TaskTool(
        name or agent.name,
        TaskType.AGENT.value,
        told,
        _PROMPT,
        terms,
        {"agent": agent.name},
        answer_of,
        agent,
    )


def _built_in(type: str) -> type[BaseModel]:
    from penstock.task_types import BUILT_IN

    for kind in BUILT_IN:
        if kind.type.value == type:
            return kind.data
    raise ConfigurationError(f"as_tool({type!r}) needs schema=, the JSON schema of the data of such a task")


def _open_fields(schema: dict[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without the fields that are given already."""
    if not fixed:
        return schema
    properties = {key: value for key, value in schema.get("properties", {}).items() if key not in fixed}
    required = [key for key in schema.get("required", ()) if key not in fixed]
    return {**schema, "properties": properties, "required": required}
