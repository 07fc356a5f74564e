"""Agents: a name, instructions and tools, which tasks of type AGENT run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from penstock.errors import ConfigurationError, InvalidTask

AGENT_NAME = r"^[A-Za-z0-9_-]{1,50}$"


@dataclass(frozen=True, slots=True)
class Agent:
    """What a model is told, what it may call, and how far it may go.

    `tools` are functions, tools made by `as_tool`, or names of registered ones; `hand_off` are names of
    agents to which it may pass the conversation on. `output_schema` is a JSON schema or a pydantic model,
    `description` says to other agents what this one is for. The other fields are as in the data of an AGENT
    task.
    """

    name: str
    instructions: str = ""
    tools: Sequence[Any] = ()
    model: str | None = None
    max_turns: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_output_tokens: int | None = None
    max_errors: int | None = None
    output_schema: Mapping[str, Any] | type[BaseModel] | None = None
    temperature: float | None = None
    hand_off: Sequence[str] = ()
    request: Mapping[str, Any] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.match(AGENT_NAME, self.name):
            raise ConfigurationError(
                f"{self.name!r} cannot be an agent's name; use at most 50 letters, digits, _ and -"
            )

    def as_data(self) -> dict[str, Any]:
        """The fields of an AGENT task that this agent sets."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        given = {name: value for name, value in plain.items() if value not in (None, "")}
        for name in ("tools", "hand_off"):
            if value := getattr(self, name):
                given[name] = list(value)
        if self.request is not None:
            given["request"] = dict(self.request)
        schema = self.output_schema
        if isinstance(schema, type):
            given["output_schema"] = schema.model_json_schema()
        elif schema is not None:
            given["output_schema"] = dict(schema)
        return given


_PLAIN = (
    "instructions",
    "model",
    "max_turns",
    "max_tokens",
    "max_cost",
    "max_output_tokens",
    "max_errors",
    "temperature",
)


class Agents:
    """The agents of a manager, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Agent] = {}

    def add(self, agent: Agent) -> None:
        """Raises `ConfigurationError` when another agent has this name."""
        known = self._by_name.get(agent.name)
        if known is not None and known != agent:
            raise ConfigurationError(f"an agent named {agent.name!r} is there already; choose another name")
        self._by_name[agent.name] = agent

    def named(self, name: str) -> Agent:
        """The agent of this name; raises `InvalidTask` that names those there are."""
        agent = self._by_name.get(name)
        if agent is None:
            known = ", ".join(sorted(self._by_name)) or "none"
            raise InvalidTask(f"no agent named {name!r} is registered; known: {known}")
        return agent
