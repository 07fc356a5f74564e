"""FUNCTION_CALL: a model calls a function, and a registered function of that name is run with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import JsonValue, StringConstraints, field_validator

from penstock.errors import InvalidTask
from penstock.model.estimate import Estimate
from penstock.model.step import digest_arguments
from penstock.model.task_type import TaskType
from penstock.task_types.base import TaskData, TaskKind, Toolbox, named_model
from penstock.task_types.chat import CHAT, Answer, Message, chat_body, conversation, prompt_tokens
from penstock.task_types.conversation import BadAnswer, Talk, converse
from penstock.task_types.field_types import ModelName, ShortText, Temperature, Text, TokenCap
from penstock.task_types.json_schemas import check_schema, problems_of
from penstock.task_types.tool_calls import arguments_of
from penstock.task_types.tools import described

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext
    from penstock.task_types.functions import RegisteredFunction

REPAIRS = 1
USUAL_OUTPUT = 150


class FunctionCallData(TaskData):
    """`parameters` is the JSON schema of the function's arguments; a registered function brings its own."""

    function_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    content: Text
    parameters: dict[str, JsonValue] | None = None
    description: ShortText | None = None
    system_prompt: ShortText | None = None
    model: ModelName | None = None
    temperature: Temperature | None = None
    max_tokens: TokenCap | None = None

    @field_validator("parameters")
    @classmethod
    def _schema(cls, parameters: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        return None if parameters is None else check_schema(parameters)


def registered(name: str, toolbox: Toolbox) -> RegisteredFunction | None:
    """The registered function of this name, if there is one."""
    try:
        return toolbox.functions.named(name)
    except InvalidTask:
        return None


def body_of(data: FunctionCallData, toolbox: Toolbox) -> dict[str, Any]:
    """The request that makes the model call the function."""
    known = registered(data.function_name, toolbox)
    description = data.description or (known.description if known is not None else "")
    return chat_body(
        named_model(data, toolbox),
        conversation(data.system_prompt, data.content),
        temperature=data.temperature,
        max_tokens=data.max_tokens,
        tools=[described(data.function_name, description, _schema_of(data, known))],
        tool_choice={"type": "function", "function": {"name": data.function_name}},
    )


async def run(context: TaskContext, data: FunctionCallData, toolbox: Toolbox) -> dict[str, Any]:
    """`function` and its validated `arguments`; the `result` too when such a function is registered."""
    name, function = data.function_name, registered(data.function_name, toolbox)
    schema = _schema_of(data, function)

    def read(answer: Answer) -> dict[str, Any]:
        arguments = _arguments(answer, name)
        if problems := problems_of(arguments, schema):
            raise BadAnswer(*problems)
        if function is not None:
            try:
                function.check(arguments)
            except InvalidTask as error:
                raise BadAnswer(str(error)) from None
        return arguments

    def repair(answer: Answer, bad: BadAnswer) -> list[Message]:
        return _repair(answer, bad, name)

    talk = Talk(f"call of {name}", body_of(data, toolbox), read, repair, rounds=1 + REPAIRS)
    arguments = await converse(context, toolbox.client().post, talk)
    call = {"function": name, "arguments": arguments}
    if function is None:
        return call
    key = digest_arguments((arguments,), {})
    return {**call, "result": await context.step(name, function.call, context, arguments, key=key)}


def refuse(data: FunctionCallData, toolbox: Toolbox) -> None:
    if data.parameters is None and registered(data.function_name, toolbox) is None:
        raise InvalidTask(
            f"data of a {TaskType.FUNCTION_CALL} task: parameters: missing, and no function named "
            f"{data.function_name!r} is registered; give the JSON schema of its arguments"
        )


def estimate(data: FunctionCallData, toolbox: Toolbox) -> Estimate:
    body = body_of(data, toolbox)
    return Estimate(body["model"], prompt_tokens(CHAT, body), data.max_tokens or USUAL_OUTPUT)


def _schema_of(data: FunctionCallData, function: RegisteredFunction | None) -> dict[str, Any]:
    if data.parameters is not None:
        return data.parameters
    return {"type": "object"} if function is None else function.schema


def _arguments(answer: Answer, name: str) -> dict[str, Any]:
    call = _call_of(answer, name)
    if call is None:
        raise BadAnswer(f"it does not call {name}")
    return arguments_of(call)


def _call_of(answer: Answer, name: str) -> dict[str, Any] | None:
    for call in answer.tool_calls:
        function = call.get("function")
        if isinstance(function, dict) and function.get("name") == name:
            return call
    return None


def _repair(answer: Answer, bad: BadAnswer, name: str) -> list[Message]:
    problems = "\n".join(f"- {problem}" for problem in bad.problems)
    text = f"That call cannot be used:\n{problems}\n\nCall {name} again with arguments that fit its schema."
    calls = [call for call in answer.tool_calls if call.get("id")]
    if not calls:
        said = (answer.text or "(nothing)")[:8_000]
        return [{"role": "assistant", "content": said}, {"role": "user", "content": text}]
    # Every call of an assistant's message needs its answer before anything else may follow.
    replies = [{"role": "tool", "tool_call_id": call["id"], "content": text} for call in calls]
    return [{"role": "assistant", "content": answer.text, "tool_calls": calls}, *replies]


KIND = TaskKind(TaskType.FUNCTION_CALL, FunctionCallData, run, estimate, named_model, refuse)
