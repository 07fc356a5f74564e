"""What a call used, and what money is inside: whole pico-dollars."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

PICO = 10**12
# So that sums of them fit the 64 bits of a store.
LARGEST_USD = 1_000_000
"""Pico-dollars in one US dollar. A token costs a whole number of them at every published price."""

# Wide enough that no sum that fits 64 bits is ever rounded by the context.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens one call really used, or the sum over many.

    `input_tokens` is the whole prompt: `cached_tokens` (read from the provider's prompt cache) and
    `cache_write_tokens` are parts of it, whatever the provider's own wire format says.
    `cache_write_1h_tokens` is the part of `cache_write_tokens` kept for an hour, at a higher price.
    `reasoning_tokens` are a part of `output_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )


def to_pico(usd: Decimal | str | float) -> int:
    """The amount as whole pico-dollars, rounded half to even.

    A float means what it prints as: 0.1 is a tenth of a dollar. ValueError for what is no finite number.
    """
    try:
        amount = usd if isinstance(usd, Decimal) else Decimal(str(usd).strip())
        if not amount.is_finite():
            raise ValueError(f"{usd!r} is no amount of money; give a number of US dollars such as 0.15")
        if abs(amount) > LARGEST_USD:
            raise ValueError(f"{usd} US dollars are too much to count; give at most {LARGEST_USD:,}")
        return int(_EXACT.to_integral_value(_EXACT.multiply(amount, Decimal(PICO))))
    except InvalidOperation:
        raise ValueError(f"{usd!r} is no amount of money; give a number of US dollars such as 0.15") from None


def from_pico(amount: int) -> Decimal:
    """The exact amount in US dollars, with twelve decimals at most."""
    return _EXACT.scaleb(Decimal(amount), -12)
