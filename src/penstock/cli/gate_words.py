"""What the gate says about limits and waits, in words."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.cli.show_text import clock_time, money, number, span
from penstock.stores.contract import Gauge, WaitRow

_REASONS = {
    "requests": "it waits for the request limit {key}",
    "tokens": "it waits for the token limit {key}",
    "money": "it waits for money: the {key} has no room until a call in flight costs less than was held",
    "period": "it waits for the next period: the {key} is used up",
    "concurrency": "it waits for a call in flight to end: {key} is at its limit",
    "pool": "it waits for a unit of the pool {key}",
    "cooldown": "the provider ({key}) asked to wait before the next call",
    "probing": "the provider refused a short while ago; one call to {key} finds out whether it answers again",
    "slots": "it waits for a slot: as many calls and handlers run as {key} allows",
}
_OF_WORKFLOWS = {
    "money": "it waits for money of its workflow: the {key} has no room until a call in flight costs less "
    "than was held; give it more with: penstock workflow budget {workflow} --budget USD",
    "tokens": "it waits for tokens of its workflow: the {key} has no room until a call in flight uses less "
    "than was held; give it more with: penstock workflow budget {workflow} --max-tokens N",
}
_OTHER = "it waits for {reason}: {key}"


def wait_text(wait: WaitRow) -> str:
    """Why a step waits, as its node said it."""
    words = {**_REASONS, **_OF_WORKFLOWS} if " of workflow " in wait.key else _REASONS
    workflow = wait.key.rpartition(" of workflow ")[2]
    return words.get(wait.reason, _OTHER).format(reason=wait.reason, key=wait.key, workflow=workflow)


def until_text(until: float | None, now: float) -> str:
    """When a wait is expected to end; empty when nobody knows."""
    if until is None or until <= now:
        return ""
    return f"expected to go on at {clock_time(until)} (in {span(until - now)})"


def is_money(gauge: Gauge) -> bool:
    return "budget" in gauge.key


def gauge_text(gauge: Gauge) -> str:
    """How full a limit is: 58 used and 2 held of 60."""
    show = money if is_money(gauge) else number
    used = show(int(gauge.used)) + " used"
    held = f" and {show(int(gauge.held))} held" if gauge.held else ""
    return f"{gauge.key}: {used}{held} of {show(int(gauge.limit))}"


def gauge_of(gauges: Iterable[Gauge], key: str) -> Gauge | None:
    return next((gauge for gauge in gauges if gauge.key == key), None)
