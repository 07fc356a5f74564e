"""Where model calls go: the address of an OpenAI-compatible endpoint and what it bears."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.errors import ConfigurationError
from penstock.llm.endpoint import DEFAULT_BASE_URL, Endpoint


@dataclass(frozen=True, slots=True)
class APIConfig:
    """An endpoint. Key and address default to `OPENAI_API_KEY` and `OPENAI_BASE_URL`.

    `timeout` is seconds without a byte; `rate_limit` requests per minute (`None`: as the manager says);
    `models` are those that it serves (empty: all); `model` and `embedding_model` are used by tasks that name
    none.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    timeout: float = 30.0
    rate_limit: int | None = None
    model: str = "gpt-4o-mini"
    embedding_model: str = "text-embedding-3-small"
    models: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        seconds, rate = self.timeout, self.rate_limit
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise ConfigurationError(f"timeout must be more than 0 seconds, not {seconds!r}")
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or rate < 1):
            raise ConfigurationError(f"rate_limit must be at least 1 request a minute, not {rate!r}")
        if self.api_key is not None and not isinstance(self.api_key, str):
            raise ConfigurationError(f"api_key must be a text, not {type(self.api_key).__name__}")


class OpenAICompatibleClient:
    """Any OpenAI-compatible endpoint, as the manager's gate calls it."""

    def __init__(self, config: APIConfig | None = None) -> None:
        self.config = config or APIConfig()
        key = self.config.api_key if self.config.api_key is not None else os.environ.get("OPENAI_API_KEY")
        self.endpoint = Endpoint(
            self.config.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL,
            key or None,
            self.config.timeout,
            headers=dict(self.config.headers),
            models=self.config.models,
        )

    def __repr__(self) -> str:
        return f"OpenAICompatibleClient({self.endpoint.base_url!r})"
