"""`penstock strategy`: what orders the waiting tasks of a store, and switching it while it works or rests."""

from __future__ import annotations

import time
from json import dumps
from typing import Annotated, Any

import typer

from penstock.cli.assignments import read_assignments
from penstock.cli.show_text import counted, heading, print_json
from penstock.cli.stores import JsonOption, StoreOption, reading, writing
from penstock.errors import ConfigurationError, StoreBusy
from penstock.policies import defaults_of, policy_names, rule_of
from penstock.runtime.reranking import (
    ASKED,
    RANKED_BY,
    REFUSED,
    Told,
    read_told,
    rerank_store,
    told_last,
)
from penstock.stores.contract import Reader, Store, Transaction

LOOK_SECONDS = 0.03
PATIENCE_SECONDS = 600.0
_TAKE_OVER_EVERY = 20

Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The strategy to use from now on.", show_default=False)
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of that strategy; may be repeated."),
]


def strategy(name: Name = None, set: Set = None, store: StoreOption = None, json: JsonOption = False) -> None:
    """Tell which strategy orders the waiting tasks, and which there are; or switch to another.

    A process that dispatches goes on meanwhile. The strategy named last stays in force until another is.
    """
    if name is None:
        if set:
            raise ConfigurationError("--set goes with a name: penstock strategy NAME --set KEY=VALUE")
        _tell(store, json)
        return
    told = Told(name, read_assignments(set or (), "--set"))
    with writing(store) as opened:
        count = switch(opened, told)
    if json:
        print_json({"strategy": told.name, "settings": told.settings, "reranked": count})
        return
    many = "" if count is None else f"; {counted(count, 'waiting task')} ranked anew"
    typer.echo(f"strategy {told.words} is in force{many}")


def switch(store: Store, told: Told) -> int | None:
    """Put a strategy in force; how many tasks were ranked anew, `None` when the dispatching process did it.

    Raises `ConfigurationError` for a strategy or a setting that there is not; nothing has changed then.
    """
    if (count := _switch_at_rest(store, told)) is not None:
        return count
    store.run(lambda tx: _ask(tx, told))
    end, looks = time.monotonic() + PATIENCE_SECONDS, 0
    while time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        looks += 1
        asked, refused, ranked_by = store.read(_answer)
        if ranked_by == told.text:
            return None
        if asked != told.text:
            later = read_told(asked)
            raise ConfigurationError(f"{later.words if later else 'another'} was named after it, and counts")
        if refused is not None:
            raise ConfigurationError(refused)
        # The process may have ended before it saw what was asked.
        if looks % _TAKE_OVER_EVERY == 0 and (count := _switch_at_rest(store, told)) is not None:
            return count
    raise ConfigurationError(
        "the process that dispatches this store has not switched yet; `penstock strategy` tells when it has"
    )


def _switch_at_rest(store: Store, told: Told) -> int | None:
    """Rank anew in this process, if nobody dispatches."""
    try:
        store.lock_dispatch()
    except StoreBusy:
        return None
    told.policy()
    return rerank_store(store, told, time.time())


def _ask(transaction: Transaction, told: Told) -> None:
    transaction.set_setting(REFUSED, None)
    transaction.set_setting(ASKED, told.text)
    transaction.ask_control("strategy", None, time.time())


def _answer(reader: Reader) -> tuple[str | None, str | None, str | None]:
    """(asked for last, why that was refused, what all waiting tasks are ranked by)."""
    return reader.setting(ASKED), reader.setting(REFUSED), reader.setting(RANKED_BY)


def _tell(store: str | None, json: bool) -> None:
    with reading(store) as opened:
        told, ranked_by = opened.read(_in_force)
    if json:
        print_json(
            {
                "strategy": told.name,
                "settings": told.settings,
                "ranked": ranked_by == told,
                "strategies": [
                    {"name": name, "rule": rule_of(name), "settings": defaults_of(name)}
                    for name in policy_names()
                ],
            }
        )
        return
    typer.echo(f"strategy {told.words} orders this store" + _mixed(told, ranked_by))
    names = policy_names()
    width = max(map(len, names)) + 2
    for name in names:
        typer.echo(heading(name.ljust(width)) + rule_of(name))
        given = " ".join(f"{key}={_shown(value)}" for key, value in defaults_of(name).items())
        if given:
            typer.echo(f"{'':{width}}--set {given}")


def _in_force(reader: Reader) -> tuple[Told, Told | None]:
    """What the store was told last, and what all its waiting tasks are ranked by."""
    return told_last(reader), read_told(reader.setting(RANKED_BY))


def _mixed(told: Told, ranked_by: Told | None) -> str:
    if ranked_by is None:
        return "; waiting tasks are ranked anew when a process dispatches it, or just now"
    return "" if ranked_by == told else f"; waiting tasks are still ranked by {ranked_by.words}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value, default=repr, separators=(",", ":"))
