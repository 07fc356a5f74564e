"""Structured answers: an object that fits a schema, from endpoints that know schemas and those that do not.

Where the endpoint takes `response_format`, the schema goes there; where it refuses that (remembered for each
client and model) or the toolbox says so, the schema goes into the prompt. Which way was taken is recorded, so
that a replay asks the same questions. Either way the answer is validated, and the model is shown what is
wrong with it, at most twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ValidationError

from penstock.errors import CallFailed
from penstock.task_types.base import Toolbox
from penstock.task_types.chat import CHAT, Answer, Message, chat_body, prompt_tokens
from penstock.task_types.conversation import BadAnswer, Post, Talk, converse
from penstock.task_types.json_in_text import find_object
from penstock.task_types.json_schemas import problems_of

if TYPE_CHECKING:
    from penstock.runtime.client import ModelClient
    from penstock.runtime.context import TaskContext

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

REPAIRS = 2
_LONGEST_SHOWN = 8_000
_NO_SCHEMAS = re.compile(r"response[_ ]?format|json[_ ]?schema|structured[_ ]?outputs?", re.IGNORECASE)
_refusing: WeakKeyDictionary[ModelClient, set[str]] = WeakKeyDictionary()
"""Models that answered 400 to a schema, for each client."""


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """What an answer looks like: a schema for the model, and what reads it (raising `BadAnswer`). `find`
    looks for the object in the text; it may raise that as well."""

    name: str
    schema: Mapping[str, Any]
    read: Callable[[dict[str, Any]], T]
    find: Callable[[str], dict[str, Any] | None] = find_object


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked."""

    model: str
    messages: list[Message]
    max_tokens: int | None = None
    temperature: float | None = None

    def body(self, **more: Any) -> dict[str, Any]:
        return chat_body(
            self.model,
            self.messages,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            **more,
        )


async def ask(
    context: TaskContext, toolbox: Toolbox, question: Question, form: Form[T], post: Post | None = None
) -> T:
    """The model's answer in this form. Raises `CallFailed` when it gives none."""
    client = toolbox.client()
    post = post or client.post

    async def choose() -> str:
        plain = not toolbox.structured_output or question.model in _refusing.get(client, ())
        return "prompt" if plain else "schema"

    # Ways of asking have scopes of their own: after a crash a refused schema is no gap in the journal.
    if await context.step("answer_form", choose, key=question.model) == "schema":
        try:
            async with context.branch("schema"):
                return await converse(context, post, talk_in(form, with_schema(question, form)))
        except CallFailed as error:
            if not refuses_schemas(error):
                raise
            _refusing.setdefault(client, set()).add(question.model)
    async with context.branch("prompt"):
        return await converse(context, post, talk_in(form, _with_instructions(question, form)))


def with_schema(question: Question, form: Form[Any]) -> dict[str, Any]:
    """The request for an endpoint that knows schemas."""
    wanted = {"name": form.name, "strict": True, "schema": form.schema}
    return question.body(response_format={"type": "json_schema", "json_schema": wanted})


def question_tokens(question: Question, form: Form[Any]) -> int:
    """About how many tokens of input the question has."""
    return prompt_tokens(CHAT, with_schema(question, form))


def refuses_schemas(error: CallFailed) -> bool:
    """Whether an endpoint says here that it cannot do `response_format`."""
    return error.status in (400, 404, 415, 422, 501) and bool(_NO_SCHEMAS.search(str(error)))


def form_of(name: str, model: type[M]) -> Form[M]:
    """The form of a pydantic model whose fields are all required; it should ignore fields it does not
    know."""

    def read(value: dict[str, Any]) -> M:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            found = [
                f"{'.'.join(map(str, one['loc'])) or 'the object'}: {one['msg']}" for one in error.errors()
            ]
            raise BadAnswer(*found) from None

    return Form(name, {**model.model_json_schema(), "additionalProperties": False}, read)


def schema_form(name: str, schema: Mapping[str, Any]) -> Form[dict[str, Any]]:
    """The form of objects that fit a user's JSON schema."""

    def read(value: dict[str, Any]) -> dict[str, Any]:
        if problems := problems_of(value, dict(schema)):
            raise BadAnswer(*problems)
        return value

    return Form(name, schema, read)


def _with_instructions(question: Question, form: Form[Any]) -> dict[str, Any]:
    head, *rest = question.messages
    told = {**head, "content": f"{head['content']}\n\n{instructions(form)}"}
    return {**question.body(), "messages": [told, *rest]}


def instructions(form: Form[Any]) -> str:
    """What makes a model answer in this form."""
    schema = json.dumps(form.schema, ensure_ascii=False, separators=(", ", ": "))
    return f"Answer with one JSON object and nothing else. It must fit this JSON schema:\n{schema}"


def talk_in(form: Form[T], body: dict[str, Any]) -> Talk[T]:
    """Asks with `body` for an answer in this form, which is repaired by showing what is wrong with it."""

    def read(answer: Answer) -> T:
        value = form.find(answer.text or "")
        if value is None:
            raise BadAnswer("there is no JSON object in it")
        return form.read(value)

    def repair(answer: Answer, bad: BadAnswer) -> list[Message]:
        problems = "\n".join(f"- {problem}" for problem in bad.problems)
        return [
            {"role": "assistant", "content": (answer.text or "(nothing)")[:_LONGEST_SHOWN]},
            {
                "role": "user",
                "content": f"That answer cannot be used:\n{problems}\n\n{instructions(form)}",
            },
        ]

    return Talk(f"{form.name} answer", body, read, repair, rounds=1 + REPAIRS)
