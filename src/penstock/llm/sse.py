"""Server-sent events of model replies, read as they come and passed on byte for byte.

Format: the WHATWG standard on server-sent events. A line ends with CRLF, LF or CR, an event with
a blank line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from penstock.llm.usage_reading import ReplyFacts, read_reply, read_usage
from penstock.llm.wire import Family
from penstock.model.usage import Usage

# Atomic groups: a CRLF must never be taken for two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_LONGEST_BLANK_LINE = 4

_RESPONSES_ENDS = ("response.completed", "response.incomplete")


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event, with the very bytes it came in: `raw` of all events in order are the stream.

    `name` is the `event:` field, `data` the joined `data:` lines (empty for comments and pings).
    `usage_only`: the extra chunk that carries usage and no choice. `end`: the reply is whole after this one.
    `error`: the provider's error object, when the event is one.
    """

    raw: bytes
    name: str | None = None
    data: str = ""
    usage_only: bool = False
    end: bool = False
    error: dict[str, Any] | None = field(default=None, repr=False)


class StreamReader:
    """Reads one reply stream. Feed it every chunk, call `close` when the connection ended cleanly.

    `complete` says whether the reply is whole; a stream that just stops is cut: not to be recorded, and to be
    booked at its hold.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.complete = False
        self.error: dict[str, Any] | None = None
        self._pending = bytearray()
        self._searched = 0
        self._usage: dict[str, Any] = {}
        self._reported = False
        self._model: str | None = None
        self._tier: str | None = None
        self._open_choices: set[int] = set()
        self._done_choices: set[int] = set()

    @property
    def usage(self) -> Usage | None:
        """The usage reported up to now, or None; final only when `complete`."""
        return read_usage(self.family, self._usage) if self._reported else None

    @property
    def facts(self) -> ReplyFacts:
        """Model and service tier as far as known; the usage only of a complete reply."""
        return ReplyFacts(self.usage if self.complete else None, self._model, self._tier)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that became whole with this chunk, in order."""
        self._pending += chunk
        return self._take(at_end=False)

    def close(self) -> list[SseEvent]:
        """What is left when the connection ended cleanly, as last events.

        Some servers never send an end mark: when every choice has told why it finished, the reply is whole.
        """
        events = self._take(at_end=True)
        if self._pending:
            events.append(self._event(bytes(self._pending)))
            self._pending.clear()
        finished = bool(self._done_choices) and self._done_choices >= self._open_choices
        if finished and self.error is None:
            self.complete = True
        return events

    def _take(self, at_end: bool) -> list[SseEvent]:
        events: list[SseEvent] = []
        start = 0
        while found := _BLANK_LINE.search(self._pending, max(start, self._searched)):
            stop = found.end()
            if stop == len(self._pending) and self._pending[stop - 1] == 0x0D and not at_end:
                break  # a line feed that belongs to this carriage return may follow
            events.append(self._event(bytes(self._pending[start:stop])))
            start = stop
            self._searched = 0
        del self._pending[:start]
        # Each byte is looked at once, save the few that may begin a blank line.
        self._searched = max(0, len(self._pending) - _LONGEST_BLANK_LINE)
        return events

    def _event(self, raw: bytes) -> SseEvent:
        name, data = _fields(raw)
        if not data:
            return SseEvent(raw, name)
        if data.strip() == "[DONE]":
            self.complete = self.error is None
            return SseEvent(raw, name, data, end=True)
        try:
            payload = json.loads(data)
        except (ValueError, RecursionError):
            return SseEvent(raw, name, data)
        if not isinstance(payload, dict):
            return SseEvent(raw, name, data)
        return self._read(raw, name, data, payload)

    def _read(self, raw: bytes, name: str | None, data: str, payload: dict[str, Any]) -> SseEvent:
        error = _error_in(name, payload)
        if error is not None:
            self.error = error
        kind = payload.get("type")
        part = payload
        if (
            isinstance(kind, str)
            and kind.startswith("response.")
            and isinstance(payload.get("response"), dict)
        ):
            part = payload["response"]
        elif kind == "message_start" and isinstance(payload.get("message"), dict):
            part = payload["message"]
        self._learn(part)
        end = error is None and (kind in _RESPONSES_ENDS or kind == "message_stop")
        self.complete = self.complete or end
        choices = payload.get("choices")
        self._follow_choices(choices)
        usage_only = choices == [] and isinstance(payload.get("usage"), dict)
        return SseEvent(raw, name, data, usage_only, end, error)

    def _learn(self, part: dict[str, Any]) -> None:
        usage = part.get("usage")
        if isinstance(usage, dict):
            # Anthropic counts the input at the start and the output, cumulatively, later: later numbers win.
            self._usage.update({key: value for key, value in usage.items() if value is not None})
            self._reported = True
        said = read_reply(self.family, {"model": part.get("model"), "service_tier": part.get("service_tier")})
        self._model = said.model or self._model
        self._tier = said.service_tier or _tier_in(usage) or self._tier

    def _follow_choices(self, choices: object) -> None:
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and isinstance(index := choice.get("index", 0), int):
                self._open_choices.add(index)
                if choice.get("finish_reason"):
                    self._done_choices.add(index)


def _fields(raw: bytes) -> tuple[str | None, str]:
    name: str | None = None
    data: list[str] = []
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        key, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if key == b"data":
            data.append(text)
        elif key == b"event":
            name = text
    return name, "\n".join(data)


def _error_in(name: str | None, payload: dict[str, Any]) -> dict[str, Any] | None:
    """The error this event reports, or None; an object with at least what the provider said."""
    found = payload.get("error")
    kind = payload.get("type")
    if kind == "response.failed" and isinstance(payload.get("response"), dict):
        found = payload["response"].get("error") or {"message": "the provider gave up on the response"}
    elif kind == "error" and not found:
        found = {key: payload.get(key) for key in ("code", "message", "param")}
    elif name == "error" and not found:
        found = payload
    if not found:
        return None
    return found if isinstance(found, dict) else {"message": str(found)}


def _tier_in(usage: object) -> str | None:
    tier = usage.get("service_tier") if isinstance(usage, dict) else None
    return tier if isinstance(tier, str) else None
