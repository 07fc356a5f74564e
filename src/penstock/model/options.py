"""How one task is to be run: the options kept with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache

from penstock.errors import ConfigurationError
from penstock.model.retry import Retry


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Seconds throughout. `timeout` limits handler and call time of one attempt, not waiting; `keep` says
    whether payload, journal and result stay after the task is done; `cache_ttl` and `merge` let identical
    calls of a tenant share one reply; `version` names the handler that was current when the task came.

    `refs`: the data refer to results of the tasks in `after`, and are filled in and checked before the
    handler runs. `fallback` is what stands in when all tries have failed, as JSON text: {"value": ...}, or
    {"type": ..., "data": ...} for another handler of the same task. `redo`, of a workflow that is tried again
    or a fork: the node from which on it is run anew, or "*" for all of it.
    """

    max_retries: int = 5
    retry_delay: float = 1.0
    longest_delay: float = 120.0
    timeout: float | None = None
    keep: bool = True
    cache_ttl: float | None = None
    merge: bool = False
    strict_journal: bool = False
    version: str = ""
    refs: bool = False
    fallback: str | None = None
    redo: str = ""

    @property
    def retry(self) -> Retry:
        return Retry(self.max_retries, self.retry_delay, longest_delay=self.longest_delay)

    def as_text(self) -> str | None:
        """JSON of what differs from the defaults; `None` when nothing does."""
        return _text(self)


DEFAULTS = TaskOptions()


@lru_cache(maxsize=256)
def _text(options: TaskOptions) -> str | None:
    # A file of a million lines has one set of options.
    different = {name: value for name, value in asdict(options).items() if value != getattr(DEFAULTS, name)}
    return json.dumps(different, separators=(",", ":")) if different else None


_NAMES = frozenset(field.name for field in fields(TaskOptions))


def read_options(text: str | None) -> TaskOptions:
    """The options that `as_text` wrote; names of a newer version are ignored."""
    if not text:
        return DEFAULTS
    return _checked({name: value for name, value in json.loads(text).items() if name in _NAMES})


def _checked(values: dict[str, object]) -> TaskOptions:
    try:
        return TaskOptions(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigurationError(f"task options: {error}") from None
