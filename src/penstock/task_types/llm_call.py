"""LLM_CALL: one model call, from a prompt, from chat messages, or from a whole request body."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AliasChoices, ConfigDict, Field, JsonValue, field_validator, model_validator

from penstock.llm.token_estimates import output_bound
from penstock.llm.wire import Family, classify, read_call
from penstock.model.estimate import Estimate
from penstock.model.task_type import TaskType
from penstock.task_types.base import TaskData, TaskKind, Toolbox
from penstock.task_types.chat import (
    CHAT,
    chat_body,
    check_messages,
    conversation,
    prompt_tokens,
    read_answer,
)
from penstock.task_types.field_types import (
    ModelName,
    ShortText,
    Temperature,
    Text,
    TokenCap,
    json_size,
    wrong,
)

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

LARGEST_BODY = 50_000_000
USUAL_OUTPUT = 500
"""Tokens of an answer that nobody capped, for the door's estimate."""

_PATH = re.compile(r"/[\w.\-~%:@]+(?:/[\w.\-~%:@]+)*")
# What a prompt may be accompanied by; anything else there is a slip of the pen. Messages and bodies may
# carry whatever the provider knows.
_CHAT_FIELDS = frozenset(
    (
        *("audio", "frequency_penalty", "function_call", "functions", "logit_bias"),
        *("logprobs", "max_completion_tokens", "metadata", "modalities", "n"),
        *("parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key"),
        *("reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier"),
        *("stop", "store", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "user"),
        *("verbosity", "web_search_options"),
    )
)
# The part of a body that says what is asked.
_ASKED_IN = {
    Family.CHAT: "messages",
    Family.MESSAGES: "messages",
    Family.RESPONSES: "input",
    Family.EMBEDDINGS: "input",
    Family.COMPLETIONS: "prompt",
}


class LlmCallData(TaskData):
    """One of `prompt`, `messages` and `body` says what is asked; further chat fields go along as they are.
    `url` is the API path that a body is for."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    prompt: Text | None = None
    system_prompt: ShortText | None = None
    model: ModelName | None = None
    temperature: Temperature | None = None
    max_tokens: TokenCap | None = None
    messages: Annotated[list[dict[str, JsonValue]], Field(min_length=1, max_length=10_000)] | None = None
    body: dict[str, JsonValue] | None = None
    url: str | None = Field(default=None, validation_alias=AliasChoices("url", "endpoint"))
    stream: bool | None = None

    @field_validator("stream")
    @classmethod
    def _no_stream(cls, stream: bool | None) -> None:
        if stream:
            raise wrong("a task has its result at the end and cannot stream; leave it out")

    @field_validator("url")
    @classmethod
    def _known_path(cls, url: str | None) -> str | None:
        if url is None or (_PATH.fullmatch(url) and "/.." not in url and _family(url) in _ASKED_IN):
            return url
        raise wrong(
            f"{url[:100]!r} is no path of a model call; use /v1/chat/completions, /v1/responses, "
            "/v1/completions, /v1/embeddings or /v1/messages"
        )

    @field_validator("messages")
    @classmethod
    def _have_roles(cls, messages: list[dict[str, JsonValue]] | None) -> list[dict[str, JsonValue]] | None:
        check_messages(messages)
        return messages

    @field_validator("body")
    @classmethod
    def _whole(cls, body: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if body is None:
            return None
        for name in ("stream", "background"):
            if body.get(name):
                raise wrong(f"{name}: a task has its result at the end; leave it out")
        model = body.get("model")
        if model is not None and not (isinstance(model, str) and model.strip()):
            raise wrong("model: must be the name of a model")
        return body

    @model_validator(mode="after")
    def _one_question(self) -> LlmCallData:
        given = [name for name in ("prompt", "messages", "body") if getattr(self, name) is not None]
        if len(given) != 1:
            raise wrong(f"give one of prompt, messages and body, not {' and '.join(given) or 'none'}")
        extra = self.model_extra or {}
        if self.prompt is not None and (odd := sorted(extra.keys() - _CHAT_FIELDS)):
            raise wrong(f"{', '.join(odd)[:200]}: no field of a chat request (a body may hold anything)")
        if self.messages is not None and self.system_prompt is not None:
            raise wrong("system_prompt: belongs to a prompt; among messages it is the one of role system")
        if self.body is not None:
            self._check_body(self.body, extra)
        elif self.url is not None and _family(self.url) is not Family.CHAT:
            raise wrong("url: only a body can go to another path than /v1/chat/completions")
        asked = {given[0]: getattr(self, given[0]), **extra}
        size = sum(json_size(value, f"{name}: ") for name, value in asked.items())
        if size > LARGEST_BODY:
            raise wrong(f"{given[0]}: {size:,} characters are more than {LARGEST_BODY:,}")
        return self

    def _check_body(self, body: dict[str, JsonValue], extra: dict[str, Any]) -> None:
        beside = [
            name
            for name in ("system_prompt", "model", "temperature", "max_tokens")
            if getattr(self, name) is not None
        ]
        if beside or extra:
            raise wrong(f"{', '.join([*beside, *extra])[:200]}: belongs into the body")
        family = _family(self.url or CHAT)
        if not body.get(_ASKED_IN[family]):
            raise wrong(f"body.{_ASKED_IN[family]}: is missing or empty")
        if family is Family.CHAT:
            check_messages(body["messages"], "body.messages: ")


def request_of(data: LlmCallData, toolbox: Toolbox) -> tuple[str, dict[str, Any]]:
    """The API path and the body of the call."""
    path = data.url or CHAT
    if data.body is not None:
        named: dict[str, Any] = {**data.body, "model": data.body.get("model") or toolbox.model}
        return path, named
    messages = data.messages
    if messages is None:
        messages = conversation(data.system_prompt, data.prompt or "")
    return path, chat_body(
        data.model or toolbox.model,
        messages,
        temperature=data.temperature,
        max_tokens=data.max_tokens,
        **(data.model_extra or {}),
    )


async def run(context: TaskContext, data: LlmCallData, toolbox: Toolbox) -> dict[str, Any]:
    """The reply: its text (`None` when it has none), and its body whole."""
    path, body = request_of(data, toolbox)
    reply = await toolbox.client().post(path, body)
    answer = read_answer(_family(path), reply.body)
    return {
        "text": answer.text,
        "model": reply.body.get("model", body["model"]),
        "finish_reason": answer.finish_reason,
        "refusal": answer.refusal,
        "tool_calls": answer.tool_calls,
        "usage": reply.body.get("usage"),
        "body": reply.body,
    }


def estimate(data: LlmCallData, toolbox: Toolbox) -> Estimate:
    path, body = request_of(data, toolbox)
    shape = read_call("POST", path, body)
    output, capped = output_bound(shape)
    if not capped:
        output = min(output, USUAL_OUTPUT * shape.n)
    return Estimate(body["model"], prompt_tokens(path, body), output)


def model(data: LlmCallData, toolbox: Toolbox) -> str:
    named = data.model if data.body is None else data.body.get("model")
    return str(named or toolbox.model)


def _family(path: str) -> Family:
    return classify("POST", path)


KIND = TaskKind(TaskType.LLM_CALL, LlmCallData, run, estimate, model)
