"""Tools: what agents may call. Functions with schemas from their types, and task types run as child tasks."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from penstock.errors import (
    BudgetExhausted,
    ConfigurationError,
    InvalidTask,
    JournalMismatch,
    Parked,
    PriceUnknown,
    StoreError,
)
from penstock.model.options import TaskOptions
from penstock.model.step import digest_arguments
from penstock.task_types.conversation import pause
from penstock.task_types.functions import Functions, RegisteredFunction
from penstock.task_types.json_schemas import problems_of

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext
    from penstock.task_types.agent_definition import Agent

Outcome = dict[str, Any]
"""How a call ended, as it is recorded: `result`, or `error` in words for the model."""

# Errors that are no answer of a tool: the task itself cannot go on.
_NOT_THE_TOOLS = (JournalMismatch, StoreError, BudgetExhausted, PriceUnknown)
_LONGEST_ERROR = 2_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ToolTerms:
    """How a tool is called. `timeout` are seconds for one try (waiting for an answer of a person does not
    count), `retries` further tries before the model hears of an error; with `needs_approval` a person is
    asked before each call."""

    timeout: float | None = None
    retries: int = 0
    needs_approval: bool = False

    def __post_init__(self) -> None:
        if self.timeout is not None and not (math.isfinite(self.timeout) and self.timeout > 0):
            raise ConfigurationError(f"timeout of a tool must be seconds above 0, not {self.timeout!r}")
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise ConfigurationError(
                f"retries of a tool must be a whole number from 0 up, not {self.retries!r}"
            )


class Tool(Protocol):
    """One tool. `has_steps`: it gets the context, and what it does is recorded by itself, step by step."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def terms(self) -> ToolTerms: ...
    @property
    def schema(self) -> dict[str, Any]: ...
    @property
    def has_steps(self) -> bool: ...

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `InvalidTask` that says what is wrong with the arguments."""

    async def call(self, context: TaskContext, arguments: Mapping[str, Any]) -> Any:
        """What the tool answers, as JSON."""


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A registered function as a tool."""

    function: RegisteredFunction
    terms: ToolTerms = ToolTerms()

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def description(self) -> str:
        return self.function.description

    @property
    def schema(self) -> dict[str, Any]:
        return self.function.schema

    @property
    def has_steps(self) -> bool:
        return self.function.takes_context

    def check(self, arguments: Mapping[str, Any]) -> None:
        self.function.check(arguments)

    async def call(self, context: TaskContext, arguments: Mapping[str, Any]) -> Any:
        async with asyncio.timeout(self.terms.timeout):
            return await self.function.call(context, arguments)


@dataclass(frozen=True, slots=True)
class TaskTool:
    """A task type as a tool: each call is a child task, with `data` beside the model's arguments. `agent` is
    the one that it runs, if any."""

    name: str
    type: str
    description: str
    schema: dict[str, Any]
    terms: ToolTerms = ToolTerms()
    data: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Any], Any] = lambda result: result
    agent: Agent | None = None

    @property
    def has_steps(self) -> bool:
        return True

    def check(self, arguments: Mapping[str, Any]) -> None:
        if problems := problems_of(dict(arguments), self.schema):
            raise InvalidTask("; ".join(problems))

    async def call(self, context: TaskContext, arguments: Mapping[str, Any]) -> Any:
        # The child has its own retries; tries of ours would only multiply them.
        retries = self.terms.retries or TaskOptions().max_retries
        options = TaskOptions(max_retries=retries, timeout=self.terms.timeout)
        return self.read(await context.child(self.type, {**self.data, **arguments}, options=options))


