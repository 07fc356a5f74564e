"""What a run of an agent may still use: tokens by its replies, money by the price when it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import PriceUnknown
from penstock.llm.token_estimates import estimate_text
from penstock.llm.usage_reading import read_reply
from penstock.llm.wire import Family, read_call
from penstock.model.usage import Usage, from_pico, to_pico
from penstock.pricing import Price, cost_pico, estimate_cost, unknown_price_message
from penstock.task_types.chat import CHAT, prompt_tokens

if TYPE_CHECKING:
    from penstock.runtime.client import ModelClient
    from penstock.runtime.context import TaskContext

Stop = Literal["turns", "tokens", "money", "errors"]
FEWEST_OUTPUT = 16
"""An answer of fewer tokens is not worth its prompt."""


@dataclass(slots=True)
class Purse:
    """Counts what a run used, and says when the next call could go over. Only what was recorded and the
    request itself decide, so that a replay decides alike. `most_tokens` and `most_cost` (pico-dollars) limit
    the run, `output` is the cap of one call."""

    most_tokens: int | None
    most_cost: int | None
    output: int | None
    price: Price | None = None
    used: Usage = field(default_factory=Usage)
    cost: int = 0
    prompt: int = 0
    """tokens that are expected in the next prompt, as we count"""
    ratio: float = 1.0
    """how many tokens the provider counted for one that was expected in the last prompt"""
    _weighed: int = 0

    @property
    def limited(self) -> bool:
        return self.most_tokens is not None or self.most_cost is not None

    @property
    def cap(self) -> int | None:
        """The output cap of the next call: its own, and never more than is left of the tokens."""
        if self.most_tokens is None:
            return self.output
        left = max(0, self.most_tokens - self.used.total - self._input)
        return left if self.output is None else min(left, self.output)

    def forbids(self, body: dict[str, Any]) -> Stop | None:
        """Why this call must not be made; `body` goes on where the last one ended. Where nothing caps
        its output, the least counts."""
        if not self.limited:
            return None
        self._weigh(body)
        cap = self.cap
        least = FEWEST_OUTPUT if self.output is None else min(self.output, FEWEST_OUTPUT)
        if cap is not None and cap < least:
            return "tokens"
        if self.most_cost is not None and self.price is not None:
            output = FEWEST_OUTPUT if cap is None else cap
            if self.cost + estimate_cost(self.price, self._input, output) > self.most_cost:
                return "money"
        return None

    def spent(self) -> Stop | None:
        """What is used up already."""
        if self.most_tokens is not None and self.used.total >= self.most_tokens:
            return "tokens"
        return "money" if self.most_cost is not None and self.cost >= self.most_cost > 0 else None

    def book(self, body: dict[str, Any], reply: dict[str, Any], said: str) -> None:
        """Count one reply; where it does not say what it used, by the size of what was asked and said."""
        usage = read_reply(Family.CHAT, reply).usage or Usage(prompt_tokens(CHAT, body), estimate_text(said))
        self.used += usage
        if self.limited:
            self.ratio = max(1.0, usage.input_tokens / max(1, self.prompt))
        if self.price is not None:
            self.cost += cost_pico(self.price, usage)

    @property
    def _input(self) -> int:
        return ceil(self.prompt * self.ratio)

    def _weigh(self, body: dict[str, Any]) -> None:
        """Count what is new of a conversation that only grows; all of it each time would cost its square."""
        messages = body["messages"]
        new = body if self._weighed == 0 else {"model": body["model"], "messages": messages[self._weighed :]}
        if self._weighed < len(messages):
            self.prompt += prompt_tokens(CHAT, new)
            self._weighed = len(messages)

    def told(self) -> dict[str, Any]:
        """Usage as results show it; the cost in US dollars where money was limited."""
        usage = {"input_tokens": self.used.input_tokens, "output_tokens": self.used.output_tokens}
        cost = None if self.price is None else float(from_pico(self.cost))
        return {"usage": {**usage, "total_tokens": self.used.total}, "cost": cost}


def pico_limit(usd: float | None) -> int | None:
    """A limit in US dollars as pico-dollars."""
    return None if usd is None else to_pico(usd)


async def price_of(context: TaskContext, client: ModelClient, model: str) -> Price:
    """The dearest price of this model at the endpoints that serve it, recorded: the limit of a run must not
    move with prices. Raises `PriceUnknown`."""

    async def look() -> dict[str, Any]:
        shape = read_call("POST", CHAT, {"model": model, "messages": []})
        weigher = context.services.exchange.weigher
        places = [one for one in client.endpoints if one.serves(model)]
        prices = [weigher.weigh(shape, one.base_url, endpoint=one.name).price for one in places]
        known = [price for price in prices if price is not None]
        if not known or len(known) < len(prices):
            raise PriceUnknown(unknown_price_message(model))
        return asdict(max(known, key=lambda price: estimate_cost(price, 1000, 1000)))

    return _read_price(await context.step("price", look, key=model))


def _read_price(kept: Mapping[str, Any]) -> Price:
    tiers = tuple((start, _read_price(dearer)) for start, dearer in kept["tiers"])
    return Price(**{**kept, "tiers": tiers})
