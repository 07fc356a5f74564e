"""Money inside is whole and exact."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.model.usage import PICO, Usage, from_pico, to_pico

COUNTS = st.builds(Usage, *[st.integers(0, 10**9)] * 6)


def test_usage_adds_field_by_field():
    assert Usage(1, 2, 1, 0, 1) + Usage(10, 20, 5, 3, 4, 2) == Usage(11, 22, 6, 3, 5, 2)
    assert Usage(3, 4, cached_tokens=2).total == 7
    with pytest.raises(TypeError):
        Usage() + 1  # type: ignore[operator]


@given(COUNTS, COUNTS, COUNTS)
def test_sums_do_not_depend_on_order(a, b, c):
    assert (a + b) + c == a + (c + b)


@given(st.integers(-(10**18), 10**18))
def test_money_survives_the_way_out_and_back(amount):
    assert to_pico(from_pico(amount)) == amount


@pytest.mark.parametrize(
    ("usd", "pico"),
    [
        ("0.15", 150 * 10**9),
        (0.1, PICO // 10),
        (3, 3 * PICO),
        (Decimal("1e-12"), 1),
        (" 2.5 ", 25 * PICO // 10),
    ],
)
def test_amounts(usd, pico):
    assert to_pico(usd) == pico


@pytest.mark.parametrize("usd", ["", "much", "NaN", float("inf"), float("nan"), "1,5"])
def test_what_is_no_amount_is_refused(usd):
    with pytest.raises(ValueError, match="no amount of money"):
        to_pico(usd)


def test_more_money_than_a_store_can_count_is_refused():
    with pytest.raises(ValueError, match="too much to count"):
        to_pico("1e9")
