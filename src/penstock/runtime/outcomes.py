"""What a failed attempt means: try again, and when, or give up, and why."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock.errors import CallFailed, PenstockError, ReplyRejected, StoreError, WorkerLost
from penstock.llm.refusals import read_refusal
from penstock.model.json_text import json_text
from penstock.runtime.refused_reply import REFUSAL_HEADER

# Errors of SDKs and HTTP libraries that say that nothing usable came back; by name, for none of them is
# imported.
_NO_REPLY = frozenset({"APIConnectionError", "APITimeoutError", "TransportError", "TimeoutException"})

# Some providers and proxies repeat the key in their complaint about it; errors are stored and shown.
_KEY = re.compile(r"\b(?:sk|gsk|csk|xai|key)-[\w-]{12,}|(?<=Bearer )\S{8,}")


@dataclass(frozen=True, slots=True)
class Judgement:
    """`code` is stable; `retry_after` are seconds the provider asked for."""

    code: str
    message: str
    retryable: bool
    retry_after: float | None = None

    def as_text(self, attempt: int) -> str:
        message = _KEY.sub("[key]", self.message)
        return json_text({"code": self.code, "message": message, "attempt": attempt})


def judge(error: BaseException) -> Judgement:
    """What became of an attempt that raised `error`.

    An SDK wraps what its transport raised, so the causes are looked at too.
    """
    for one in _chain(error):
        if isinstance(one, CallFailed):
            return Judgement(one.reason, str(one), one.retryable, one.retry_after)
        if isinstance(one, ReplyRejected | StoreError | WorkerLost):
            return Judgement(one.code, str(one), retryable=True)
        if isinstance(one, PenstockError):
            return Judgement(one.code, str(one), retryable=False)
        reply = _reply_judgement(one)
        if reply is not None:
            return reply
    if any(_NO_REPLY & {kind.__name__ for kind in type(one).__mro__} for one in _chain(error)):
        causes = " < ".join(f"{type(one).__name__}: {one}" for one in _chain(error) if str(one))
        return Judgement("no_reply", f"no usable reply came back: {causes}"[:2000], retryable=True)
    return Judgement("handler_error", f"{type(error).__name__}: {error}"[:2000], retryable=True)


def _reply_judgement(error: BaseException) -> Judgement | None:
    """An SDK's status error carries the reply."""
    response: Any = getattr(error, "response", None)
    status = getattr(error, "status_code", getattr(response, "status_code", None))
    if response is None or not isinstance(status, int):
        return None
    headers = {str(key): str(value) for key, value in getattr(response, "headers", {}).items()}
    code = headers.get(REFUSAL_HEADER)
    if code is not None:
        return Judgement(code, str(error), retryable=False)
    report = read_refusal(status, headers, getattr(error, "body", None), time.time())
    return Judgement(str(report.kind), str(error)[:2000], report.retryable, report.retry_after)


def _below(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        first: BaseException = error.exceptions[0]
        return first
    return error.__cause__ or error.__context__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = _below(one)
