"""Steps as they are journaled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.errors import StepKeyNeeded


class StepKey(NamedTuple):
    """What a step is known by, without its occurrence. `digest` is a hash of its arguments or of its
    request."""

    scope: str
    name: str
    digest: str


@dataclass(slots=True)
class StepRecord:
    """One recorded step. `kind` is "value" (JSON) or "http" (a reply, see `runtime.replies`); `at` in seconds
    since the epoch; `cost` in pico-dollars."""

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
