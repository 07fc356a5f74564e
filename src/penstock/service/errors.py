"""One shape for every error of the HTTP face; it is the one that OpenAI's SDKs read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from penstock.errors import (
    BudgetExhausted,
    ConfigurationError,
    EventRefused,
    IdempotencyConflict,
    InvalidTask,
    InvalidWorkflow,
    PenstockError,
    Problem,
    QueueFull,
    Refused,
    RequestTooLarge,
    ScheduleNotFound,
    StoreError,
    TaskNotFound,
    WaitTimeout,
)
from penstock.service.json_body import Reply

log = logging.getLogger("penstock.service")

MOST_PROBLEMS = 10_000


class ErrorProblem(BaseModel):
    """One of several things that are wrong; `path` is dotted: `nodes.2.after.0`."""

    path: str
    message: str


class ErrorBody(BaseModel):
    """What went wrong: `code` is stable, `param` names the field or header, `task_id` the task; `problems`
    are there where all that is wrong is told at once."""

    message: str
    type: str
    code: str
    param: str | None = None
    task_id: str | None = None
    problems: list[ErrorProblem] | None = None


class ErrorReply(BaseModel):
    """The body of every reply that is no success."""

    error: ErrorBody


class HttpProblem(Exception):
    """Answer the request with this error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        task_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.task_id = task_id
        self.headers = dict(headers or {})


# The first that fits counts.
_STATUSES: tuple[tuple[type[PenstockError], int], ...] = (
    (TaskNotFound, 404),
    (ScheduleNotFound, 404),
    (IdempotencyConflict, 409),
    (EventRefused, 409),
    (RequestTooLarge, 400),
    (InvalidTask, 422),
    (QueueFull, 503),
    (BudgetExhausted, 402),
    (Refused, 403),
    (StoreError, 503),
    (WaitTimeout, 504),
    (ConfigurationError, 400),
)
_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


def error_reply(
    status: int,
    code: str,
    message: str,
    *,
    param: str | None = None,
    task_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
) -> JSONResponse:
    """A reply with the one shape."""
    error: dict[str, Any] = {
        "message": message,
        "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "code": code,
        "param": param,
        "task_id": task_id,
    }
    if problems:
        error["problems"] = [{"path": one.path, "message": one.message} for one in problems[:MOST_PROBLEMS]]
    return Reply({"error": error}, status, dict(headers or {}))


def status_of(error: PenstockError) -> int:
    """The HTTP status that an error of ours stands for."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with the one shape; what nobody foresaw is logged and told without details."""

    async def problem(_: Request, error: Any) -> JSONResponse:
        return error_reply(
            error.status,
            error.code,
            error.message,
            param=error.param,
            task_id=error.task_id,
            headers=error.headers,
        )

    async def ours(_: Request, error: Any) -> JSONResponse:
        status = status_of(error)
        headers = {"retry-after": "1"} if status == 503 else {}
        problems = error.problems if isinstance(error, InvalidWorkflow) else []
        return error_reply(
            status,
            error.code,
            str(error),
            param=problems[0].path or None if problems else None,
            task_id=getattr(error, "task_id", None),
            headers=headers,
            problems=problems,
        )

    async def invalid(_: Request, error: Any) -> JSONResponse:
        first = error.errors()[0]
        where = [str(part) for part in first["loc"]]
        message = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:10]
        )
        return error_reply(422, "invalid_request", message, param=".".join(where[1:] or where))

    async def http(_: Request, error: Any) -> JSONResponse:
        codes = {404: "no_such_route", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}
        code = codes.get(error.status_code, "http_error")
        return error_reply(error.status_code, code, str(error.detail), headers=error.headers)

    async def unforeseen(_: Request, error: Any) -> JSONResponse:
        log.error("a request failed", exc_info=error)
        return error_reply(500, "internal", "something went wrong here; the log tells more")

    app.add_exception_handler(HttpProblem, problem)
    app.add_exception_handler(PenstockError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)
