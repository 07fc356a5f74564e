"""The lines of a batch's input file: checked before anything is made of them, then read again in chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from penstock.errors import InvalidTask
from penstock.task_types import llm_request

MOST_LINES = 50_000
MOST_ERRORS = 100
LONGEST_ID = 512
LONGEST_LINE = 10_000_000


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One request of the file; `behind` is the offset of what follows it."""

    number: int
    custom_id: str
    url: str
    body: dict[str, Any]
    behind: int


@dataclass(slots=True)
class Checked:
    """What a look at the whole file found: its requests, its first model, and what is wrong with it."""

    total: int
    model: str | None
    errors: list[dict[str, Any]]


class _Bad(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def check_file(path: Path, endpoint: str) -> Checked:
    """Look at every line; `errors` are those of the first hundred bad ones."""
    seen: set[str] = set()
    found = Checked(0, None, [])
    for number, text, behind in _lines(path, 0, 0):
        found.total += 1
        if found.total > MOST_LINES:
            found.errors.append(_error("too_many_lines", f"a batch has at most {MOST_LINES:,} lines"))
            return found
        try:
            line = _read(number, text, behind, endpoint)
            if line.custom_id in seen:
                raise _Bad(
                    "duplicate_custom_id", f"custom_id {line.custom_id!r} was used before", "custom_id"
                )
            seen.add(line.custom_id)
            found.model = found.model or str(line.body["model"])
        except _Bad as bad:
            if len(found.errors) < MOST_ERRORS:
                found.errors.append(_error(bad.code, str(bad), number, bad.param))
    if not found.total:
        found.errors.append(_error("empty_file", "the input file has no requests"))
    return found


def read_chunk(path: Path, offset: int, number: int, endpoint: str, count: int) -> list[OrderLine]:
    """The next lines of a file that was checked; `offset` and `number` are those of the last one before."""
    return [
        _read(at, text, behind, endpoint) for at, text, behind in islice(_lines(path, offset, number), count)
    ]


def _lines(path: Path, offset: int, number: int) -> Iterator[tuple[int, bytes, int]]:
    with path.open("rb") as file:
        file.seek(offset)
        # One line may be as long as its file; a longer one is read in pieces, and refused.
        for text in iter(partial(file.readline, LONGEST_LINE + 1), b""):
            offset += len(text)
            number += 1
            if text.strip():
                yield number, text, offset


def _read(number: int, text: bytes, behind: int, endpoint: str) -> OrderLine:
    if len(text) > LONGEST_LINE:
        raise _Bad("line_too_long", f"this line is longer than {LONGEST_LINE:,} bytes")
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        raise _Bad("invalid_json_line", "this line is no JSON") from None
    if not isinstance(line, dict):
        raise _Bad("invalid_json_line", "this line is no JSON object")
    custom_id, url = line.get("custom_id"), line.get("url")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_ID:
        raise _Bad(
            "invalid_custom_id", f"custom_id must be a text of 1 to {LONGEST_ID} characters", "custom_id"
        )
    if line.get("method", "POST") != "POST":
        raise _Bad("invalid_method", "method must be POST", "method")
    if url != endpoint:
        raise _Bad("mismatched_url", f"url must be {endpoint}, the endpoint of the batch", "url")
    try:
        llm_request.check({"url": url, "body": line.get("body")})
    except InvalidTask as error:
        raise _Bad("invalid_request", str(error), "body") from None
    return OrderLine(number, custom_id, endpoint, line["body"], behind)


def _error(code: str, message: str, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": param}
