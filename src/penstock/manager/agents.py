"""Agents of a manager: tools, agents and teams by name, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from penstock.errors import ConfigurationError
from penstock.manager.definitions import TaskHandle
from penstock.manager.task_config import TaskConfig
from penstock.model.priority import Priority
from penstock.model.task_type import TaskType
from penstock.runtime.context import TaskContext
from penstock.task_types.agent import KIND
from penstock.task_types.agent_definition import Agent
from penstock.task_types.base import Toolbox
from penstock.task_types.functions import Functions
from penstock.task_types.tools import FunctionTool, TaskTool, Tool, ToolTerms
from penstock.workflows.agent_patterns import Team, TeamData

if TYPE_CHECKING:
    from penstock.manager.ai_task_manager import AITaskManager

_PATIENT = TaskConfig(timeout=None)

F = TypeVar("F", bound=Callable[..., Any])
Asked = str | Sequence[Mapping[str, Any]]
"""What an agent is asked: a prompt, or the messages of a conversation."""


class RegisteredAgent:
    """An agent that tasks can name; `await agent.submit("...")` makes such a task."""

    def __init__(self, manager: AITaskManager, agent: Agent) -> None:
        self._manager = manager
        self.agent = agent

    @property
    def name(self) -> str:
        return self.agent.name

    def __repr__(self) -> str:
        return f"<agent {self.name}>"

    async def submit(
        self,
        asked: Asked,
        *,
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        **more: Any,
    ) -> TaskHandle[dict[str, Any]]:
        """Add a task that runs the agent, with no timeout unless `config` sets one; `more` are fields of its
        data. Raises as `submit_task`."""
        data = _data(self.name, asked, more)
        id = await self._manager.submit_task(TaskType.AGENT, data, priority, config or _PATIENT)
        return TaskHandle(self._manager, id, dict)

    async def run(self, context: TaskContext, asked: Asked, **more: Any) -> dict[str, Any]:
        """As `run_agent`."""
        return await self._manager.run_agent(context, self.name, asked, **more)


class AgentFace:
    """The part of a manager that knows agents."""

    _toolbox: Toolbox
    functions: Functions

    @overload
    def tool(self, function: F, /) -> F: ...
    @overload
    def tool(
        self,
        *,
        name: str | None = None,
        description: str = "",
        run: Literal["auto", "thread", "process"] = "auto",
        timeout: float | None = None,
        retries: int = 0,
        needs_approval: bool = False,
    ) -> Callable[[F], F]: ...

    def tool(self, *functions: Any, **options: Any) -> Any:
        """`@manager.tool`: make a function a tool of agents. Its arguments are told to the model by its
        annotations, and what it is for by the first paragraph of its docstring.

        A first parameter annotated `TaskContext` gets the context. `timeout` (seconds), `retries` and
        `needs_approval` as in `ToolTerms`.
        """
        if not functions:
            return lambda function: self._make_tool(function, **options)
        return self._make_tool(functions[0])

    def add_tool(self, tool: Tool) -> str:
        """Add a tool, such as `as_tool("llm_call")`, and the agent that it runs; its name."""
        if isinstance(tool, TaskTool) and tool.agent is not None:
            self.add_agent(tool.agent)
        self._toolbox.tools.add(tool)
        return tool.name

    def add_agent(self, agent: Agent) -> RegisteredAgent:
        """Let tasks name this agent; its functions and tools are registered with it.

        Raises `ConfigurationError` when another agent has its name, or a tool cannot be registered.
        """
        if not isinstance(agent, Agent):
            raise ConfigurationError(f"add_agent takes an Agent(...), not {agent!r}")
        named = replace(agent, tools=tuple(self._tool_name(tool) for tool in agent.tools))
        self._toolbox.agents.add(named)
        return RegisteredAgent(cast("AITaskManager", self), named)

    def add_team(self, name: str, team: Team) -> None:
        """Make a pattern of agents (`sequence`, `fan_out`, `supervisor`, `hand_off`) a task type: `await
        submit_task(name, {"prompt": ...})`. Its agents are added with it."""
        for agent in team.agents:
            self.add_agent(agent)
        cast("AITaskManager", self).register_type(name, team.run, data=TeamData)

    async def run_agent(
        self, context: TaskContext, agent: Agent | str, asked: Asked, **more: Any
    ) -> dict[str, Any]:
        """Run an agent inside a handler, as part of its task: the result is that of an AGENT task.

        `more` are fields of its data, such as `max_turns`. Raises `InvalidTask` that names the wrong one.
        """
        name = agent if isinstance(agent, str) else self.add_agent(agent).name
        data = KIND.settle(KIND.read(_data(name, asked, more)), self._toolbox)
        KIND.refuse(data, self._toolbox)
        async with context.branch(f"agent {name}"):
            result: dict[str, Any] = await KIND.run(context, data, self._toolbox)
        return result

    def _make_tool(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str = "",
        run: Literal["auto", "thread", "process"] = "auto",
        **terms: Any,
    ) -> Any:
        asked = ToolTerms(**terms)
        name = name or str(getattr(function, "__name__", ""))
        if self._name_of(function) != name:
            bare = getattr(function, "__task_function__", function)
            self.functions.register(bare, name=name, run=run, description=description)
        self._toolbox.tools.add(FunctionTool(self.functions.named(name), asked))
        return function

    def _tool_name(self, tool: Any) -> str:
        if isinstance(tool, str):
            return tool
        if hasattr(tool, "schema") and hasattr(tool, "terms"):
            return self.add_tool(tool)
        if not callable(tool):
            raise ConfigurationError(f"a tool is a function, a name or as_tool(...), not {tool!r}")
        known = self._name_of(tool)
        if known is None:
            self._make_tool(tool)
        return known or str(tool.__name__)

    def _name_of(self, function: Callable[..., Any]) -> str | None:
        """The name under which a function is registered."""
        bare = getattr(function, "__task_function__", function)
        for name in self.functions.names:
            known = self.functions.named(name).function
            if known == bare or getattr(known, "func", None) == bare:
                return name
        return None


def _data(agent: str, asked: Asked, more: Mapping[str, Any]) -> dict[str, Any]:
    said = {"prompt": asked} if isinstance(asked, str) else {"messages": [dict(one) for one in asked]}
    return {"agent": agent, **said, **more}
