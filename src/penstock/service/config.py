"""What `penstock serve` is configured with: one file, the environment, and the command line over both.

The documented list in docs/reference/configuration.md is written from the models of this file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock.errors import ConfigurationError

PREFIX = "PENSTOCK_"
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Usd = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A table of the file: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerPart(Section):
    """Where to listen, and bounds of the HTTP face."""

    host: str = Field("127.0.0.1", description="address to listen on; beyond this machine only with API keys")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    hosts: list[str] = Field(
        [], description="further names by which it may be called while there are no keys"
    )
    trusted_proxies: list[str] = Field(
        [], description="addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"
    )
    tls_certificate: Path | None = Field(None, description="certificate chain in a PEM file; with `tls_key`")
    tls_key: Path | None = Field(None, description="its private key in a PEM file")
    docs: bool = Field(True, description="whether /docs and /openapi.json are served (to anybody)")
    grace_seconds: Seconds = Field(30.0, description="how long calls in flight may take at a stop")
    most_connections: Count = Field(10_000, description="connections at once; more get 503")
    most_requests: Count = Field(10_000, description="requests at once; more get 503")
    header_bytes: Count = Field(32_768, description="request line and headers of a request")
    header_seconds: Seconds = Field(10.0, description="how long a client may take to send its headers")
    idle_seconds: Seconds = Field(75.0, description="how long a connection without requests is kept")
    body_seconds: Seconds = Field(
        30.0, description="how long a body may be waited for, besides the time its bytes are granted"
    )
    body_bytes_per_second: Seconds = Field(1_000.0, description="the slowest rate at which a body may come")
    max_body: Count = Field(10_000_000, description="bytes of a request's JSON")
    max_bulk_line: Count = Field(1_000_000, description="bytes of one line of a bulk submission")
    max_upload: Count = Field(1_000_000_000, description="bytes of a streamed body")
    hold_seconds: Seconds = Field(
        60.0, description="how long a gateway call waits silently before it is told to come back"
    )
    ticket_seconds: Seconds = Field(300.0, description="how long its ticket keeps its place")
    keep_alive_seconds: Seconds = Field(10.0, description="between comments in an event stream that waits")
    most_parked: Count = Field(10_000, description="gateway calls that wait at once")
    idempotency_seconds: Seconds = Field(
        86_400.0, description="how long a gateway reply is kept for its idempotency key"
    )
    files_folder: str | None = Field(
        None, description="where uploaded files lie; none: a folder beside the store"
    )
    max_file: Count = Field(200_000_000, description="bytes of one uploaded file")
    max_files: Count = Field(2_000_000_000, description="bytes of all files of a tenant")
    most_followers: Count = Field(1_000, description="event streams at once")


class StorePart(Section):
    """Where tasks live."""

    path: str | None = Field(None, description="the store's file; none: penstock.db in the working folder")
    durability: Literal["full", "normal"] = Field(
        "full", description="`full` survives loss of power, `normal` a crash of the process"
    )
    keep_days: float | None = Field(30.0, gt=0, description="how long ended tasks and their events are kept")


class EnginePart(Section):
    """How tasks are run."""

    max_concurrent: Count = Field(100, description="handlers that run and calls in flight")
    max_open: Count | None = Field(None, description="tasks with a coroutine in memory")
    max_queue_size: Count | None = Field(100_000, description="unfinished tasks; more are refused with 503")
    threads: Count = Field(32, description="threads for plain handlers")
    processes: Count | None = Field(None, description="processes for functions that compute")
    strategy: str | None = Field(
        None, description="what orders waiting tasks; none: as the store was told last, else `priority`"
    )
    file_root: Path | None = Field(None, description="folder of file operations; none: they are refused")
    allowed_hosts: list[str] = Field(
        [], description="private hosts or networks that API requests and webhooks may reach all the same"
    )
    modules: list[str] = Field(
        [], description="Python modules with a function `setup(manager)` that registers task types"
    )
    structured_output: bool = Field(True, description="whether models are asked for JSON by schema")


class LimitsPart(Section):
    """Limits of all calls together."""

    requests_per_minute: Count | None = Field(None, description="requests in any minute")
    requests_per_hour: Count | None = Field(None, description="requests in any hour")
    tokens_per_minute: Count | None = Field(None, description="tokens in any minute")
    zone: str = Field("UTC", description="time zone of calendar days and hours of budgets")


class BudgetsPart(Section):
    """Money in US dollars."""

    total: Usd | None = Field(None, description="in all")
    daily: Usd | None = Field(None, description="per calendar day")
    hourly: Usd | None = Field(None, description="per calendar hour")


class LogPart(Section):
    """What is logged, on standard error."""

    format: Literal["text", "json"] = Field("text", description="lines for people, or one JSON object each")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is told")
    requests: bool = Field(False, description="whether every request is logged")


class UpstreamPart(Section):
    """An OpenAI-compatible endpoint; the first that serves a model is tried first."""

    base_url: str = Field(description="its address, as SDKs take it")
    key_env: str | None = Field(None, description="name of the environment variable that has its key")
    key_file: Path | None = Field(None, description="file that has its key, instead of `key_env`")
    models: list[str] = Field([], description="models that it serves; none: all")
    model: str = Field("gpt-4o-mini", description="model of tasks that name none (of the first endpoint)")
    embedding_model: str = Field("text-embedding-3-small", description="the same for embeddings")
    requests_per_minute: Count | None = Field(None, description="requests in any minute")
    timeout: Seconds = Field(600.0, description="seconds without a byte")
    headers_env: dict[str, str] = Field(
        {}, description="further headers: the name of each, and of the environment variable of its value"
    )


class ModelPart(Section):
    """Limits of one model: `[models."NAME"]`."""

    requests_per_minute: Count | None = Field(None, description="requests in any minute")
    requests_per_hour: Count | None = Field(None, description="requests in any hour")
    tokens_per_minute: Count | None = Field(None, description="tokens in any minute")
    max_concurrent: Count | None = Field(None, description="calls in flight")


class TenantPart(ModelPart):
    """What one tenant is granted: `[tenants.NAME]`; terms given with `penstock keys` go over it."""

    budget: Usd | None = Field(None, description="money in all")
    weight: float | None = Field(
        None, gt=0, description="share under the strategy `fair`, relative to others"
    )


class PricePart(Section):
    """US dollars per million tokens of a model: `[prices."NAME"]`."""

    input: Usd = Field(description="of the prompt")
    output: Usd = Field(0.0, description="of the reply")
    cached_input: Usd | None = Field(None, description="of a prompt that the provider had")
    cache_write: Usd | None = Field(None, description="of a prompt that the provider keeps")
    per_request: Usd | None = Field(None, description="of a request, whatever its size")


class ServerConfig(Section):
    """Everything; each table of the file is a field."""

    server: ServerPart = ServerPart()
    store: StorePart = StorePart()
    engine: EnginePart = EnginePart()
    limits: LimitsPart = LimitsPart()
    budgets: BudgetsPart = BudgetsPart()
    log: LogPart = LogPart()
    upstreams: list[UpstreamPart] = []
    models: dict[str, ModelPart] = {}
    tenants: dict[str, TenantPart] = {}
    pools: dict[str, Count] = {}
    prices: dict[str, PricePart] = {}
    strategy_settings: dict[str, Any] = {}


PLAIN = ("server", "store", "engine", "limits", "budgets", "log")
"""Tables whose fields can also be given in the environment."""


def variable_of(section: str, field: str) -> str:
    """The environment variable of a setting; lists are given with commas."""
    return PREFIX + ("STORE" if (section, field) == ("store", "path") else f"{section}_{field}".upper())


def read_config(
    path: str | Path | None,
    environment: Mapping[str, str] = os.environ,
    given: Mapping[str, Mapping[str, Any]] | None = None,
) -> ServerConfig:
    """The configuration: `given` (by section) goes over the environment, that over the file, that over
    defaults. Raises `ConfigurationError` naming the file, variable or field that is wrong."""
    told = _file(path)
    for section in PLAIN:
        fields = ServerConfig.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        for name, field in fields.items():
            text = environment.get(variable_of(section, name))
            if text:
                value: Any = text
                if "list" in str(field.annotation):
                    value = [part.strip() for part in text.split(",") if part.strip()]
                _table(told, section)[name] = value
    for section, values in (given or {}).items():
        _table(told, section).update({name: value for name, value in values.items() if value is not None})
    try:
        return ServerConfig.model_validate(told)
    except ValidationError as error:
        raise ConfigurationError(_explained(error, path)) from None


def _file(path: str | Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None


def _table(told: dict[str, Any], section: str) -> dict[str, Any]:
    found = told.setdefault(section, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{section} is a table: [{section}]")
    return found


def _explained(error: ValidationError, path: str | Path | None) -> str:
    """What is wrong and where, without the values: one of them may be a secret in the wrong place."""
    lines = []
    for one in error.errors(include_input=False, include_url=False)[:5]:
        where = ".".join(str(part) for part in one["loc"])
        what = one["msg"][:1].lower() + one["msg"][1:]
        if one["type"] == "extra_forbidden":
            what = "there is no such setting"
            if any(word in str(one["loc"][-1]) for word in ("key", "token", "secret", "password")):
                what += "; keys are named, not written here: key_env or key_file"
        lines.append(f"{where}: {what}")
    return f"{path or 'configuration'}: " + "; ".join(lines)
