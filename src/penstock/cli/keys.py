"""`penstock keys`: who may use the server over a store, and what tenants are granted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.show_text import print_json
from penstock.cli.stores import DEFAULT_NAME, JsonOption, StoreOption, any_store, writing
from penstock.errors import ConfigurationError
from penstock.model.api_key import (
    ApiKey,
    TenantTerms,
    digest_of,
    hint_of,
    new_key,
    read_scopes,
)
from penstock.model.clock import iso_time
from penstock.model.usage import from_pico, to_pico
from penstock.stores.contract import Reader, Store, Transaction

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="API keys of a server: add, list, rotate, revoke, remove; and what tenants are granted.",
)

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
NameArgument = Annotated[str, typer.Argument(help="The key's name.")]
RpmOption = Annotated[int | None, typer.Option("--requests-per-minute", "--rpm", help="Of the tenant.")]
RphOption = Annotated[int | None, typer.Option("--requests-per-hour", help="Of the tenant.")]
TpmOption = Annotated[int | None, typer.Option("--tokens-per-minute", "--tpm", help="Of the tenant.")]
ConcurrencyOption = Annotated[int | None, typer.Option("--max-concurrent", help="Of the tenant.")]
BudgetOption = Annotated[str | None, typer.Option("--budget", help="Of the tenant, US dollars in all.")]
WeightOption = Annotated[
    float | None,
    typer.Option("--weight", help="Share of the tenant under strategy fair, relative to others."),
]


@app.command()
def add(
    name: NameArgument,
    scopes: Annotated[str, typer.Option("--scopes", help="Of submit, read and admin (which is all).")] = (
        "submit,read"
    ),
    tenant: Annotated[
        str, typer.Option("--tenant", "-t", help="Whose tasks it is for; none: nobody's own.")
    ] = "",
    expires: Annotated[
        str | None, typer.Option("--expires", help="Such as 12h or 90d; default: never.")
    ] = None,
    requests_per_minute: RpmOption = None,
    requests_per_hour: RphOption = None,
    tokens_per_minute: TpmOption = None,
    max_concurrent: ConcurrencyOption = None,
    budget: BudgetOption = None,
    weight: WeightOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key, and print it: this once, for only its hash is kept.

    Limits, budget and weight are the tenant's, however many keys it has; the last word counts.
    """
    if not re.fullmatch(r"[\w.@-]{1,64}", name):
        raise ConfigurationError("a key's name has 1 to 64 letters, digits and any of . _ - @")
    now, key = time.time(), new_key()
    until = _instant(expires, now)
    made = ApiKey(name, digest_of(key), hint_of(key), read_scopes(scopes), tenant, now, until)
    terms = _given(requests_per_minute, requests_per_hour, tokens_per_minute, max_concurrent, budget, weight)
    if terms and not tenant:
        raise ConfigurationError("limits, budget and weight are those of a tenant: give --tenant")

    def keep(tx: Transaction) -> None:
        if any(one.name == name for one in tx.api_keys()):
            raise ConfigurationError(
                f"there is a key {name!r} already: rotate it, remove it, or choose a name"
            )
        tx.put_key(made)
        if terms:
            tx.put_terms(_terms_of(tx, tenant).changed(**terms))

    with _store(store) as opened:
        opened.run(keep)
    _tell_key(key, made, json)


@app.command("list")
def list_(store: StoreOption = None, json: JsonOption = False) -> None:
    """List the keys (never the keys themselves) and what their tenants are granted."""
    with writing(store) as opened:
        keys, terms = opened.read(lambda reader: (reader.api_keys(), reader.tenant_terms()))
    now = time.time()
    if json:
        print_json(
            {"keys": [_shown(one, now) for one in keys], "tenants": [_shown_terms(one) for one in terms]}
        )
        return
    for one in keys:
        who = f"tenant {one.tenant}" if one.tenant else "no tenant"
        typer.echo(f"{one.name}  {one.hint}  {','.join(one.scopes)}  {who}  {_state(one, now)}")
    for granted in terms:
        told = _shown_terms(granted)
        said = ", ".join(f"{name} {value}" for name, value in told.items() if name != "tenant")
        typer.echo(f"tenant {granted.tenant}: {said}")
    if not keys:
        typer.echo("no keys: a server over this store answers its own machine only")


