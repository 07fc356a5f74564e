"""Whether a whole, successful reply is an answer at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.llm.wire import Family

# What the answer of each family is in; a reply without it holds nothing that anybody paid for.
_ANSWER_IN: dict[Family, str] = {
    Family.CHAT: "choices",
    Family.COMPLETIONS: "choices",
    Family.RESPONSES: "output",
    Family.EMBEDDINGS: "data",
    Family.MESSAGES: "content",
}


def is_answer(family: Family, body: Mapping[str, Any] | None) -> bool:
    """Whether this body holds what was asked for, and no error in its place."""
    if family is Family.UNKNOWN:
        return True
    if body is None or body.get("error"):
        return False
    # A background response has no output yet; its status tells how it goes.
    return isinstance(body.get(_ANSWER_IN[family]), list) or (
        family is Family.RESPONSES and isinstance(body.get("status"), str)
    )
