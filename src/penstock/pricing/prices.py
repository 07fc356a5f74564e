"""What calls cost: whole pico-dollars for each token, exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from penstock.errors import ConfigurationError
from penstock.model.usage import PICO, Usage, to_pico

_TOKENS_PER_QUOTE = 10**6
_NEVER_BELOW = ROUND_CEILING  # a price may be a hair too high, never too low


@dataclass(frozen=True, slots=True)
class Price:
    """Pico-dollars per token of each kind, and per request.

    `tiers` are `(start, price)` in rising order: a call with more than `start` input tokens pays that price
    for all of its tokens.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    per_request: int = 0
    tiers: tuple[tuple[int, Price], ...] = ()

    def for_input(self, input_tokens: int) -> Price:
        """The price that holds for a call with this many input tokens."""
        found = self
        for start, dearer in self.tiers:
            if input_tokens > start:
                found = dearer
        return found

    def times(self, factor: Decimal) -> Price:
        """This price by a factor, each rate rounded up to a whole pico-dollar."""
        rates = {
            f.name: _up(Decimal(getattr(self, f.name)) * factor) for f in fields(self) if f.name != "tiers"
        }
        return replace(
            self, **rates, tiers=tuple((start, price.times(factor)) for start, price in self.tiers)
        )


FREE = Price()


def cost_pico(price: Price, usage: Usage) -> int:
    """The exact cost of a settled call in pico-dollars."""
    rate = price.for_input(usage.input_tokens)
    written = usage.cache_write_tokens - usage.cache_write_1h_tokens
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    return (
        fresh * rate.input
        + usage.cached_tokens * rate.cached_input
        + written * rate.cache_write
        + usage.cache_write_1h_tokens * rate.cache_write_1h
        + (usage.output_tokens - usage.reasoning_tokens) * rate.output
        + usage.reasoning_tokens * rate.reasoning
        + rate.per_request
    )


def estimate_cost(price: Price, input_tokens: int, output_tokens: int) -> int:
    """The most such a call can cost in pico-dollars: all input written to the cache, all output reasoning.

    Writes kept for an hour, which a caller has to ask for, are not assumed.
    """
    rate = price.for_input(input_tokens)
    dearest_input = max(rate.input, rate.cached_input, rate.cache_write)
    return input_tokens * dearest_input + output_tokens * max(rate.output, rate.reasoning) + rate.per_request


def per_million(usd: Decimal) -> int:
    """Pico-dollars per token of a price quoted in US dollars per million tokens."""
    return _up(usd * PICO / _TOKENS_PER_QUOTE)


_OVERRIDE_KEYS = ("input", "output", "cached_input", "cache_write", "per_request")


def read_override(model: str, quoted: object) -> Price:
    """The price in one entry of the setting `prices`, quoted in US dollars per million tokens.

    An entry is a table with `input` and `output` and, where they differ, `cached_input`, `cache_write` and
    `per_request` (US dollars each), or a pair, or a text `IN,OUT`. ConfigurationError names what is wrong.
    """
    if isinstance(quoted, str):
        quoted = quoted.split(",")
    if isinstance(quoted, list | tuple):
        if len(quoted) != 2:
            raise ConfigurationError(f"prices: {model!r} needs two numbers, input and output{_HOW}")
        quoted = {"input": quoted[0], "output": quoted[1]}
    if not isinstance(quoted, Mapping):
        raise ConfigurationError(f"prices: {model!r} is {quoted!r}, not a price{_HOW}")
    unknown = [str(key) for key in quoted if key not in _OVERRIDE_KEYS]
    if unknown:
        names = ", ".join(_OVERRIDE_KEYS)
        raise ConfigurationError(f"prices: {model!r} has unknown {', '.join(unknown)}; known are {names}")
    if "input" not in quoted:
        raise ConfigurationError(f"prices: {model!r} has no price for `input`{_HOW}")
    amounts = {key: _amount(model, key, value) for key, value in quoted.items()}
    into = amounts["input"]
    written = amounts.get("cache_write", into)
    made = amounts.get("output", 0)
    return Price(
        into, made, amounts.get("cached_input", into), written, written, made, amounts.get("per_request", 0)
    )


def read_price_option(option: str) -> tuple[str, Price]:
    """The model and price of a command line's `--price MODEL=IN,OUT`."""
    model, equals, quoted = option.rpartition("=")
    if not equals or not model.strip():
        raise ConfigurationError(f"--price {option!r} names no model{_HOW}")
    return model.strip(), read_override(model.strip(), quoted)


_HOW = "; write MODEL=IN,OUT in US dollars per million tokens, as in my-model=0.15,0.60"


def _amount(model: str, key: str, value: Any) -> int:
    try:
        pico = to_pico(value) if not isinstance(value, bool) else -1
    except (ValueError, TypeError):
        pico = -1
    if pico < 0:
        raise ConfigurationError(f"prices: {key} of {model!r} is {value!r}, not a number of US dollars{_HOW}")
    return pico if key == "per_request" else -(-pico // _TOKENS_PER_QUOTE)


def _up(amount: Decimal) -> int:
    return int(amount.to_integral_value(rounding=_NEVER_BELOW))
