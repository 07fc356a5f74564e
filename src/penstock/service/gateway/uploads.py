"""Reads a form with a file while it comes in: the file goes straight to disk."""

from __future__ import annotations

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from penstock.service.errors import HttpProblem
from penstock.service.gateway.bodies import gone
from penstock.service.gateway.shelf import Draft

LONGEST_FIELD = 10_000
MOST_FIELDS = 20


class Form:
    """The fields of a form by name, and the name of the file whose bytes went into `draft`."""

    def __init__(self, draft: Draft) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._draft = draft
        self._header = b""
        self._value = b""
        self._headers: dict[str, str] = {}
        self._name = ""
        self._field: bytearray | None = None

    def part_begins(self) -> None:
        self._headers, self._header, self._value = {}, b"", b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        _check_length(self._header)

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        _check_length(self._value)

    def header_ends(self) -> None:
        if len(self._headers) >= MOST_FIELDS:
            raise _bad("a part has too many headers")
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._header = self._value = b""

    def headers_end(self) -> None:
        """Now it is known whether this part is a field or the file."""
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        if self._name == "file":
            if self.filename is not None:
                raise _bad("there is more than one file")
            self.filename = (filename or b"file").decode("utf-8", "replace")[:500]
            self._field = None
        elif len(self.fields) >= MOST_FIELDS or filename is not None:
            raise _bad(f"the field {self._name[:50]!r} is none of this form")
        else:
            self._field = bytearray()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._draft.write(data[start:end])
        else:
            self._field += data[start:end]
            _check_length(self._field)

    def part_ends(self) -> None:
        if self._field is not None:
            self.fields[self._name] = self._field.decode("utf-8", "replace")


async def read_form(request: Request, draft: Draft) -> Form:
    """The form of this request, its file in `draft`. Raises `HttpProblem` for one that is broken or too
    long."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise _bad("send a multipart/form-data form with the fields purpose and file")
    form = Form(draft)
    ended = False

    def end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.part_begins,
                "on_header_field": form.header_field,
                "on_header_value": form.header_value,
                "on_header_end": form.header_ends,
                "on_headers_finished": form.headers_end,
                "on_part_data": form.part_data,
                "on_part_end": form.part_ends,
                "on_end": end,
            },
        )
        async for part in request.stream():
            parser.write(part)
        parser.finalize()
    except FormParserError as error:
        raise _bad(f"the form is broken: {error}") from None
    except ClientDisconnect:
        raise gone() from None
    if not ended:
        raise _bad("the form is cut off")
    return form


def _check_length(value: bytes | bytearray) -> None:
    if len(value) > LONGEST_FIELD:
        raise _bad(f"a field is longer than {LONGEST_FIELD:,} bytes")


def _bad(message: str) -> HttpProblem:
    return HttpProblem(400, "invalid_form", message, headers={"x-should-retry": "false"})
