"""Weighs a call before it is made: tokens by what was learned of its model and task type, money by its
price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from penstock.admission import Ask, OutputEstimator
from penstock.llm.profiles import ProviderProfile, profile_for, profile_named
from penstock.llm.token_estimates import estimate_prompt, output_bound
from penstock.llm.wire import CallShape, Family
from penstock.model.clock import Clock
from penstock.model.estimate import Estimate
from penstock.model.reservation import ReservationView
from penstock.model.usage import Usage
from penstock.pricing import Price, PriceTable, estimate_cost


@dataclass(frozen=True, slots=True)
class Weighed:
    """A call with its estimate; `ask` is what the gate is asked for."""

    ask: Ask
    profile: ProviderProfile
    price: Price | None
    prompt: int
    cap: int


class Weigher:
    """Estimates calls and learns from what they turn out to use."""

    def __init__(
        self,
        prices: PriceTable,
        clock: Clock,
        reserve: Literal["learned", "cap"] = "learned",
        profile: str | None = None,
    ) -> None:
        self._prices = prices
        self._clock = clock
        self._estimator = OutputEstimator(reserve)
        self._fixed = profile_named(profile) if profile else None
        self._profiles: dict[str, ProviderProfile] = {}

    def profile(self, base_url: str) -> ProviderProfile:
        """The profile of the provider at this address, or the one that the settings name."""
        if self._fixed is not None:
            return self._fixed
        found = self._profiles.get(base_url)
        if found is None:
            found = self._profiles[base_url] = profile_for(base_url)
        return found

    def weigh(
        self,
        shape: CallShape,
        base_url: str,
        *,
        endpoint: str = "",
        tenant: str = "",
        type: str = "",
        program: str = "",
    ) -> Weighed:
        """What this call would use at this address."""
        model = shape.model or ""
        profile = self.profile(base_url)
        if shape.family is Family.UNKNOWN:
            ask = Ask(model=model, tenant=tenant, endpoint=endpoint, type=type, program=program)
            return Weighed(ask, profile, None, 0, 0)
        found = estimate_prompt(shape)
        # Until the ratio is learned: never less than a token for four bytes of text.
        prompt = max(found.tokens, -(-found.text_bytes // 4) + found.other_tokens)
        cap, guaranteed = (0, True) if shape.family is Family.EMBEDDINGS else output_bound(shape)
        estimate = self._estimator.estimate(model, type, prompt, cap)
        price = self._prices.price_for(
            model,
            at=self._clock.wall(),
            provider_id=profile.prices_id,
            local=profile.local,
            service_tier=shape.service_tier,
        )
        ask = Ask(
            model=model,
            tenant=tenant,
            endpoint=endpoint,
            type=type,
            input_tokens=estimate.input_tokens,
            output_mean=estimate.output_mean,
            output_variance=estimate.output_variance,
            output_cap=cap if guaranteed else None,
            reserved_tokens=estimate.input_tokens + cap,
            cost=0 if price is None else estimate_cost(price, estimate.input_tokens, estimate.output_high),
            cost_known=price is not None,
            program=program,
        )
        return Weighed(ask, profile, price, prompt, cap)

    def cost_of(self, estimate: Estimate, base_url: str, tokens: float | None = None) -> int | None:
        """What a whole task is expected to cost in pico-dollars; `None` when nobody knows the price.

        `tokens` in all, when the caller knows better: shared between input and output as in the estimate.
        """
        profile = self.profile(base_url)
        price = self._prices.price_for(
            estimate.model, at=self._clock.wall(), provider_id=profile.prices_id, local=profile.local
        )
        if price is None:
            return None
        input_tokens, output_tokens = estimate.input_tokens, estimate.output_tokens
        if tokens is not None:
            part = input_tokens / estimate.tokens if estimate.tokens else 0.5
            input_tokens, output_tokens = round(tokens * part), round(tokens * (1 - part))
        return estimate_cost(price, input_tokens, output_tokens)

    def known(self, model: str, type: str) -> bool:
        """Whether enough replies were seen to hold less than the cap."""
        return self._estimator.known(model, type)

    def learn(self, weighed: Weighed, usage: Usage) -> None:
        """One more reply is known."""
        self._estimator.learn(
            weighed.ask.model,
            weighed.ask.type,
            cap=weighed.cap,
            prompt_estimate=weighed.prompt,
            prompt_true=usage.input_tokens,
            output_true=usage.output_tokens,
        )

    def restore(self, settled: Sequence[ReservationView]) -> None:
        """Learn again from the calls of the past, oldest first."""
        for call in settled:
            if call.output_tokens or call.input_tokens:
                self._estimator.learn(
                    call.model,
                    call.type,
                    cap=max(call.output_held, call.output_tokens),
                    prompt_estimate=call.input_held,
                    prompt_true=call.input_tokens,
                    output_true=call.output_tokens,
                )
