"""What a job is asked to do, checked before anything is opened."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from penstock.cli.amounts import read_span
from penstock.cli.run.feeder import FeedRules
from penstock.cli.run.lines import LineRules
from penstock.cli.run.terms import Terms, read_deadline
from penstock.errors import ConfigurationError
from penstock.llm.endpoint import DEFAULT_BASE_URL, Endpoint
from penstock.llm.profiles import profile_for, profile_named

KEY_VARIABLE = "OPENAI_API_KEY"
ADDRESS_VARIABLE = "OPENAI_BASE_URL"
DEFAULT_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One job. Times in seconds, money in US dollars, `price` as MODEL=IN,OUT per million tokens; `store`
    None is `<output>.penstock.db`. Every other field is named as its option."""

    input: str
    output: str
    errors: str | None = None
    store: str | None = None
    durability: Literal["full", "normal"] = "full"
    base_url: tuple[str, ...] = ()
    api_key_env: tuple[str, ...] = ()
    api_key: str | None = None
    model: str | None = None
    endpoint: str | None = None
    rpm: int | None = None
    rph: int | None = None
    tpm: int | None = None
    limit: tuple[str, ...] = ()
    concurrency: int = 100
    budget: Decimal | None = None
    daily_budget: Decimal | None = None
    hourly_budget: Decimal | None = None
    zone: str = "UTC"
    price: tuple[str, ...] = ()
    priority: str | None = None
    service_class: str | None = None
    slo: str | None = None
    deadline: str | None = None
    tenant: str = ""
    strategy: str | None = None
    strategy_set: tuple[str, ...] = ()
    retries: int = 5
    timeout: float | None = None
    cache: str | None = None
    merge: bool = False
    profile: str | None = None
    counts: Literal["actual", "reserved"] | None = None
    reserve: Literal["learned", "cap"] = "learned"
    keep: Literal["all", "none"] = "all"
    max_line_bytes: int = 50_000_000
    sample: int | None = None
    retry_failed: bool = False
    restart: bool = False
    keep_going: bool = False
    dry_run: bool = False
    quiet: bool = False
    json: bool = False

    @property
    def from_stdin(self) -> bool:
        return self.input == "-"

    @property
    def input_path(self) -> Path:
        """The file lines are read from; for standard input the private copy beside the output."""
        if self.from_stdin:
            return self.output_path.with_name(self.output_path.name + ".penstock.input")
        return Path(self.input).expanduser().absolute()

    @property
    def output_path(self) -> Path:
        return Path(self.output).expanduser().absolute()

    @property
    def errors_path(self) -> Path:
        if self.errors is not None:
            return Path(self.errors).expanduser().absolute()
        return self.output_path.with_name(self.output_path.stem + ".errors.jsonl")

    @property
    def store_name(self) -> str:
        """What `Settings.store` takes."""
        if self.store is not None:
            return self.store
        return str(self.output_path.with_name(self.output_path.name + ".penstock.db"))

    @property
    def key_name(self) -> str:
        return " or ".join(self.api_key_env) or KEY_VARIABLE

    @property
    def feed_rules(self) -> FeedRules:
        lines = LineRules(self.model, self.endpoint, any("anthropic.com" in url for url in self.base_url))
        return FeedRules(lines, self.terms, self.max_line_bytes, self.sample)

    @property
    def terms(self) -> Terms:
        """On what terms lines enter; a deadline relative to now."""
        slo = None if self.slo is None else read_span(self.slo, "--slo")
        deadline = None if self.deadline is None else read_deadline(self.deadline, time.time())
        return Terms(self.priority, self.service_class, slo, deadline, self.tenant)


def check_paths(options: RunOptions) -> None:
    """Raise `ConfigurationError` when the files cannot be what they are asked to be."""
    source, results, errors = options.input_path, options.output_path, options.errors_path
    if len({source, results, errors}) < 3:
        raise ConfigurationError(f"input, output and errors must be three files, not {results} twice")
    if not options.from_stdin:
        if source.is_dir():
            raise ConfigurationError(f"{source} is a folder; name a file of requests, one a line")
        if not source.exists():
            raise ConfigurationError(f"{source} does not exist; name a file of requests, one a line")
    for path in (results, errors):
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder; name a file")
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path} is no regular file; results can be continued only in one")
        if not path.parent.is_dir():
            raise ConfigurationError(f"{path.parent} does not exist; make it first, or name another output")
    if options.store is not None:
        _check_store(options.store, {source, results, errors})


