"""A server that a command speaks to instead of a store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock.errors import ConfigurationError

KEY_VARIABLE = "PENSTOCK_API_KEY"

ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="PENSTOCK_SERVER",
        metavar="URL",
        help=f"A server instead of a store; its key in {KEY_VARIABLE}.",
    ),
]


class Remote:
    """A server, spoken to over HTTP."""

    def __init__(self, url: str) -> None:
        import httpx2

        key = os.environ.get(KEY_VARIABLE)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=30.0)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: Any) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON that it answers. Raises `ConfigurationError` with the reason, each problem on a line."""
        return self._asked(method, path, body, headers)[0]

    def pages(self, path: str) -> list[Any]:
        """Every row of a list that is told in pages; the path has its query already."""
        rows, cursor = self._asked("GET", path)
        while cursor:
            more, cursor = self._asked("GET", f"{path}&cursor={cursor}")
            rows += more
        return list(rows)

    def text(self, path: str) -> str:
        """A reply that is no JSON."""
        return str(self._answer("GET", path).text)

    def _asked(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, str | None]:
        reply = self._answer(method, path, body, headers)
        try:
            return reply.json(), reply.headers.get("x-next-cursor")
        except ValueError:
            raise ConfigurationError(f"{self._http.base_url} is no server of penstock") from None

    def _answer(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        import httpx2

        try:
            reply = self._http.request(method, path, json=body, headers=dict(headers or {}))
        except httpx2.HTTPError as error:
            raise ConfigurationError(f"{self._http.base_url} cannot be asked: {error}") from None
        if reply.status_code >= 400:
            raise ConfigurationError(f"the server answered {reply.status_code}: {_reason(reply)}")
        return reply


def _reason(reply: Any) -> str:
    try:
        error = reply.json()["error"]
        problems = error.get("problems") or []
        lines = [f"{one['path']}: {one['message']}" if one["path"] else one["message"] for one in problems]
        return "\n".join(["", *lines]) if lines else str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "no message"
