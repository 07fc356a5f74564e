"""Arguments of tools in plans: `"${id}"` stands for the result of a subtask, `"${id/key}"` for a part."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.model.references import RESULT, TEXT, holds_marks

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")

Check = Callable[[Mapping[str, Any], frozenset[str]], list[str]]
"""What is wrong with arguments, of which those named are not known yet."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that a plan may use, as it is described to the model."""

    name: str
    description: str
    schema: Mapping[str, Any]
    check: Check


def read_arguments(given: Any) -> dict[str, Any]:
    """An object of arguments, or its JSON as a text; raises `ValueError`."""
    if given is None or given == "":
        return {}
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise ValueError(f"must be a JSON object: {error}") from None
    if not isinstance(given, dict):
        raise ValueError(f"must be an object of arguments by name, not {given!r:.80}")
    if holds_marks(given):
        raise ValueError('write "${id}" for the result of a subtask, and no keys that begin with $')
    return given


def named_in(arguments: Any) -> list[str]:
    """The subtasks that arguments refer to, each once, with what follows a slash left away."""
    found: dict[str, None] = {}
    pending = [arguments]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(reversed(value.values()))
        elif isinstance(value, list):
            pending.extend(reversed(value))
        elif isinstance(value, str):
            for one in _REFERENCE.finditer(value):
                if not one[1]:
                    found[one[2].partition("/")[0].strip()] = None
    return list(found)


def paths_in(arguments: Any) -> list[tuple[str, str]]:
    """(subtask, path) of every reference to a part of a result."""
    text = json.dumps(arguments, ensure_ascii=False)
    inside = [one[2] for one in _REFERENCE.finditer(text) if not one[1]]
    return [(name.strip(), path) for name, slash, path in (one.partition("/") for one in inside) if slash]


def open_arguments(arguments: Mapping[str, Any]) -> frozenset[str]:
    """The arguments whose values are not known before other subtasks have ended."""
    return frozenset(name for name, value in arguments.items() if named_in(value))


def renamed(arguments: Any, ids: Mapping[str, str]) -> Any:
    """The arguments with every reference by the id that a subtask really has."""

    def name(found: re.Match[str]) -> str:
        if found[1]:
            return found[0]
        head, slash, path = found[2].partition("/")
        return f"${{{ids.get(head.strip(), head.strip())}{slash}{path}}}"

    return _rebuilt(arguments, lambda text: _REFERENCE.sub(name, text))


def as_data(arguments: Any, paths: Mapping[str, str]) -> Any:
    """The arguments as the data of a workflow's node; `paths` lead from a result to what the subtask said."""

    def reference(inside: str) -> dict[str, Any]:
        id, slash, path = inside.partition("/")
        where = paths.get(id, "") + (f"/{path}" if slash else "")
        return {RESULT: id, "path": where} if where else {RESULT: id}

    def filled(text: str) -> Any:
        if (whole := _WHOLE.fullmatch(text)) is not None:
            return reference(whole[1])
        parts: list[Any] = []
        end = 0
        for found in _REFERENCE.finditer(text):
            parts += [text[end : found.start()], "${" if found[1] else reference(found[2])]
            end = found.end()
        parts.append(text[end:])
        plain = all(isinstance(one, str) for one in parts)
        return "".join(parts) if plain else {TEXT: [one for one in parts if one != ""]}

    return _rebuilt(arguments, filled)


def _rebuilt(value: Any, answer: Callable[[str], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _rebuilt(one, answer) for name, one in value.items()}
    if isinstance(value, list):
        return [_rebuilt(one, answer) for one in value]
    return answer(value) if isinstance(value, str) else value
