"""The one answer to "what does this model cost": the user's own prices first, published ones after."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.errors import ConfigurationError
from penstock.pricing.prices import FREE, Price, read_override
from penstock.pricing.published_prices import Published, published_price, tier_factor

# Prices change on round times of the clock; ten minutes divide all of them.
_SECONDS_OF_VALIDITY = 600.0


class PriceTable:
    """Prices by model name.

    `overrides` is the setting `prices`: model name, or a beginning of one followed by `*`, to a price in US
    dollars per million tokens (`read_override`) or a ready `Price`. `provider_hint` is the provider whose
    published prices hold when a call does not name one.
    """

    def __init__(
        self, overrides: Mapping[str, object] | None = None, provider_hint: str | None = None
    ) -> None:
        self._exact: dict[str, Price] = {}
        self._beginnings: dict[str, Price] = {}
        self._provider_hint = provider_hint
        self._published: dict[tuple[str, str | None, str | None], tuple[float, Published]] = {}
        for name, quoted in (overrides or {}).items():
            self.set(name, quoted)

    def set(self, name: str, quoted: object) -> None:
        """Give a model, or all that begin as `name*` says, a price; the newest word on a name holds."""
        if not name.strip():
            raise ConfigurationError(
                "prices: an entry has an empty model name; name a model, or use * for all"
            )
        price = quoted if isinstance(quoted, Price) else read_override(name, quoted)
        key = name.strip().lower()
        if key.endswith("*"):
            self._beginnings[key[:-1]] = price
        else:
            self._exact[key] = price

    def price_for(
        self,
        model: str | None,
        *,
        at: float,
        provider_id: str | None = None,
        local: bool = False,
        service_tier: str | None = None,
    ) -> Price | None:
        """The price of a call at an instant (epoch seconds), or None when nobody knows it.

        `local`: the endpoint is the user's own (`ProviderProfile.local`) and free unless a price is set.
        Refuse a call of unknown price only when somebody set a budget: see `unknown_price_message`.
        """
        own = self._override(model or "")
        if own is not None:
            factor = tier_factor(service_tier, provider_id)
            return own if factor == 1 else own.times(factor)
        if local:
            return FREE
        return self._look_up(model, provider_id or self._provider_hint, service_tier, at) if model else None

    def _override(self, model: str) -> Price | None:
        if not (self._exact or self._beginnings):
            return None
        name = model.lower()
        for known in (name, name.rpartition("/")[2]):
            if known in self._exact:
                return self._exact[known]
        fitting = [begin for begin in self._beginnings if name.startswith(begin)]
        return self._beginnings[max(fitting, key=len)] if fitting else None

    def _look_up(
        self, model: str, provider_id: str | None, service_tier: str | None, at: float
    ) -> Price | None:
        key = (model, provider_id, service_tier)
        period = at // _SECONDS_OF_VALIDITY
        known = self._published.get(key)
        if known is not None and (known[0] == period or not known[1].varies):
            return known[1].price
        found = published_price(model, provider_id, service_tier, period * _SECONDS_OF_VALIDITY)
        self._published[key] = (period, found)
        return found.price


def unknown_price_message(model: str | None, provider: str | None = None) -> str:
    """What to tell a user whose budget cannot be kept because a price is unknown."""
    where = f" at {provider}" if provider else ""
    if not model:
        return f"the request names no model{where}, so the budget cannot be kept; name one"
    return (
        f"no price is known for model {model!r}{where}, so the budget cannot be kept; set it with "
        f"--price {model}=IN,OUT or the setting `prices` (US dollars per million tokens), or "
        "remove the budget"
    )
