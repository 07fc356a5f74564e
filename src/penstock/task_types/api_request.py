"""API_REQUEST: one HTTP request to a public address, or to a host that was allowed."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from penstock.errors import CallFailed, InvalidTask
from penstock.model.task_type import TaskType
from penstock.task_types.addresses import Forbidden, allowed_hosts_of, read_url
from penstock.task_types.base import TaskData, TaskKind, Toolbox
from penstock.task_types.field_types import json_size, wrong
from penstock.task_types.outgoing import Outgoing, Sender

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
# How a message is framed, and to whom it goes, is for the transport alone to say.
_OURS = frozenset(
    (
        *("connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS"))
_KEYED = frozenset(("POST", "PATCH"))

MOST_URL = 60_000


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _fields(value: Any) -> Any:
    """Fields of a form or a query: plain values, or lists of them."""
    if not isinstance(value, dict):
        raise wrong("must be an object")
    for name, one in value.items():
        if not isinstance(name, str):
            raise wrong("must have names that are texts")
        if not all(isinstance(item, str | int | float) for item in (one if isinstance(one, list) else [one])):
            raise wrong(f"{name!r} must be a text, a number, true or false, or a list of such")
    return value


class ApiRequestData(TaskData):
    """A request. At most one of `json`, `data` (a form, or text) and `content` (text) is its body.

    `timeout` are seconds for all of it. POST, PUT, PATCH and DELETE are sent again after a lost reply or a
    crash only with `idempotent` or an `Idempotency-Key` header.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    url: Annotated[str, Field(min_length=1, max_length=MOST_URL)]
    method: Annotated[
        Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"], BeforeValidator(_upper)
    ] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    params: Annotated[dict[str, Any], BeforeValidator(_fields)] = Field(default_factory=dict)
    json_body: Any = Field(default=None, alias="json")
    data: str | dict[str, Any] | None = None
    content: str | None = None
    timeout: Annotated[float, Field(strict=True, gt=0, le=3600, allow_inf_nan=False)] = 30.0
    idempotent: Annotated[bool, Field(strict=True)] = False
    follow_redirects: Annotated[bool, Field(strict=True)] = True

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        try:
            read_url(url)
        except ValueError as error:
            raise wrong(str(error)) from None
        return url

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for place, (name, value) in enumerate(headers.items()):
            if not _NAME.fullmatch(name):
                raise wrong(f"the name of header {place} is no valid one")
            if name.lower() in _OURS:
                raise wrong(f"{name} is set by the transport; leave it out")
            if not _VALUE.fullmatch(value):
                raise wrong(f"the value of {name} holds line ends or other signs that no header may hold")
        return headers

    @field_validator("data", mode="before")
    @classmethod
    def _form(cls, data: Any) -> Any:
        return data if data is None or isinstance(data, str) else _fields(data)

    @field_validator("json_body")
    @classmethod
    def _json(cls, value: Any) -> Any:
        json_size(value)
        return value

    @model_validator(mode="after")
    def _one_body(self) -> ApiRequestData:
        given = [name for name in ("json", "data", "content") if self._body(name) is not None]
        if len(given) > 1:
            raise wrong(f"{' and '.join(given)} are both bodies; give one of them")
        return self

    def _body(self, name: str) -> Any:
        return self.json_body if name == "json" else getattr(self, name)

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice is the same as doing it once."""
        keyed = any(name.lower() == "idempotency-key" for name in self.headers)
        return self.method in _REPEATABLE or self.idempotent or keyed

    def outgoing(self, key: str) -> Outgoing:
        """The request; `key` names it to servers that know idempotency keys."""
        content, kind = self._content()
        headers = {
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "penstock",
            **({"content-type": kind} if kind else {}),
            **({"idempotency-key": key} if self.method in _KEYED else {}),
            **{name.lower(): value for name, value in self.headers.items()},
        }
        url, query = self.url.split("#", 1)[0], _query(self.params)
        if query:
            url += ("&" if "?" in url else "?") + query
        return Outgoing(self.method, url, tuple(headers.items()), content, self.follow_redirects)

    def _content(self) -> tuple[bytes | None, str]:
        if self.json_body is not None:
            return json.dumps(self.json_body, separators=(",", ":")).encode(), "application/json"
        if isinstance(self.data, dict):
            return _query(self.data).encode(), "application/x-www-form-urlencoded"
        text = self.content if self.content is not None else self.data
        return (None, "") if text is None else (text.encode("utf-8", "replace"), "text/plain; charset=utf-8")


def _query(fields: Mapping[str, Any]) -> str:
    pairs = [
        (name, str(one).lower() if isinstance(one, bool) else one)
        for name, value in fields.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return urlencode(pairs, errors="replace")


def _refuse(data: ApiRequestData, toolbox: Toolbox) -> None:
    type = TaskType.API_REQUEST
    try:
        allowed_hosts_of(toolbox.allowed_hosts).check_literal(read_url(data.url))
    except Forbidden as error:
        raise InvalidTask(f"data of a {type} task: url: {error}") from None
    outgoing = data.outgoing("")
    if len(outgoing.url) > MOST_URL:
        raise InvalidTask(f"data of a {type} task: params: make the URL longer than {MOST_URL:,} characters")
    if len(outgoing.content or b"") > toolbox.most_bytes:
        raise InvalidTask(f"data of a {type} task: its body is larger than {toolbox.most_bytes:,} bytes")


async def run(context: TaskContext, data: ApiRequestData, toolbox: Toolbox) -> dict[str, Any]:
    """`{"status", "headers", "body", "encoding"}`: see `outgoing.reply_of`. Any status is an answer."""
    request = data.outgoing(f"penstock-{context.task_id}")
    sender = Sender(allowed_hosts_of(toolbox.allowed_hosts), toolbox.most_bytes)

    async def send() -> dict[str, Any]:
        try:
            async with asyncio.timeout(data.timeout):
                return await sender.send(request)
        except TimeoutError:
            message = f"no whole reply from {read_url(data.url).origin} within {data.timeout:g} seconds"
            raise CallFailed(message, reason="timeout", retryable=True) from None

    if data.repeatable:
        return dict(await context.step("request", send, key=""))
    return await _once(context, send, sender)


async def _once(
    context: TaskContext, send: Callable[[], Awaitable[dict[str, Any]]], sender: Sender
) -> dict[str, Any]:
    """Send a request that must not be sent twice: that it begins is recorded right before it does, and after
    a try of which nothing left, it begins anew."""
    life = uuid.uuid4().hex

    async def this_life() -> str:
        return life

    async def request() -> dict[str, Any]:
        if await context.step("begin", this_life) != life:
            raise _unknown("an earlier attempt had begun to send it")
        try:
            return {"reply": await send()}
        except CallFailed as error:
            if not error.retryable:
                raise
            if sender.sent:
                raise _unknown(str(error)) from None
            return {"unsent": str(error), "reason": error.reason, "life": life}

    for number in itertools.count():
        outcome = await context.step("request", request, key=str(number))
        if "reply" in outcome:
            return dict(outcome["reply"])
        if outcome["life"] == life:
            raise CallFailed(outcome["unsent"], reason=outcome["reason"], retryable=True)
    raise AssertionError("unreachable")


def _unknown(why: str) -> CallFailed:
    message = (
        f"whether the request was done is not known ({why}); it is not sent again by itself. Give it "
        "idempotent: true or an Idempotency-Key header if it may be."
    )
    return CallFailed(message, reason="outcome_unknown")


KIND = TaskKind(TaskType.API_REQUEST, ApiRequestData, run, refuse=_refuse)
