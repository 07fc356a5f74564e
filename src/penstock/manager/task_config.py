"""How one task is to be run, as callers of the task manager say it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigurationError
from penstock.model.options import TaskOptions

if TYPE_CHECKING:
    from penstock.manager.task_object import AITask

TaskCallback = Callable[["AITask"], Awaitable[Any] | Any]
ProgressCallback = Callable[[float, float, float | None], Awaitable[Any] | Any]


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """Seconds throughout. `timeout` limits handler and call time of one attempt, not waiting.

    Callbacks live in this process and are called at most once per end: `callback(task)` after success,
    `error_callback(task)` after failure or cancellation, `progress_callback(progress, current, total)` with
    progress in 0..1. What they raise is logged and hurts nobody.
    The other fields are as in `Submission`, `cache_ttl` and `merge` as in `TaskOptions`.
    """

    max_retries: int = 3
    retry_delay: float = 1.0
    timeout: float | None = 60.0
    estimated_tokens: float | None = None
    callback: TaskCallback | None = field(default=None, compare=False)
    error_callback: TaskCallback | None = field(default=None, compare=False)
    progress_callback: ProgressCallback | None = field(default=None, compare=False)
    delay: float = 0.0
    expires: float | None = None
    deadline: float | None = None
    slo_seconds: float | None = None
    service_class: str | None = None
    estimated_seconds: float | None = None
    tenant: str = ""
    program: str | None = None
    tags: Sequence[str] = ()
    after: Sequence[str] = ()
    idempotency_key: str | None = None
    unique_key: str | None = None
    debounce: float | None = None
    result_ttl: float | None = None
    pools: Mapping[str, int] = field(default_factory=dict)
    cache_ttl: float | None = None
    merge: bool = False

    def __post_init__(self) -> None:
        if (
            isinstance(self.max_retries, bool)
            or not isinstance(self.max_retries, int)
            or self.max_retries < 0
        ):
            raise ConfigurationError(
                f"max_retries of a TaskConfig must be a whole number of at least 0, not {self.max_retries!r}"
            )
        for name in _NUMBERS:
            check_number(name, getattr(self, name), above=name in _ABOVE_0)
        for name in ("callback", "error_callback", "progress_callback"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise ConfigurationError(f"{name} of a TaskConfig must be a function, not {callback!r}")
        if isinstance(self.after, str):
            raise ConfigurationError("after of a TaskConfig must be a list of ids, not one id")
        for name in ("tenant", "program", "idempotency_key", "unique_key"):
            text = getattr(self, name)
            if not isinstance(text, str) and (text is not None or name == "tenant"):
                raise ConfigurationError(f"{name} of a TaskConfig must be a text, not {text!r}")

    @property
    def options(self) -> TaskOptions:
        """What is kept with the task."""
        return TaskOptions(
            max_retries=self.max_retries,
            retry_delay=self.retry_delay,
            timeout=self.timeout,
            cache_ttl=self.cache_ttl,
            merge=self.merge,
        )


SUBMISSION_FIELDS = (
    "estimated_tokens",
    "delay",
    "expires",
    "deadline",
    "slo_seconds",
    "service_class",
    "estimated_seconds",
    "tenant",
    "program",
    "tags",
    "after",
    "idempotency_key",
    "unique_key",
    "debounce",
    "result_ttl",
    "pools",
)

_NUMBERS = (
    "retry_delay",
    "timeout",
    "estimated_tokens",
    "delay",
    "expires",
    "slo_seconds",
    "estimated_seconds",
    "debounce",
    "result_ttl",
    "cache_ttl",
)
_ABOVE_0 = {"timeout", "expires", "slo_seconds", "debounce", "cache_ttl"}


def check_number(name: str, value: Any, above: bool) -> None:
    """Raise `ConfigurationError` unless it is `None` or a number of at least (or `above`) 0."""
    if value is None and name not in ("retry_delay", "delay"):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not isfinite(value) or value < 0 or (above and value == 0):
        least = "more than 0" if above else "at least 0"
        raise ConfigurationError(f"{name} of a TaskConfig must be a number of {least}, not {value!r}")
