"""References to results inside the data of a task: found, named anew, filled in.

`{"$result": "collect"}` stands for the result of node `collect`, with `"path": "/items/0"` for a part of it
(a JSON pointer, RFC 6901). `{"$text": "About ${collect} and ${prices/summary}"}` is a text with results in
it: texts as they are, all else as JSON; `$${` writes `${`. A template may also be a list of its parts.
`{"$literal": ...}` is taken as it stands.

Before a workflow runs, its references are bound: they name tasks, and keep the node's name for messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import Problem, ReferenceMissing

RESULT, TEXT, LITERAL = "$result", "$text", "$literal"
DEEPEST = 200
_MARKS = (RESULT, TEXT, LITERAL)
_IN_TEXT = re.compile(r"\$(\$\{)|\$\{([^}]*)(\}?)")


@dataclass(frozen=True, slots=True)
class Reference:
    """`where` it stands in the data (keys and places joined by dots), the `node` it names and the `path`
    into that node's result."""

    where: str
    node: str
    path: str = ""


def find(data: Any) -> tuple[list[Reference], list[Problem]]:
    """All references in the data, in the order in which they stand, and what is wrong with them."""
    found: list[Reference] = []
    problems: list[Problem] = []
    pending: list[tuple[str, int, Any]] = [("", 0, data)]
    while pending:
        where, depth, value = pending.pop()
        if not isinstance(value, dict | list | tuple):
            continue
        if depth > DEEPEST:
            problems.append(Problem(where, f"is nested more than {DEEPEST} deep"))
            continue
        inner: Iterator[tuple[Any, Any]]
        if not isinstance(value, dict):
            inner = iter(enumerate(value))
        elif (mark := marked(value)) is None:
            inner = iter(value.items())
        else:
            if wrong := _wrong(mark, value):
                problems.append(Problem(where, wrong))
                continue
            found.extend(_named(where, one) for one in _own_references(mark, value))
            parts = value[TEXT] if mark == TEXT and not isinstance(value[TEXT], str) else ()
            inner = ((f"{TEXT}.{place}", part) for place, part in enumerate(parts))
        pending.extend(
            [(f"{where}.{key}" if where else str(key), depth + 1, one) for key, one in inner][::-1]
        )
    return found, problems


def bind(data: Any, ids: Mapping[str, str]) -> Any:
    """The data with every reference naming the task of its node; `ids` are task ids by node.

    Raises `KeyError` for a node that has none.
    """

    def bound(reference: dict[str, Any]) -> dict[str, Any]:
        node = reference[RESULT]
        return {**reference, RESULT: ids[node], "node": reference.get("node", node)}

    return rebuilt(data, bound)


def fill(data: Any, results: Mapping[str, Any]) -> Any:
    """The data with results in the places of references; `results` go by what the references name.

    What a result holds is never looked into for references. Raises `ReferenceMissing` that names the node
    and what it lacks.
    """

    read: dict[str, Any] = {}  # each once: a mapping may read a result anew at every look

    def filled(reference: dict[str, Any]) -> Any:
        id, node = reference[RESULT], reference.get("node", reference[RESULT])
        if id not in read:
            try:
                read[id] = results[id]
            except KeyError:
                raise ReferenceMissing(f"node {node!r} has no result") from None
        return part_of(read[id], reference.get("path", ""), f"the result of node {node!r}")

    return rebuilt(data, filled, last=True)


def holes(data: Any) -> frozenset[str] | None:
    """The fields of the data that hold references or other marks, whose values are not known yet; `None`:
    all of the data is one."""
    if not isinstance(data, dict):
        return None if holds_marks(data) else frozenset()
    if marked(data) is not None:
        return None
    return frozenset(key for key, value in data.items() if holds_marks(value))


def part_of(value: Any, path: str, whose: str) -> Any:
    """The part of a value that a JSON pointer names; raises `ReferenceMissing` that says what is there."""
    at = ""
    for token in tokens(path):
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isascii() and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            raise ReferenceMissing(f"{whose} has no {path}: {at or 'it'} is {_outline(value)}")
        at = f"{at}/{token}"
    return value


def tokens(path: str) -> list[str]:
    """The steps of a JSON pointer."""
    return [one.replace("~1", "/").replace("~0", "~") for one in path.split("/")[1:]]


def marked(value: Mapping[str, Any]) -> str | None:
    """Which mark an object carries: it stands for something else."""
    for mark in _MARKS:
        if mark in value:
            return mark
    return None


