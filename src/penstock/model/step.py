"""Steps as they are journaled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.errors import StepKeyNeeded

# Records that answer no step. `UNFINISHED`: a step of this key ended without a result, and the code went on
# to others, as it may again; `VERSION`: the version of the handler that made the steps, where it is another
# than the one the task came with.
UNFINISHED, VERSION = "unfinished", "version"
NOTES = frozenset((UNFINISHED, VERSION))
NOTE = -1
"""the occurrence of such records"""


class StepKey(NamedTuple):
    """What a step is known by, without its occurrence. `digest` is a hash of its arguments or of its
    request."""

    scope: str
    name: str
    digest: str


def inner_scope(step: StepKey, occurrence: int) -> str:
    """The scope of steps made inside this step; equal steps in a row have different ones."""
    return f"{step.scope}/{step.name}:{step.digest[:8]}" + (f".{occurrence}" if occurrence else "")


@dataclass(slots=True)
class StepRecord:
    """One recorded step. `kind` is "value" (JSON) or "http" (a reply, see `runtime.replies`), or one of
    `NOTES`; `at` in seconds since the epoch; `cost` in pico-dollars."""

    seq: int
    claim_no: int
    key: StepKey
    occurrence: int
    kind: str
    value: bytes
    at: float
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0


def digest_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """A hash of plain data; raises `StepKeyNeeded` for anything that JSON cannot say in one way."""
    try:
        text = json.dumps([args, kwargs], sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StepKeyNeeded(
            f"the arguments of this step cannot be hashed ({error}); give ctx.step a key=..."
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()[:32]
