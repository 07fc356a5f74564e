"""Published prices, from the data bundled with `genai-prices`; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from penstock.model.usage import to_pico
from penstock.pricing.prices import Price, per_million

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

# Tried in this order for a model that names no provider.
_USUAL_PROVIDERS = ("openai", "anthropic", "google", "mistral", "deepseek", "groq")

TIER_FACTORS = {
    "batch": Decimal("0.5"),
    "flex": Decimal("0.5"),
    "priority": Decimal("2"),
    "fast": Decimal("2"),
}
"""Ours, for service tiers without a published price: batch and flex cost half, priority (or fast) twice."""
_SAME_PRICE = frozenset((("groq", "flex"),))


@dataclass(frozen=True, slots=True)
class Published:
    """A price and whether it depends on the date or the hour."""

    price: Price | None
    varies: bool = False


def published_price(model: str, provider_id: str | None, service_tier: str | None, at: float) -> Published:
    """The price of a model at a provider and an instant (epoch seconds); None when nobody published one.

    Takes dated variants, `vendor/model` names and, for Azure, the names of OpenAI's models.
    """
    for provider, name in _candidates(model, provider_id):
        found = _look_up(name, provider, None, at)
        if found is not None:
            return _in_tier(found, name, provider, service_tier, at)
    return Published(None)


def tier_factor(service_tier: str | None, provider_id: str | None = None) -> Decimal:
    """What a service tier multiplies a price by when nobody published its price."""
    if service_tier is None or (provider_id, service_tier) in _SAME_PRICE:
        return Decimal(1)
    return TIER_FACTORS.get(service_tier, Decimal(1))


def _candidates(model: str, provider_id: str | None) -> list[tuple[str | None, str]]:
    vendor, _, bare = model.partition("/")
    pairs: list[tuple[str | None, str]] = []
    if provider_id is not None:
        pairs.append((provider_id, model))
        if bare:
            pairs.append((provider_id, bare))
    if bare:
        pairs.append((vendor, bare))
    if provider_id is None:
        pairs.append((None, bare or model))
        pairs += [(usual, bare or model) for usual in _USUAL_PROVIDERS]
    return pairs


def _look_up(
    model: str, provider_id: str | None, context: dict[str, str] | None, at: float
) -> PriceCalculation | None:
    # Half a second of import, so it waits for the first price anyone asks for.
    from genai_prices import Usage, calc_price

    moment = datetime.fromtimestamp(at, UTC)
    try:
        return calc_price(
            Usage(input_tokens=0, output_tokens=0),
            model,
            provider_id=provider_id,
            genai_request_timestamp=moment,
            price_context=context,
        )
    except (LookupError, ValueError):
        return None


def _in_tier(
    found: PriceCalculation, model: str, provider_id: str | None, service_tier: str | None, at: float
) -> Published:
    varies = isinstance(found.model.prices, list) or bool(found.model.price_variants)
    if service_tier not in TIER_FACTORS:
        return Published(_price_of(found.model_price), varies)
    context = {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier}
    # A price of another provider's model says nothing about this provider's tiers.
    own = any(found.model is candidate for candidate in found.provider.models)
    if own and any(variant.when == context for variant in found.model.price_variants or ()):
        tiered = _look_up(model, provider_id, context, at)
        if tiered is not None and tiered.model_price != found.model_price:
            return Published(_price_of(tiered.model_price), varies)
    price = _price_of(found.model_price)
    factor = tier_factor(service_tier, found.provider.id)
    return Published(price.times(factor) if price is not None else None, varies)


_RATE_KEYS = (
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "output_reasoning_mtok",
)


def _price_of(quoted: Any) -> Price | None:
    """The quoted prices as ours; None when they do not price tokens or requests at all (sound, pages)."""
    rates = {key: getattr(quoted, key, None) for key in _RATE_KEYS}
    per_request = getattr(quoted, "requests_kcount", None)
    if rates["input_mtok"] is None and rates["output_mtok"] is None and per_request is None:
        return None
    request_price = to_pico(_rate_at(per_request, 0) or Decimal(0)) // 1000
    starts = sorted({tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())})
    tiers = tuple((start, _flat(rates, start + 1, request_price)) for start in starts)
    base = _flat(rates, 0, request_price)
    return Price(
        base.input,
        base.output,
        base.cached_input,
        base.cache_write,
        base.cache_write_1h,
        base.reasoning,
        request_price,
        tiers,
    )


def _flat(rates: dict[str, Any], input_tokens: int, request_price: int) -> Price:
    """The rates for this many input tokens; a kind without a price of its own costs what its whole costs."""
    at = {key: _rate_at(rate, input_tokens) for key, rate in rates.items()}
    into = per_million(at["input_mtok"] or Decimal(0))
    made = per_million(at["output_mtok"] or Decimal(0))
    written = _own(at["cache_write_mtok"], into)
    return Price(
        into,
        made,
        _own(at["cache_read_mtok"], into),
        written,
        _own(at["cache_write_1h_mtok"], written),
        _own(at["output_reasoning_mtok"], made),
        request_price,
    )


def _own(rate: Decimal | None, otherwise: int) -> int:
    return otherwise if rate is None else per_million(rate)


def _rate_at(rate: Any, input_tokens: int) -> Decimal | None:
    if rate is None or isinstance(rate, Decimal):
        return rate
    price: Decimal = rate.base
    for tier in rate.tiers:
        if input_tokens > tier.start:
            price = tier.price
    return price
