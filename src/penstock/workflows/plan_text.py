"""The plan in what a model said: bare, fenced or amid prose, and why there is none where there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from penstock.model.json_text import no_constant
from penstock.task_types.conversation import BadAnswer
from penstock.task_types.json_in_text import parse_strictly

FIELD = "subtasks"
_ALIASES = ("tasks", "steps")
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[\]}])', re.DOTALL)
_MOST_TRIES = 50


def find_plan(text: str) -> dict[str, Any]:
    """The one object with subtasks in this text. Raises `BadAnswer` that says why there is none, or that
    there are several.

    What can only mean one thing is taken for it: a comma too many, a bare list, an object around the plan.
    """
    if not text.strip():
        raise BadAnswer("the answer is empty")
    plans: list[dict[str, Any]] = []
    for value in _values(text):
        plan = _as_plan(value)
        if plan is not None and plan not in plans:
            plans.append(plan)
    if len(plans) > 1:
        raise BadAnswer(f"there are {len(plans)} plans in it; answer with one")
    if plans:
        return plans[0]
    raise BadAnswer(_why_none(text))


def _values(text: str) -> list[Any]:
    """The JSON values in the text: all of it, or those of its fences, or those that begin somewhere."""
    for pieces in ([text], [fence[1] for fence in _FENCE.finditer(text)]):
        found = [value for piece in pieces for value in _parsed(piece)]
        if any(_as_plan(value) is not None for value in found):
            return found
    return list(_within(_COMMA.sub(lambda one: one[1] or "", text)))


def _parsed(piece: str) -> Iterator[Any]:
    for one in (piece, _COMMA.sub(lambda found: found[1] or "", piece)):
        try:
            yield parse_strictly(one)
        except ValueError:
            continue
        return


def _within(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder(parse_constant=no_constant)
    at = _next_start(text, 0)
    for _ in range(_MOST_TRIES):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield value
        at = _next_start(text, end)


def _next_start(text: str, at: int) -> int:
    places = [place for place in (text.find("{", at), text.find("[", at)) if place >= 0]
    return min(places, default=-1)


def _as_plan(value: Any) -> dict[str, Any] | None:
    """The object with subtasks that this value is, or can only be meant for."""
    if isinstance(value, list):
        return {FIELD: value} if value and all(_like_subtask(one) for one in value) else None
    if not isinstance(value, dict):
        return None
    if FIELD in value:
        return value
    named = [name for name in _ALIASES if isinstance(value.get(name), list)]
    if len(named) == 1:
        return {FIELD: value[named[0]]}
    if len(value) == 1 and isinstance(inner := next(iter(value.values())), dict):
        return _as_plan(inner)
    return None


def _like_subtask(value: Any) -> bool:
    return isinstance(value, dict) and "dependencies" in value and ("id" in value or "name" in value)


def _why_none(text: str) -> str:
    start = _next_start(text, 0)
    if start < 0:
        return "there is no JSON object in it"
    fences = [fence[1].strip() for fence in _FENCE.finditer(text)]
    piece = _COMMA.sub(lambda one: one[1] or "", fences[0] if fences else text[start:])
    try:
        value, _ = json.JSONDecoder(parse_constant=no_constant).raw_decode(piece)
    except json.JSONDecodeError as error:
        if not piece[error.pos :].strip() or error.msg.startswith("Unterminated string"):
            return "it ends before its JSON does: answer with a shorter plan"
        return f"it is no JSON: {error.msg}, line {error.lineno} column {error.colno}"
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return f"it is no JSON: {error}"
    held = (
        f"has the keys {', '.join(map(repr, list(value)[:8])) or 'none'}"
        if isinstance(value, dict)
        else "is a list"
    )
    return f"its JSON has no {FIELD!r}: it {held}"
