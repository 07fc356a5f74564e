"""An endpoint: an address that answers model calls, and the key for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from penstock.errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Any OpenAI-compatible address. `base_url` is what SDKs take (it ends in /v1, as a rule); `models` are
    those it serves (empty: all), `query` goes with every call (Azure's api-version), `timeout` is seconds
    without a byte."""

    base_url: str = DEFAULT_BASE_URL
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 600.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: str = ""
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"the base URL {self.base_url!r} is no address; give one such as {DEFAULT_BASE_URL}"
            )

    @property
    def azure(self) -> bool:
        return "/openai/deployments/" in self.base_url or ".openai.azure.com" in self.base_url

    @property
    def name(self) -> str:
        """What its limits are kept under: host, port and six digits of the key's hash."""
        place = urlsplit(self.base_url).netloc.rpartition("@")[2]
        return place + (f"#{hashlib.sha256(self.api_key.encode()).hexdigest()[:6]}" if self.api_key else "")

    def serves(self, model: str | None) -> bool:
        return not self.models or model in self.models

    def url_for(self, path: str) -> str:
        """The address of an API path such as /v1/chat/completions below this base."""
        base = self.base_url.rstrip("/")
        tail = path if path.startswith("/") else "/" + path
        if urlsplit(base).path:
            tail = tail.removeprefix("/v1") if tail.startswith("/v1/") else tail
        query = f"?{self.query}" if self.query else ""
        return base + tail + query

    def headers_for(self) -> list[tuple[str, str]]:
        """The headers of every call; they hold the key."""
        given = [("content-type", "application/json"), ("user-agent", "penstock")]
        if self.api_key:
            given.append(
                ("api-key", self.api_key) if self.azure else ("authorization", f"Bearer {self.api_key}")
            )
            if "anthropic.com" in self.base_url:
                given += [("x-api-key", self.api_key), ("anthropic-version", "2023-06-01")]
        return given + list(self.headers.items())
