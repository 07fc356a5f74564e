"""Logs of a server: lines for people or JSON objects, with the task they are about, and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import IO, Any, Literal

from penstock.model.clock import iso_time
from penstock.runtime.call_reports import task_here

HIDDEN = "[hidden]"
SHORTEST_SECRET = 6
# Keys of ours and of well-known providers, and what comes with an Authorization header.
_PATTERNS = re.compile(
    r"\b(?:pk|sk|rk|gsk|xai|hf)[_-][A-Za-z0-9_\-]{12,}|(?<=[Bb]earer )[A-Za-z0-9._~+/=\-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s:@]+(?=@)"
)
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


class Redactor:
    """Takes secrets out of texts: those it was given, and what looks like a key."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({one for one in secrets if len(one) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def clean(self, text: str) -> str:
        """The text without them."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _PATTERNS.sub(HIDDEN, text)


class TextLines(logging.Formatter):
    """One line for each record, tracebacks below it."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(task)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        task = task_of(record)
        record.task = f" [task {task}]" if task else ""
        return self._redactor.clean(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object for each record: `time`, `level`, `logger`, `message`, `task_id` where there is one,
    `error` with the traceback, and what was given as `extra`."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": iso_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if task := task_of(record):
            told["task_id"] = task
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        told |= {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        return self._redactor.clean(json.dumps(told, default=str, ensure_ascii=False))


def task_of(record: logging.LogRecord) -> str:
    """The id of the task that a record is about: given as `extra`, or that of the code that logs."""
    given = getattr(record, "task_id", None)
    return given if isinstance(given, str) else task_here()


def log_to(
    stream: IO[str] | None, format: Literal["text", "json"], level: str, secrets: Iterable[str]
) -> logging.Handler:
    """Let everything of this process be logged to a stream (standard error), in place of what was there."""
    redactor = Redactor(secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(redactor) if format == "json" else TextLines(redactor))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("httpx2", "httpcore2", "httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return handler
