"""AGENT: a model that calls tools until it can answer, as one task; each call is a recorded step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from penstock.errors import InvalidTask
from penstock.model.estimate import Estimate
from penstock.model.task_type import TaskType
from penstock.task_types.agent_definition import AGENT_NAME
from penstock.task_types.agent_loop import TRANSFER, AgentRun, Assignment
from penstock.task_types.base import TaskData, TaskKind, Toolbox, named_model
from penstock.task_types.chat import CHAT, Message, check_messages, prompt_tokens
from penstock.task_types.field_types import (
    ModelName,
    ShortText,
    Temperature,
    Text,
    TokenCap,
    json_size,
    wrong,
)
from penstock.task_types.json_schemas import check_schema

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

USUAL_OUTPUT = 300
LARGEST_MESSAGES = 20_000_000
TURNS = 20
ERRORS = 3

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
AgentName = Annotated[str, StringConstraints(pattern=AGENT_NAME)]
Count = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]

# Of a chat request: what the run itself says.
_OURS = ("model", "messages", "tools", "functions", "stream", "n", "max_tokens", "max_completion_tokens")


class AgentData(TaskData):
    """One of `prompt` and `messages` says what is asked. `agent` names a registered agent, whose fields hold
    where the data give none.

    `max_turns` counts model calls, `max_tokens` the tokens of all of them, `max_cost` their US dollars;
    `max_output_tokens` caps the answer of each. After `max_errors` turns in a row that brought nothing but
    errors the run ends. `hand_off` are agents to which it may pass the conversation on. `request` holds
    further fields of every chat request.
    """

    agent: AgentName | None = None
    prompt: Text | None = None
    messages: Annotated[list[dict[str, JsonValue]], Field(min_length=1, max_length=10_000)] | None = None
    instructions: ShortText | None = None
    tools: Annotated[list[ToolName], Field(max_length=128)] = Field(default_factory=list)
    hand_off: Annotated[list[AgentName], Field(max_length=64)] = Field(default_factory=list)
    model: ModelName | None = None
    max_turns: Count = TURNS
    max_tokens: TokenCap | None = None
    max_cost: Dollars | None = None
    max_output_tokens: TokenCap | None = None
    max_errors: Count = ERRORS
    output_schema: dict[str, JsonValue] | None = None
    temperature: Temperature | None = None
    request: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("messages")
    @classmethod
    def _are_messages(cls, messages: list[dict[str, JsonValue]] | None) -> list[dict[str, JsonValue]] | None:
        check_messages(messages)
        if messages is not None and json_size(messages) > LARGEST_MESSAGES:
            raise wrong(f"are larger than {LARGEST_MESSAGES:,} characters")
        return messages

    @field_validator("tools", "hand_off")
    @classmethod
    def _different(cls, names: list[str]) -> list[str]:
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise wrong(f"{twice} stands there twice")
        return names

    @field_validator("output_schema")
    @classmethod
    def _schema(cls, schema: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        return None if schema is None else check_schema(schema)

    @field_validator("request")
    @classmethod
    def _further(cls, request: dict[str, JsonValue]) -> dict[str, JsonValue]:
        json_size(request)
        if said := [name for name in _OURS if name in request]:
            raise wrong(f"{', '.join(said)}: not here; the run says that itself")
        return request

    @model_validator(mode="after")
    def _one_question(self) -> AgentData:
        given = [name for name in ("prompt", "messages") if getattr(self, name) is not None]
        if len(given) != 1:
            raise wrong(f"give one of prompt and messages, not {' and '.join(given) or 'none'}")
        return self


def settle(data: AgentData, toolbox: Toolbox) -> AgentData:
    """The data with what their agent says: a task keeps to what the agent was when it was submitted."""
    if data.agent is None:
        return data
    try:
        agent = toolbox.agents.named(data.agent)
    except InvalidTask as error:
        raise InvalidTask(f"data of a {TaskType.AGENT} task: agent: {error}") from None
    return KIND.read({**agent.as_data(), **data.model_dump(exclude_unset=True)})


def refuse(data: AgentData, toolbox: Toolbox) -> None:
    """Names of tools and agents that there are not, or that would stand for two things."""
    problems = []
    for field, find, names in (
        ("tools", toolbox.tools.named, data.tools),
        ("hand_off", toolbox.agents.named, data.hand_off),
    ):
        for place, name in enumerate(names):
            try:
                find(name)
            except InvalidTask as error:
                problems.append(f"{field}.{place}: {error}")
    problems += [
        f"hand_off: a tool is named {TRANSFER}{name}"
        for name in data.hand_off
        if TRANSFER + name in data.tools
    ]
    if problems:
        raise InvalidTask(f"data of a {TaskType.AGENT} task: {'; '.join(problems)}")


async def run(context: TaskContext, data: AgentData, toolbox: Toolbox) -> dict[str, Any]:
    """How the run ended: `text` and `output` (the answer, as an object where a schema was given), `stopped`
    (the limit that ended it, or `None`), `turns`, `usage`, `cost`, `handed_to`, and the `messages` of the
    conversation without the instructions."""
    return await AgentRun(context, toolbox, assignment_of(data, toolbox)).run()


def assignment_of(data: AgentData, toolbox: Toolbox) -> Assignment:
    """What there is to do, with the tools themselves."""
    return Assignment(
        agent=data.agent or "",
        model=named_model(data, toolbox),
        instructions=data.instructions,
        messages=_messages(data),
        tools={name: toolbox.tools.named(name) for name in data.tools},
        hand_off={name: toolbox.agents.named(name).description for name in data.hand_off},
        max_turns=data.max_turns,
        max_tokens=data.max_tokens,
        max_cost=data.max_cost,
        max_output_tokens=data.max_output_tokens,
        max_errors=data.max_errors,
        output_schema=data.output_schema,
        temperature=data.temperature,
        request=data.request,
    )


def estimate(data: AgentData, toolbox: Toolbox) -> Estimate:
    """The first call; nobody knows how many follow."""
    body = assignment_of(settle(data, toolbox), toolbox).body(_messages(data))
    return Estimate(body["model"], prompt_tokens(CHAT, body), data.max_output_tokens or USUAL_OUTPUT)


def _messages(data: AgentData) -> list[Message]:
    return list(data.messages) if data.messages is not None else [{"role": "user", "content": data.prompt}]


KIND = TaskKind(TaskType.AGENT, AgentData, run, estimate, named_model, refuse, settle)