def _check_store(name: str, others: set[Path]) -> None:
    path = Path(name.removeprefix("sqlite:///")).expanduser().absolute()
    if path in others:
        raise ConfigurationError(
            f"--store {name} is the input or an output too; the store is a file of its own"
        )
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"--store {name} is no regular file; name a file, or memory")


def base_urls(options: RunOptions, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Every address given, or the one of the environment, or OpenAI's."""
    given = _split(options.base_url)
    return given or [environ.get(ADDRESS_VARIABLE) or DEFAULT_BASE_URL]


def addresses(options: RunOptions) -> list[str]:
    """The same as they may be stored and shown: without user, password and query, which may hold a key."""
    parts = [urlsplit(url) for url in base_urls(options)]
    return [f"{one.scheme}://{one.netloc.rpartition('@')[2]}{one.path}" for one in parts]


def endpoints(options: RunOptions, environ: Mapping[str, str] = os.environ) -> list[Endpoint]:
    """An endpoint for each address and key: as many keys as addresses go in pairs, else each with each."""
    urls = base_urls(options, environ)
    named = _split(options.api_key_env)
    for name in named:
        if not environ.get(name):
            raise ConfigurationError(f"--api-key-env names {name}, which is not set; set it or name another")
    names = named or [KEY_VARIABLE]
    keys = [options.api_key] if options.api_key else [environ.get(name) for name in names]
    if len(urls) == len(keys):
        pairs = list(zip(urls, keys, strict=True))
    else:
        pairs = [(url, key) for url in urls for key in keys]
    return [_endpoint(url, key, names, options) for url, key in pairs]


def _endpoint(url: str, key: str | None, names: Sequence[str], options: RunOptions) -> Endpoint:
    base, _, query = url.partition("?")
    try:
        urlsplit(base).port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise ConfigurationError(f"--base-url {base!r} is no address: {error}") from None
    endpoint = Endpoint(base, key or None, timeout=options.timeout or DEFAULT_TIMEOUT, query=query)
    if not key and not profile_for(base).local:
        raise ConfigurationError(
            f"no key for {urlsplit(base).hostname}: set the environment variable {' or '.join(names)}, "
            "or name another "
            "one with --api-key-env (an endpoint of your own is named with --base-url or OPENAI_BASE_URL)"
        )
    if key and (not key.isascii() or key != key.strip()):
        raise ConfigurationError(
            f"the key in {' or '.join(names)} holds spaces or characters that no key has; set it again"
        )
    return endpoint


def check_profile(options: RunOptions) -> None:
    """Raise `ConfigurationError` for a provider profile that nobody knows."""
    if options.profile is not None and profile_named(options.profile) is None:
        raise ConfigurationError(
            f"--profile {options.profile!r} is unknown; known are openai, azure, anthropic, groq, "
            "gemini, local, ..."
        )


def _split(given: Sequence[str]) -> list[str]:
    return [part.strip() for one in given for part in one.split(",") if part.strip()]


_LIMIT = re.compile(r"(requests|tokens):([\d_]+)/(\d+(?:\.\d+)?)?\s*(s|m|min|h|d)(?:@(.+))?", re.IGNORECASE)
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def read_limit(text: str) -> Any:
    """The `RateLimit` of `requests:500/10s`, `tokens:90000/m` or `tokens:90000/m@gpt-4o`."""
    from penstock.admission import RateLimit

    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"--limit {text!r} is no limit; write requests:500/10s, tokens:90000/m or tokens:90000/m@model"
        )
    kind, amount, count, unit, model = found.groups()
    window = float(count or 1) * _UNIT_SECONDS[unit.lower()]
    dimension: Literal["requests", "tokens"] = "requests" if kind.lower() == "requests" else "tokens"
    try:
        return RateLimit(dimension, int(amount), window, model)
    except ValueError:
        raise ConfigurationError(f"--limit {text!r}: amount and window must be above zero") from None


def read_prices(given: Sequence[str]) -> dict[str, Any]:
    """The setting `prices` of every `--price MODEL=IN,OUT`."""
    from penstock.pricing import read_price_option

    return dict(read_price_option(one) for one in given)
