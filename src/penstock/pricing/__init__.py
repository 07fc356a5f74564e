"""Prices of models: a table that users override, over the bundled data of `genai-prices`."""

from penstock.pricing.price_table import PriceTable, unknown_price_message
from penstock.pricing.prices import FREE, Price, cost_pico, estimate_cost, read_override, read_price_option

__all__ = [
    "FREE",
    "Price",
    "PriceTable",
    "cost_pico",
    "estimate_cost",
    "read_override",
    "read_price_option",
    "unknown_price_message",
]