def rebuilt(data: Any, answer: Callable[[dict[str, Any]], Any], *, last: bool = False) -> Any:
    """A copy of the data with `answer(reference)` in the place of every reference. Templates become lists of
    parts; the `last` time they become texts, and literals what they hold."""
    top: list[Any] = [None]
    pending: list[tuple[Any, Any, Any]] = [(top, 0, data)]
    texts: list[tuple[Any, Any, list[Any]]] = []
    while pending:
        place, key, value = pending.pop()
        if isinstance(value, dict):
            mark = marked(value)
            if mark == RESULT:
                place[key] = answer(value)
            elif mark == LITERAL:
                place[key] = value[LITERAL] if last else value
            elif mark == TEXT:
                parts: list[Any] = [None] * len(given := _parts(value[TEXT]))
                place[key] = {TEXT: parts}
                texts.append((place, key, parts))
                pending.extend((parts, number, part) for number, part in enumerate(given))
            else:
                place[key] = new = dict.fromkeys(value)
                pending.extend((new, name, one) for name, one in value.items())
        elif isinstance(value, list | tuple):
            place[key] = items = [None] * len(value)
            pending.extend((items, number, one) for number, one in enumerate(value))
        else:
            place[key] = value
    for place, key, parts in reversed(texts if last else []):
        place[key] = "".join(
            part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts
        )
    return top[0]


def _named(where: str, reference: dict[str, Any]) -> Reference:
    return Reference(where, reference[RESULT], reference.get("path", ""))


def _own_references(mark: str, value: dict[str, Any]) -> list[dict[str, Any]]:
    """The object itself, where it is a reference, or those within its text."""
    if mark == RESULT:
        return [value]
    if mark == TEXT and isinstance(value[TEXT], str):
        return [part for part in _parts(value[TEXT]) if isinstance(part, dict)]
    return []


def _parts(template: str | list[Any]) -> list[Any]:
    """The texts and references that a template is made of."""
    if not isinstance(template, str):
        return list(template)
    parts: list[Any] = []
    end = 0
    for found in _IN_TEXT.finditer(template):
        escaped, inside, _ = found.groups()
        parts.append(template[end : found.start()])
        if escaped:
            parts.append("${")
        else:
            node, slash, path = inside.partition("/")
            parts.append({RESULT: node, "path": f"/{path}"} if slash else {RESULT: node})
        end = found.end()
    return [part for part in (*parts, template[end:]) if part != ""]


def _wrong(mark: str, value: dict[str, Any]) -> str:
    """What is wrong with an object that carries a mark; "" when nothing is."""
    allowed = {RESULT: (RESULT, "path"), TEXT: (TEXT,), LITERAL: (LITERAL,)}[mark]
    if extra := [name for name in value if name not in allowed]:
        beside = "only 'path'" if mark == RESULT else "nothing"
        return f"{mark} takes {beside} beside it, not {extra[0]!r}; data that have such a key go in {LITERAL}"
    if mark == TEXT:
        return _wrong_template(value[TEXT])
    if mark == RESULT:
        if not isinstance(value[RESULT], str) or not value[RESULT]:
            return f"{RESULT} must be the id of a node, not {value[RESULT]!r:.80}"
        return _wrong_path(value.get("path", ""))
    return ""


def _wrong_template(template: Any) -> str:
    if isinstance(template, list):
        return ""
    if not isinstance(template, str):
        return f"{TEXT} must be a text or a list of its parts, not {template!r:.80}"
    for found in _IN_TEXT.finditer(template):
        escaped, inside, closed = found.groups()
        if not escaped and not closed:
            return (
                f"'${{' is not closed at {found.group()[:30]!r}; write '$${{' for the characters themselves"
            )
        if not escaped and not inside.partition("/")[0]:
            return f"'{found.group()[:30]}' names no node; write '$${{' for the characters themselves"
    return ""


def _wrong_path(path: Any) -> str:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        return f"path must be a JSON pointer such as /items/0, not {path!r:.80}"
    return ""


def holds_marks(data: Any) -> bool:
    """Whether anything in the data has to be filled in."""
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if marked(value) is not None:
                return True
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
    return False


def _outline(value: Any) -> str:
    """What a value is, in a few words."""
    if isinstance(value, dict):
        names = ", ".join(map(str, list(value)[:8])) or "none"
        return f"an object with the keys {names}{', ...' if len(value) > 8 else ''}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return {str: "a text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")
