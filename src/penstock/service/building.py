"""Builds the service that a configuration describes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.errors import ConfigurationError
from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.client import APIConfig, OpenAICompatibleClient
from penstock.runtime.settings import Keep, ModelLimits
from penstock.service.auth import KeyRing
from penstock.service.config import ServerConfig, ServerPart, UpstreamPart
from penstock.service.service import Service, ServiceConfig

DEFAULT_STORE = "penstock.db"
_BOUNDS = tuple(name for name in ServiceConfig.__dataclass_fields__ if name in ServerPart.model_fields)
_SHARED = ("max_concurrent", "max_queue_size", "file_root", "allowed_hosts", "structured_output", "strategy")
_ENGINE = ("max_open", "threads", "processes")


def build(
    config: ServerConfig, environment: Mapping[str, str] = os.environ, required: bool = False
) -> Service:
    """A service that is not started; `required` asks for keys even while there are none.

    Raises `ConfigurationError` for what does not fit together, or a key that is not there.
    """
    manager = AITaskManager(clients_of(config, environment), **_keywords(config))
    for name in config.engine.modules:
        _set_up(name, manager)
    given = {name: getattr(config.server, name) for name in _BOUNDS}
    bounds = ServiceConfig(**given, log_requests=config.log.requests)
    return Service(manager, KeyRing(required, tuple(config.server.hosts)), bounds)


def store_path(config: ServerConfig) -> str:
    """Where the tasks are."""
    return config.store.path or DEFAULT_STORE


def clients_of(config: ServerConfig, environment: Mapping[str, str]) -> list[OpenAICompatibleClient]:
    """The endpoints; without any, the one of OPENAI_BASE_URL and OPENAI_API_KEY."""
    if config.upstreams:
        return [OpenAICompatibleClient(_api(one, environment)) for one in config.upstreams]
    key = environment.get("OPENAI_API_KEY") or ""
    return [OpenAICompatibleClient(APIConfig(key, environment.get("OPENAI_BASE_URL") or None, timeout=600.0))]


def _api(one: UpstreamPart, environment: Mapping[str, str]) -> APIConfig:
    return APIConfig(
        api_key=_secret(one, environment),
        base_url=one.base_url,
        timeout=one.timeout,
        rate_limit=one.requests_per_minute,
        model=one.model,
        embedding_model=one.embedding_model,
        models=tuple(one.models),
        headers={name: _variable(value, environment) for name, value in one.headers_env.items()},
    )


def _secret(one: UpstreamPart, environment: Mapping[str, str]) -> str:
    if one.key_env is not None and one.key_file is not None:
        raise ConfigurationError(f"upstream {one.base_url}: give key_env or key_file, not both")
    if one.key_file is not None:
        try:
            return one.key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"key_file {one.key_file}: {error.strerror or error}") from None
    return "" if one.key_env is None else _variable(one.key_env, environment)


def _variable(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name)
    if not value:
        raise ConfigurationError(f"the environment variable {name} is not set; the configuration names it")
    return value


def _keywords(config: ServerConfig) -> dict[str, Any]:
    """What `AITaskManager` is made with."""
    tenants, engine = config.tenants, config.engine
    return {
        **{name: getattr(engine, name) for name in _SHARED},
        **{name: getattr(engine, name) for name in _ENGINE if getattr(engine, name) is not None},
        **{name: getattr(config.limits, name) for name in ("requests_per_minute", "requests_per_hour")},
        "tokens_per_minute": config.limits.tokens_per_minute,
        "zone": config.limits.zone,
        "budget_limit": config.budgets.total,
        "daily_limit": config.budgets.daily,
        "hourly_limit": config.budgets.hourly,
        "store": _absolute(store_path(config)),
        "durability": config.store.durability,
        "keep": Keep(days=config.store.keep_days, events_days=config.store.keep_days),
        "models": {name: ModelLimits(**one.model_dump()) for name, one in config.models.items()},
        "tenants": {
            name: ModelLimits(**one.model_dump(exclude={"budget", "weight"})) for name, one in tenants.items()
        },
        "tenant_budgets": {name: one.budget for name, one in tenants.items() if one.budget is not None},
        "pools": dict(config.pools),
        "prices": {name: one.model_dump(exclude_none=True) for name, one in config.prices.items()},
        "strategy_settings": _strategy_settings(config),
    }


def _strategy_settings(config: ServerConfig) -> dict[str, Any]:
    settings = dict(config.strategy_settings)
    weights = {name: one.weight for name, one in config.tenants.items() if one.weight is not None}
    if weights and config.engine.strategy != "fair":
        raise ConfigurationError("a tenant has a weight, which only strategy fair knows: [engine] strategy")
    return settings | {"weights": {**settings.get("weights", {}), **weights}} if weights else settings


def _absolute(path: str) -> str:
    return path if path == "memory" else str(Path(path.removeprefix("sqlite:///")).expanduser().absolute())


def _set_up(name: str, manager: AITaskManager) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"module {name} cannot be imported: {error}") from None
    setup = getattr(module, "setup", None)
    if not callable(setup):
        raise ConfigurationError(f"module {name} has no function setup(manager)")
    setup(manager)