@app.command()
def rotate(
    name: NameArgument,
    overlap: Annotated[
        str | None, typer.Option("--overlap", help="How long the key before stays good, such as 24h.")
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Make a new key in the place of one, and print it. The one before ends at once, or after --overlap."""
    now, key = time.time(), new_key()
    until = _instant(overlap, now)

    def keep(tx: Transaction) -> ApiKey:
        old = _found(tx, name)
        if old.revoked_at is not None:
            raise ConfigurationError(f"the key {name!r} is revoked; remove it and add another")
        new = replace(
            old,
            digest=digest_of(key),
            hint=hint_of(key),
            old_digest=None if until is None else old.digest,
            old_until=until,
        )
        tx.put_key(new)
        return new

    with writing(store) as opened:
        made = opened.run(keep)
    _tell_key(key, made, json)


@app.command()
def revoke(name: NameArgument, store: StoreOption = None) -> None:
    """End a key, at once and for ever; running servers notice it in a moment."""
    with writing(store) as opened:
        opened.run(lambda tx: tx.put_key(replace(_found(tx, name), revoked_at=time.time())))
    typer.echo(f"{name} is revoked")


@app.command()
def remove(name: NameArgument, store: StoreOption = None) -> None:
    """Forget a key. With the last one, a server that listens on this machine only asks for keys no more."""

    def drop(tx: Transaction) -> None:
        tx.drop_key(_found(tx, name).name)

    with writing(store) as opened:
        opened.run(drop)
    typer.echo(f"{name} is removed")


@app.command()
def tenant(
    tenant: Annotated[str, typer.Argument(help="The tenant's name.")],
    requests_per_minute: RpmOption = None,
    requests_per_hour: RphOption = None,
    tokens_per_minute: TpmOption = None,
    max_concurrent: ConcurrencyOption = None,
    budget: BudgetOption = None,
    weight: WeightOption = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget what was granted before.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Change what a tenant is granted, or show it; takes effect in running servers in a moment."""
    given = _given(requests_per_minute, requests_per_hour, tokens_per_minute, max_concurrent, budget, weight)

    def keep(tx: Transaction) -> TenantTerms:
        before = TenantTerms(tenant) if reset else _terms_of(tx, tenant)
        terms = before.changed(**given)
        if given or reset:
            tx.put_terms(terms)
        return terms

    with _store(store) as opened:
        shown = _shown_terms(opened.run(keep))
    if json:
        print_json(shown)
    else:
        said = [f"{name} {value}" for name, value in shown.items() if name != "tenant"]
        typer.echo(f"tenant {tenant}: {', '.join(said) or 'nothing of its own'}")


@contextmanager
def _store(given: str | None) -> Iterator[Store]:
    """The store; made when there is none yet, for the first key comes before the first start."""
    there = Path(given.removeprefix("sqlite:///")).expanduser().is_file() if given else any_store()
    if there:
        with writing(given) as opened:
            yield opened
        return
    from penstock.manager import open_store
    from penstock.runtime.settings import Settings

    made = open_store(Settings(store=given or DEFAULT_NAME))
    try:
        yield made
    finally:
        made.close()


def _found(reader: Reader, name: str) -> ApiKey:
    keys = {one.name: one for one in reader.api_keys()}
    if name not in keys:
        raise ConfigurationError(f"there is no key {name!r}; there are: {', '.join(keys) or 'none'}")
    return keys[name]


def _terms_of(reader: Reader, tenant: str) -> TenantTerms:
    return next((one for one in reader.tenant_terms() if one.tenant == tenant), TenantTerms(tenant))


def _given(
    requests_per_minute: int | None,
    requests_per_hour: int | None,
    tokens_per_minute: int | None,
    max_concurrent: int | None,
    budget: str | None,
    weight: float | None,
) -> dict[str, Any]:
    try:
        money = None if budget is None else to_pico(budget)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    told = {
        "requests_per_minute": requests_per_minute,
        "requests_per_hour": requests_per_hour,
        "tokens_per_minute": tokens_per_minute,
        "max_concurrent": max_concurrent,
        "budget": money,
        "weight": weight,
    }
    return {name: value for name, value in told.items() if value is not None}


def _instant(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text.strip())
    if not found:
        raise ConfigurationError(f"{text!r} is no span of time; give one such as 30m, 12h or 90d")
    return now + float(found[1]) * _UNITS[found[2]]


def _tell_key(key: str, made: ApiKey, json: bool) -> None:
    """The only place where a key is ever shown."""
    if json:
        print_json({"key": key, **_shown(made, time.time())})
        return
    typer.echo(key)
    until = "" if made.expires_at is None else f", until {iso_time(made.expires_at)}"
    typer.echo(f"{made.name}: {','.join(made.scopes)}{until}. It is not shown again.", err=True)


def _state(one: ApiKey, now: float) -> str:
    if one.revoked_at is not None:
        return "revoked"
    if one.expires_at is None:
        return "good"
    return f"{'expired' if now >= one.expires_at else 'good until'} {iso_time(one.expires_at)}"


def _shown(one: ApiKey, now: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "hint": one.hint,
        "scopes": list(one.scopes),
        "tenant": one.tenant,
        "state": _state(one, now).split()[0],
        "created_at": iso_time(one.created_at),
        "expires_at": None if one.expires_at is None else iso_time(one.expires_at),
    }


def _shown_terms(one: TenantTerms) -> dict[str, Any]:
    names = ("requests_per_minute", "requests_per_hour", "tokens_per_minute", "max_concurrent")
    told: dict[str, Any] = {"tenant": one.tenant} | {name: getattr(one, name) for name in names}
    told["budget_usd"] = None if one.budget is None else float(from_pico(one.budget))
    told["weight"] = one.weight
    return {name: value for name, value in told.items() if value is not None}
