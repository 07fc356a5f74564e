"""What a server says when it starts: where it listens, over which store, for whom, within what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import penstock
from penstock.model.states import WAITING
from penstock.service.config import ServerConfig
from penstock.service.service import Service
from penstock.stores.contract import Reader


def greeting(service: Service, config: ServerConfig, addresses: Sequence[tuple[Any, ...]]) -> str:
    """A few lines for people; no secret is in them."""
    scheme = "https" if config.server.tls_certificate else "http"
    places = [f"{scheme}://{_host(str(one[0]))}:{one[1]}" for one in addresses]
    lines = [
        f"penstock {penstock.__version__} serves {' and '.join(places)}",
        f"  clients   base_url={places[0]}/v1"
        + (f", documentation {places[0]}/docs" if config.server.docs else ""),
        f"  store     {_store(service)}",
        f"  keys      {_keys(service)}",
        f"  limits    {_limits(service)}",
        f"  upstream  {', '.join(client.endpoint.base_url for client in service.manager.setup.clients)}",
    ]
    if service.keys.needed and scheme == "http" and service.keys.required:
        lines.append(
            "  warning   keys go over the wire in the open: put TLS before it, or set tls_certificate"
        )
    return "\n".join(lines)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _store(service: Service) -> str:
    waiting = service.engine.peek(
        lambda reader: sum(one.count for one in reader.tallies() if one.status in WAITING)
    )
    return f"{service.engine.settings.store}, {waiting:,} tasks wait"


def _keys(service: Service) -> str:
    def count(reader: Reader) -> tuple[int, int]:
        good = [one for one in reader.api_keys() if one.revoked_at is None]
        return len(good), len({one.tenant for one in good})

    keys, tenants = service.engine.peek(count)
    if not service.keys.needed:
        return "none: this machine only, and everybody on it may do everything"
    return f"{keys} for {tenants} tenant{'s' if tenants != 1 else ''}"


def _limits(service: Service) -> str:
    limits = service.engine.settings.limits
    told = [
        (limits.requests_per_minute, "{:,} requests a minute"),
        (limits.requests_per_hour, "{:,} requests an hour"),
        (limits.tokens_per_minute, "{:,} tokens a minute"),
        (limits.budget, "{} USD in all"),
        (limits.daily_budget, "{} USD a day"),
        (limits.hourly_budget, "{} USD an hour"),
    ]
    said = [text.format(value) for value, text in told if value is not None]
    said.append(f"{service.engine.settings.max_concurrent:,} calls at once")
    if limits.tenants or limits.tenant_budgets:
        said.append(f"{len({*limits.tenants, *limits.tenant_budgets})} tenants with limits of their own")
    return ", ".join(said)
