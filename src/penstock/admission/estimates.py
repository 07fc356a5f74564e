"""What a call will use, learned from what calls of its model and type have used."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from penstock.model.moments import Moments

_MEMORY = 500
_ENOUGH_REPLIES = 30
_ENOUGH_PROMPTS = 5
_MOST_KINDS = 10_000


@dataclass(frozen=True, slots=True)
class CallEstimate:
    """Tokens to hold for one call. Until its kind is known, mean and high are the cap, the variance is 0."""

    input_tokens: int
    output_mean: float
    output_variance: float
    output_high: int
    """what the money hold is made for"""


class OutputEstimator:
    """Learns per model and type how long replies are and how prompt estimates relate to the truth.

    `reserve="cap"` always holds the cap. An estimate never exceeds the cap it is asked for; and replies that
    a small cap may have cut tell nothing about calls with a much larger one, which hold theirs.
    """

    def __init__(self, reserve: Literal["learned", "cap"] = "learned") -> None:
        self.reserve = reserve
        self._outputs: dict[tuple[str, str], Moments] = {}
        self._ratios: dict[tuple[str, str], Moments] = {}
        self._caps: dict[tuple[str, str], float] = {}

    def learn(
        self, model: str, type: str, *, cap: int, prompt_estimate: int, prompt_true: int, output_true: int
    ) -> None:
        """Take in one reply's true usage."""
        key = (model, type)
        if len(self._outputs) >= _MOST_KINDS and key not in self._outputs:
            self._outputs.clear()
            self._ratios.clear()
            self._caps.clear()
        self._outputs.setdefault(key, Moments(_MEMORY)).add(output_true)
        # Slowly forgotten: one call with a huge cap is no knowledge of long replies for ever.
        self._caps[key] = max(float(cap), self._caps.get(key, 0.0) * 0.99)
        if prompt_estimate > 0 and prompt_true > 0:
            self._ratios.setdefault(key, Moments(_MEMORY)).add(prompt_true / prompt_estimate)

    def estimate(self, model: str, type: str, prompt_estimate: int, cap: int) -> CallEstimate:
        """Estimate one call; `cap` is its explicit cap or what is assumed for want of one."""
        key = (model, type)
        prompt = self._prompt(key, prompt_estimate)
        seen = self._outputs.get(key)
        # A kind known only under small caps is not known under one more than twice as large.
        known = seen is not None and seen.seen >= _ENOUGH_REPLIES and cap <= 2.0 * self._caps[key]
        if self.reserve == "cap" or seen is None or not known:
            return CallEstimate(prompt, float(cap), 0.0, cap)
        mean = min(seen.mean, float(cap))
        high = min(cap, ceil((mean + 3.0 * seen.deviation) * 1.01))
        # Replies between 0 and cap cannot vary more than this about their mean.
        variance = min(seen.variance, mean * (cap - mean))
        return CallEstimate(prompt, mean, variance, high)

    def known(self, model: str, type: str) -> bool:
        """Whether enough replies were seen to hold less than the cap."""
        seen = self._outputs.get((model, type))
        return self.reserve != "cap" and seen is not None and seen.seen >= _ENOUGH_REPLIES

    def _prompt(self, key: tuple[str, str], estimate: int) -> int:
        ratio = self._ratios.get(key)
        if ratio is None or ratio.seen < _ENOUGH_PROMPTS:
            return estimate
        return ceil(estimate * (ratio.mean + ratio.deviation))
