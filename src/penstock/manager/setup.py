"""What an AI task manager is made with, and the engine made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from penstock.errors import ConfigurationError
from penstock.manager.client import OpenAICompatibleClient
from penstock.manager.engine import Manager
from penstock.manager.home import default_store
from penstock.pricing import PriceTable
from penstock.runtime.settings import Keep, Limits, ModelLimits, Settings

Money = Decimal | float


@dataclass(frozen=True, slots=True)
class Setup:
    """Every keyword that `AITaskManager` takes.

    Limits, `models`, `tenants`, `pools` and `zone` are those of `Limits`; `*_limit` are US dollars: in all,
    per calendar day, per calendar hour. `file_root` is the folder of file operations, `allowed_hosts` private
    hosts or networks that API requests may reach all the same. `gather_seconds` lets small embedding tasks
    wait so long for others to share a call with; a call takes `embedding_inputs` texts at most. Replies to
    API requests and files are at most `most_bytes` long. `more` are further fields of `Settings`.
    """

    clients: tuple[OpenAICompatibleClient, ...]
    max_concurrent: int = 5
    max_queue_size: int | None = 10_000
    requests_per_minute: int | None = 60
    requests_per_hour: int | None = None
    tokens_per_minute: int | None = None
    budget_limit: Money | None = None
    daily_limit: Money | None = None
    hourly_limit: Money | None = None
    store: str | Path | None = None
    models: Mapping[str, ModelLimits] = field(default_factory=dict)
    tenants: Mapping[str, ModelLimits] = field(default_factory=dict)
    tenant_budgets: Mapping[str, Money] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)
    zone: str = "UTC"
    strategy: str | None = None
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None
    durability: Literal["full", "normal"] = "full"
    file_root: str | Path | None = None
    allowed_hosts: Sequence[str] = ()
    gather_seconds: float = 0.0
    embedding_inputs: int = 2048
    structured_output: bool = True
    most_bytes: int = 10_000_000
    more: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def read(
        clients: OpenAICompatibleClient | Sequence[OpenAICompatibleClient] | None,
        max_concurrent: int,
        given: Mapping[str, Any],
    ) -> Setup:
        """Sort keywords into fields; raises `ConfigurationError` for one that there is not."""
        if clients is None:
            clients = OpenAICompatibleClient()
        several = tuple(clients) if isinstance(clients, list | tuple) else (clients,)
        for one in several:
            if not isinstance(one, OpenAICompatibleClient):
                # Not the thing itself: it may be a key.
                raise ConfigurationError(
                    "ai_client must be OpenAICompatibleClient(APIConfig(api_key=..., base_url=...)) or a "
                    f"list of them, not {type(one).__name__}"
                )
        if not several:
            raise ConfigurationError("ai_client is an empty list; give at least one OpenAICompatibleClient")
        own = {known.name for known in fields(Setup)} - {"clients", "max_concurrent", "more"}
        further = {known.name for known in fields(Settings)} - {"limits", "max_concurrent", "store"} - own
        for name in given:
            if name not in own and name not in further:
                raise ConfigurationError(
                    f"there is no setting {name!r}; there are {', '.join(sorted(own | further))}"
                )
        more = {name: value for name, value in given.items() if name in further}
        kept = {name: value for name, value in given.items() if name in own}
        if all(one.config.rate_limit is not None for one in several):
            # They say what they bear; the default is for those that say nothing.
            kept.setdefault("requests_per_minute", None)
        return Setup(several, max_concurrent, more=more, **kept).checked()

    def checked(self) -> Setup:
        """This setup; raises `ConfigurationError` for numbers that make no sense."""
        counts = (
            "max_concurrent",
            "max_queue_size",
            "requests_per_minute",
            "requests_per_hour",
            "tokens_per_minute",
        )
        for name in counts:
            check_count(name, getattr(self, name))
        for name in ("budget_limit", "daily_limit", "hourly_limit"):
            check_money(name, getattr(self, name))
        if self.store is not None and not isinstance(self.store, str | Path):
            raise ConfigurationError(f"store must be a path, sqlite:///path or memory, not {self.store!r}")
        if isinstance(self.store, str) and "://" in self.store and not self.store.startswith("sqlite:///"):
            raise ConfigurationError(f"store must be a path, sqlite:///path or memory, not {self.store!r}")
        for name in ("prices", "pools"):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigurationError(f"{name} must be a dict, not {getattr(self, name)!r}")
        PriceTable(self.prices)  # wrong prices are told here, not at the start
        if not isinstance(self.more.get("keep", Keep()), Keep):
            raise ConfigurationError(f"keep must be a Keep(days=...), not {self.more['keep']!r}")
        for pool, units in self.pools.items():
            if isinstance(units, bool) or not isinstance(units, int) or units < 0:
                raise ConfigurationError(f"pools: units of {pool!r} must be a whole number, not {units!r}")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise ConfigurationError(
                f"zone {self.zone!r} is no time zone; give a name such as Europe/Oslo"
            ) from None
        return self

    @property
    def base_url(self) -> str:
        return self.clients[0].endpoint.base_url

    @property
    def settings(self) -> Settings:
        """The same in the words of the engine."""
        rates = [client.config.rate_limit for client in self.clients]
        total = None if None in rates else sum(rate or 0 for rate in rates)
        per_minute = [limit for limit in (self.requests_per_minute, total) if limit is not None]
        limits = Limits(
            requests_per_minute=min(per_minute, default=None),
            requests_per_hour=self.requests_per_hour,
            tokens_per_minute=self.tokens_per_minute,
            models=self.models,
            tenants=self.tenants,
            budget=self.budget_limit,
            daily_budget=self.daily_limit,
            hourly_budget=self.hourly_limit,
            tenant_budgets=self.tenant_budgets,
            pools=self.pools,
            zone=self.zone,
        )
        return Settings(
            store=str(self.store) if self.store is not None else default_store(),
            durability=self.durability,
            strategy=self.strategy,
            strategy_settings=self.strategy_settings,
            max_concurrent=self.max_concurrent,
            max_queue_size=self.max_queue_size,
            limits=limits,
            prices=self.prices,
            profile=self.profile,
            **self.more,
        )


def make_engine(setup: Setup) -> Manager:
    """The engine that this setup asks for, not started."""
    return Manager(setup.settings)


_COUNTS = (
    "max_concurrent",
    "max_queue_size",
    "requests_per_minute",
    "requests_per_hour",
    "tokens_per_minute",
)

_LIMIT_NAMES = {
    "budget_limit": "budget",
    "daily_limit": "daily_budget",
    "hourly_limit": "hourly_budget",
    "requests_per_minute": "requests_per_minute",
    "requests_per_hour": "requests_per_hour",
    "tokens_per_minute": "tokens_per_minute",
}


def changed_settings(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """Settings with some numbers changed, under the names of the task manager."""
    for name, value in given.items():
        (check_money if name.endswith("_limit") else check_count)(name, value)
    limits = {_LIMIT_NAMES[name]: value for name, value in given.items() if name in _LIMIT_NAMES}
    rest = {name: value for name, value in given.items() if name not in _LIMIT_NAMES}
    if "max_concurrent" in rest and rest["max_concurrent"] is None:
        raise ConfigurationError("max_concurrent must be a number of at least 1")
    return replace(settings, limits=replace(settings.limits, **limits), **rest)


def check_count(name: str, value: Any) -> None:
    """Raise `ConfigurationError` unless it is `None` or a whole number of at least 1."""
    if value is None and name != "max_concurrent":
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number of at least 1, not {value!r}")


def check_span(name: str, value: Any) -> None:
    """Raise `ConfigurationError` unless it is a number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(f"{name} must be a number of at least 0, not {value!r}")


def check_money(name: str, value: Any) -> None:
    """Raise `ConfigurationError` unless it is `None` or an amount of at least 0 US dollars."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value < 1e6:
        raise ConfigurationError(f"{name} must be an amount of US dollars from 0 to a million, not {value!r}")
