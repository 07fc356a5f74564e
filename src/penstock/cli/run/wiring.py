"""Settings, handler and client of a job's manager."""

from __future__ import annotations

from typing import Any

from penstock.cli.assignments import read_assignments
from penstock.cli.run.options import RunOptions, check_profile, read_limit, read_prices
from penstock.cli.run.terms import check_terms
from penstock.errors import ConfigurationError
from penstock.manager import Manager
from penstock.model.options import TaskOptions
from penstock.policies import policy_named
from penstock.runtime.settings import Keep, Limits, Settings
from penstock.stores.contract import Store
from penstock.task_types import llm_request


def settings_of(options: RunOptions) -> Settings:
    """What the options say about the manager; raises `ConfigurationError` naming the option that is wrong."""
    check_profile(options)
    check_terms(options.terms)
    strategy_settings = read_assignments(options.strategy_set, "--strategy-set")
    if options.strategy is not None:
        policy_named(options.strategy, **strategy_settings)
    elif strategy_settings:
        raise ConfigurationError("--strategy-set goes with --strategy NAME")
    limits = Limits(
        requests_per_minute=options.rpm,
        requests_per_hour=options.rph,
        tokens_per_minute=options.tpm,
        rates=tuple(read_limit(one) for one in options.limit),
        budget=options.budget,
        daily_budget=options.daily_budget,
        hourly_budget=options.hourly_budget,
        zone=_zone(options.zone),
    )
    return Settings(
        store=options.store_name,
        durability=options.durability,
        strategy=options.strategy,
        strategy_settings=strategy_settings,
        max_concurrent=options.concurrency,
        limits=limits,
        prices=read_prices(options.price),
        profile=options.profile,
        counts=options.counts,
        reserve=options.reserve,
        # A store of the job's own is as old as its files; pruning is for those that are shared.
        keep=Keep(days=None) if options.store is None else Keep(),
    )


def make_manager(options: RunOptions, settings: Settings, store: Store, handler: Any) -> Manager:
    """A manager, not started, that knows how to run lines with `handler`."""
    manager = Manager(settings, store=store)
    manager.register(
        llm_request.NAME,
        handler,
        check=llm_request.check,
        model=llm_request.model,
        options=TaskOptions(
            max_retries=options.retries,
            timeout=options.timeout,
            keep=options.keep == "all",
            cache_ttl=_seconds(options.cache),
            merge=options.merge,
        ),
    )
    return manager


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from penstock.cli.amounts import read_span

    return float(text) if text.replace(".", "", 1).isdigit() else read_span(text, "--cache")


def _zone(name: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ConfigurationError(f"--zone {name!r} is no time zone; give one such as Europe/Berlin") from None
    return name
