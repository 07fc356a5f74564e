"""Kinds of fields that the data of several task types are made of."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

LONGEST_TEXT = 4_000_000


def wrong(what: str) -> PydanticCustomError:
    """An error for a validator to raise; its words are shown as they are, after the field's name."""
    return PydanticCustomError("task_data", "{what}", {"what": what})


def _not_blank(text: str) -> str:
    if not text.strip():
        raise wrong("must not be blank")
    return text


Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT), AfterValidator(_not_blank)]
"""A text with something in it, at most 4 million characters."""
ShortText = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_not_blank)]
"""Words for a model, such as a system prompt; at most 20,000 characters."""
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
ModelName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Temperature = Annotated[float, Field(strict=True, ge=0, le=2, allow_inf_nan=False)]
TokenCap = Annotated[int, Field(strict=True, ge=1, le=10_000_000)]


def json_size(value: Any, where: str = "") -> int:
    """Characters of a value as JSON; raises a validator's error for what is none (NaN, say), which begins
    with `where`."""
    try:
        return len(json.dumps(value, allow_nan=False, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise wrong(f"{where}is no JSON: {error}") from None