class Tools:
    """The tools of a manager: those that were added as such, and every registered function."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._by_name: dict[str, Tool] = {}

    def add(self, tool: Tool) -> None:
        """Raises `ConfigurationError` for what is no tool, for a name that is taken, or that no model could
        call."""
        if not hasattr(tool, "schema") or not hasattr(tool, "terms"):
            raise ConfigurationError(f"{tool!r:.80} is no tool; make one with @manager.tool or as_tool(...)")
        if not _NAME.fullmatch(tool.name):
            raise ConfigurationError(
                f"{tool.name!r} cannot be a tool's name; use at most 64 letters, digits, _ and -"
            )
        known = self._by_name.get(tool.name)
        if known is None and tool.name in self._functions and not isinstance(tool, FunctionTool):
            known = FunctionTool(self._functions.named(tool.name))
        if known is not None and known != tool:
            raise ConfigurationError(f"a tool named {tool.name!r} is there already; choose another name")
        self._by_name[tool.name] = tool

    def named(self, name: str) -> Tool:
        """The tool of this name; raises `InvalidTask` that names those there are."""
        if (tool := self._by_name.get(name)) is not None:
            return tool
        if name in self._functions and _NAME.fullmatch(name):
            return FunctionTool(self._functions.named(name))
        known = ", ".join(sorted({*self._by_name, *self._functions.names})) or "none"
        raise InvalidTask(f"no tool named {name!r} is registered; known: {known}")


def as_model_sees(tool: Tool) -> dict[str, Any]:
    """A tool as a chat request describes it."""
    return described(tool.name, tool.description, tool.schema)


def described(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A function as a chat request describes it."""
    function: dict[str, Any] = {"name": name, "parameters": dict(schema)}
    if description:
        function["description"] = description
    return {"type": "function", "function": function}


def as_text(outcome: Outcome, longest: int) -> str:
    """What the model is told of a call."""
    if "error" in outcome:
        return f"Error: {outcome['error']}"
    result = outcome["result"]
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\n(cut: {len(text) - longest:,} more characters)"


async def use_tool(context: TaskContext, tool: Tool, arguments: dict[str, Any], call: str) -> Outcome:
    """The recorded outcome of one call, named `call` among those of the task; after a crash it is not made
    again. Asks a person first where the tool wants that. What goes wrong in the tool is an outcome too."""
    try:
        tool.check(arguments)
    except InvalidTask as error:
        return {"error": _told(error)}
    if tool.terms.needs_approval and (no := await _refusal(context, tool, arguments, call)) is not None:
        return no

    async def use() -> Outcome:
        return await _tried(context, tool, arguments)

    key = digest_arguments((arguments,), {})
    if not tool.has_steps:
        return dict(await context.step(f"tool {tool.name}", use, key=key))
    # Not inside a step: what waits there for days, or for a child, could not give its place away.
    step = context.step_key(f"tool {tool.name}", (), {}, key)
    known = await context.recorder.find(step)
    if known is not None:
        return dict(json.loads(known))
    context.check_parked()
    scope = await context.recorder.scope_of(step)
    with context.inside(scope):
        outcome = await use()
    if context.holding.under_way.turned_away(scope):
        raise Parked  # what the tool did caught this already
    return dict(await context.recorder.keep(step, outcome, None))


async def _refusal(context: TaskContext, tool: Tool, arguments: dict[str, Any], call: str) -> Outcome | None:
    """What the model is told when a person does not want this call; `None` when it may be made."""
    details = {"tool": tool.name, "arguments": arguments}
    decision = await context.approve(f"Call the tool {tool.name}?", details=details, name=call)
    if decision.approved:
        return None
    why = f": {decision.comment}" if decision.comment else ""
    return {"error": f"a person refused this call{why}"}


async def _tried(context: TaskContext, tool: Tool, arguments: dict[str, Any]) -> Outcome:
    tries = 1 if isinstance(tool, TaskTool) else 1 + tool.terms.retries
    for attempt in range(1, tries + 1):
        try:
            return {"result": await tool.call(context, arguments)}
        except _NOT_THE_TOOLS:
            raise
        except Exception as error:
            if attempt == tries:
                return {"error": _told(error, tool.terms.timeout)}
        await pause(context, context.options.retry.delay(attempt, context.services.random.random()))
    raise AssertionError("the last try returns")


def _told(error: Exception, timeout: float | None = None) -> str:
    if isinstance(error, TimeoutError) and timeout is not None and not str(error):
        return f"it took longer than {timeout:g} seconds"
    if isinstance(error, InvalidTask):
        return str(error)[:_LONGEST_ERROR]
    return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
