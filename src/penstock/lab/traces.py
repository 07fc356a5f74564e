"""Traces: what arrived when and how large it was, read from CSV or JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from penstock.errors import ConfigurationError

REQUIRED = ("arrival_s", "prompt_tokens", "output_tokens")
OPTIONAL = (
    "tenant",
    "priority",
    "deadline_s",
    "service_s",
    "size_noise",
    "program",
    "call",
    "depends_on",
    "think_s",
    "program_size_noise",
    "place",
)
COLUMNS = REQUIRED + OPTIONAL
PLACES = ("", "arrived", "made", "kept")
SUFFIXES = (".csv", ".jsonl", ".ndjson")
# Of seconds, tokens and factors: an instant as large as this is still told to the microsecond.
MOST = 1e10


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a trace. Seconds from the start of the trace, tokens as counts.

    `deadline` and `service` are seconds (after the arrival; of true service, where it was measured), `noise`
    and `program_noise` factors by which an estimate of the request's or the program's size is off. A request
    with `depends_on` (calls of its program) arrives `think` seconds after the last of them ended. Its `place`
    in the order of arrival is then; with "arrived" at its arrival, with "made" at the end of the first of
    them, with "kept" that of the first of them.
    """

    row: int
    arrival: float
    prompt: int
    output: int
    tenant: str = ""
    priority: int = 20
    deadline: float | None = None
    service: float | None = None
    noise: float = 1.0
    program: str = ""
    call: str = ""
    depends_on: tuple[str, ...] = ()
    think: float = 0.0
    program_noise: float = 1.0
    place: str = ""
    line: int = field(default=0, compare=False)
    """that of the file it was read from; 0: none"""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests by arrival, then by row. Calls of one program carry the arrival of the program."""

    name: str
    requests: tuple[Request, ...]

    @property
    def span(self) -> float:
        """Seconds between the first arrival and the last."""
        return self.requests[-1].arrival - self.requests[0].arrival if self.requests else 0.0

    @property
    def has_programs(self) -> bool:
        return any(one.program for one in self.requests)

    @property
    def tenants(self) -> list[str]:
        return sorted({one.tenant for one in self.requests})


def trace_of(name: str, requests: Sequence[Request]) -> Trace:
    """A trace of these requests, put in order."""
    if not requests:
        raise ConfigurationError(f"the trace {name} holds no request")
    return Trace(name, tuple(sorted(requests, key=lambda one: (one.arrival, one.row))))


def read_trace(path: str | Path) -> Trace:
    """Read a trace; `ConfigurationError` names the line that is malformed and what is allowed there."""
    place = Path(path)
    if place.suffix not in SUFFIXES:
        raise ConfigurationError(
            f"{place} is no trace: give a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )
    with place.open(encoding="utf-8-sig", newline="") as file:
        rows = _csv_rows(place, file) if place.suffix == ".csv" else _json_rows(place, file)
        try:
            requests = [_request(f"{place}, line {line}", row, n, line) for n, (line, row) in enumerate(rows)]
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{place} is no UTF-8 text: {error}") from None
        except csv.Error as error:
            raise ConfigurationError(f"{place} is no CSV: {error}") from None
    return trace_of(place.stem, requests)


def _csv_rows(place: Path, file: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(file, strict=True, skipinitialspace=True)
    names = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"{place}, line 1: column {', '.join(twice)} is there twice; give it once")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ConfigurationError(
            f"{place}, line 1: no column {', '.join(missing)}; a trace has {', '.join(REQUIRED)} "
            f"and may have {', '.join(OPTIONAL)}"
        )
    for row in reader:
        if None in row or None in row.values():
            raise ConfigurationError(
                f"{place}, line {reader.line_num}: give {len(reader.fieldnames or ())} values, as in line 1"
            )
        yield reader.line_num, row


def _json_rows(place: Path, file: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{place}, line {line}: no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ConfigurationError(f"{place}, line {line}: a JSON object is expected, such as {_EXAMPLE}")
        missing = [name for name in REQUIRED if name not in row]
        if missing:
            raise ConfigurationError(
                f"{place}, line {line}: no {', '.join(missing)}; a line is such as {_EXAMPLE}"
            )
        yield line, row


_EXAMPLE = '{"arrival_s": 0.5, "prompt_tokens": 400, "output_tokens": 90}'


def _request(where: str, row: Mapping[str, Any], number: int, line: int) -> Request:
    get = row.get
    deadline, service = get("deadline_s"), get("service_s")
    return Request(
        number,
        _number(where, "arrival_s", row["arrival_s"]),
        _count(where, "prompt_tokens", row["prompt_tokens"]),
        _count(where, "output_tokens", row["output_tokens"]),
        _text(where, "tenant", get("tenant")),
        _priority(where, get("priority")),
        None if deadline in (None, "") else _number(where, "deadline_s", deadline, 0.0, exclusive=True),
        None if service in (None, "") else _number(where, "service_s", service, 0.0),
        _factor(where, "size_noise", get("size_noise")),
        _text(where, "program", get("program")),
        _text(where, "call", get("call")),
        _calls(where, get("depends_on")),
        _number(where, "think_s", get("think_s") or 0.0),
        _factor(where, "program_size_noise", get("program_size_noise")),
        _place(where, row),
        line,
    )


def _number(where: str, name: str, value: Any, least: float = 0.0, exclusive: bool = False) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if not isfinite(number) or number < least or number > MOST or (exclusive and number == least):
        bound = f"above {least:g}" if exclusive else f"of at least {least:g}"
        if number > MOST:
            bound = f"of at most {MOST:,.0f}"
        raise ConfigurationError(f"{where}: {name} is {value!r}; give a number {bound}")
    return number


def _count(where: str, name: str, value: Any) -> int:
    number = _number(where, name, value)
    if number != int(number):
        raise ConfigurationError(f"{where}: {name} is {value!r}; give a whole number of tokens")
    return int(number)


def _factor(where: str, name: str, value: Any) -> float:
    return 1.0 if value in (None, "") else _number(where, name, value, 0.0, exclusive=True)


def _priority(where: str, value: Any) -> int:
    from penstock.model.priority import read_priority

    if value in (None, ""):
        return 20
    try:
        return read_priority(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{where}: priority is {value!r}; give a name or 0 to 100") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _text(where: str, name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigurationError(f"{where}: {name} is {value!r}; give text")
    return str(value)


def _calls(where: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(where, "depends_on", one) for one in value)
    return tuple(_text(where, "depends_on", value).split())


def _place(where: str, row: Mapping[str, Any]) -> str:
    place = _text(where, "place", row.get("place"))
    if place not in PLACES:
        raise ConfigurationError(f"{where}: place is {place!r}; give {', '.join(PLACES[1:])} or nothing")
    if place and not row.get("depends_on"):
        raise ConfigurationError(f"{where}: place is {place!r}, which is that of a call with depends_on")
    return place


def writable(path: str | Path) -> Path:
    """The place where a trace may be written; `ConfigurationError` where its name says no format."""
    place = Path(path)
    if place.suffix not in SUFFIXES:
        raise ConfigurationError(f"{place}: a trace's name ends in {' or '.join(SUFFIXES)}")
    return place


def write_trace(trace: Trace, path: str | Path) -> None:
    """Write a trace so that `read_trace` gives it again; columns that say nothing are left out."""
    place = writable(path)
    rows = [_row(one) for one in sorted(trace.requests, key=lambda one: one.row)]
    names = [name for name in COLUMNS if name in REQUIRED or any(row[name] != _PLAIN[name] for row in rows)]
    with place.open("w", encoding="utf-8", newline="") as file:
        if place.suffix == ".csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([row[name] for name in names] for row in rows)
        else:
            file.writelines(json.dumps({name: row[name] for name in names}) + "\n" for row in rows)


def _row(one: Request) -> dict[str, Any]:
    return {
        "arrival_s": round(one.arrival, 6),
        "prompt_tokens": one.prompt,
        "output_tokens": one.output,
        "tenant": one.tenant,
        "priority": one.priority,
        "deadline_s": "" if one.deadline is None else round(one.deadline, 6),
        "service_s": "" if one.service is None else round(one.service, 6),
        "size_noise": round(one.noise, 6),
        "program": one.program,
        "call": one.call,
        "depends_on": " ".join(one.depends_on),
        "think_s": round(one.think, 6),
        "program_size_noise": round(one.program_noise, 6),
        "place": one.place,
    }


_PLAIN = _row(Request(0, 0.0, 0, 0))
