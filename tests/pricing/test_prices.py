"""Costs are exact, the user's word on a price holds, and published prices agree with their source."""

from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigurationError
from penstock.model.usage import PICO, Usage, from_pico
from penstock.pricing import (
    FREE,
    Price,
    PriceTable,
    cost_pico,
    estimate_cost,
    read_override,
    read_price_option,
    unknown_price_message,
)

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()
MINI = Price(150_000, 600_000, 75_000, 150_000, 150_000, 600_000)


def test_cost_is_exact():
    assert cost_pico(MINI, Usage(1000, 100)) == 210_000_000
    assert from_pico(cost_pico(MINI, Usage(1000, 100, cached_tokens=200))) == Decimal("0.000195")
    assert cost_pico(Price(per_request=5), Usage()) == 5


def test_tiers_price_all_tokens_of_a_long_call():
    price = Price(1, 10, 1, 1, 1, 10, tiers=((100, Price(2, 20, 2, 2, 2, 20)),))
    assert cost_pico(price, Usage(100, 1)) == 110
    assert cost_pico(price, Usage(101, 1)) == 222
    assert price.times(Decimal("0.5")).for_input(101).output == 10


USAGES = st.builds(
    lambda fresh, cached, written, hourly, out, thought: Usage(
        fresh + cached + written, out + thought, cached, written, thought, min(hourly, written)
    ),
    *[st.integers(0, 10**6)] * 6,
)
RATES = st.integers(0, 10**8)


@given(st.builds(Price, RATES, RATES, RATES, RATES, RATES, RATES, RATES), USAGES)
def test_an_estimate_is_never_below_the_cost(price, usage):
    usage = Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    assert 0 <= cost_pico(price, usage) <= estimate_cost(price, usage.input_tokens, usage.output_tokens)


def test_published_price():
    table = PriceTable()
    assert table.price_for("gpt-4o-mini", provider_id="openai", at=AT) == MINI
    assert table.price_for("text-embedding-3-small", provider_id="openai", at=AT).input == 20_000


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o-mini", None),
        ("gpt-4o-mini-2024-07-18", "openai"),
        ("openai/gpt-4o-mini", None),
        ("openai/gpt-4o-mini", "openai"),
        ("gpt-4o-mini", "azure"),
        ("GPT-4o-Mini", "openai"),
    ],
)
def test_names_of_one_model(model, provider):
    assert PriceTable().price_for(model, provider_id=provider, at=AT) == MINI


def test_models_nobody_priced_are_unknown():
    table = PriceTable()
    for model in ("sim-small", "my-azure-deployment", "", None):
        assert table.price_for(model, provider_id="openai", at=AT) is None
        assert table.price_for(model, at=AT) is None
    assert table.price_for("gpt-4o-mini", provider_id="no-such-provider", at=AT) is None


def test_hint_and_embedding_models_without_a_provider():
    assert PriceTable().price_for("text-embedding-3-small", at=AT).input == 20_000
    assert PriceTable(provider_hint="groq").price_for("llama-3.1-8b-instant", at=AT).input == 50_000


def test_local_is_free_unless_priced():
    assert PriceTable().price_for("gpt-4o", local=True, at=AT) is FREE
    assert PriceTable().price_for(None, local=True, at=AT) is FREE
    table = PriceTable({"sim-small": {"input": 0.15, "output": 0.6}})
    assert table.price_for("sim-small", local=True, at=AT).output == 600_000


def test_overrides_come_first_and_the_longest_beginning_wins():
    table = PriceTable(
        {"gpt-4o-mini": "1,2", "my-*": "3,4", "my-big-*": (5, 6), "Team/Model": {"input": "7"}}
    )

    def find(model):
        return table.price_for(model, provider_id="openai", at=AT).input // 10**6

    assert [find(m) for m in ("gpt-4o-mini", "my-x", "my-big-x", "team/model")] == [1, 3, 5, 7]
    assert find("openai/gpt-4o-mini") == 1
    table.set("*", "9,9")
    assert find("anything") == 9


def test_override_fields():
    price = read_override(
        "m", {"input": 1, "output": 2, "cached_input": 0.1, "cache_write": 1.25, "per_request": 0.01}
    )
    assert price == Price(10**6, 2 * 10**6, 10**5, 1_250_000, 1_250_000, 2 * 10**6, PICO // 100)
    assert read_override("m", "0,0") == FREE


@pytest.mark.parametrize(
    ("quoted", "words"),
    [
        ("1", "two numbers"),
        ("1,2,3", "two numbers"),
        ("a,b", "not a number"),
        ({"input": -1, "output": 1}, "not a number"),
        ({"input": True}, "not a number"),
        ({"input": float("nan")}, "not a number"),
        ({"inputs": 1}, "unknown inputs"),
        ({"output": 1}, "no price for `input`"),
        (7, "not a price"),
        (None, "not a price"),
    ],
)
def test_a_malformed_override_names_the_setting_and_the_model(quoted, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        PriceTable({"my-model": quoted})
    assert "prices" in str(caught.value)
    assert "my-model" in str(caught.value)


def test_price_option():
    assert read_price_option("a=b=0.15,0.6") == ("a=b", read_override("m", "0.15,0.6"))
    for bad in ("0.15,0.6", "=1,2", "m="):
        with pytest.raises(ConfigurationError, match="MODEL=IN,OUT"):
            read_price_option(bad)


def test_the_message_for_an_unknown_price_says_what_to_do():
    message = unknown_price_message("my-model", "openai")
    for part in ("my-model", "openai", "--price my-model=IN,OUT", "`prices`"):
        assert part in message
    assert "names no model" in unknown_price_message(None)


def test_service_tiers():
    table = PriceTable({"mine": "1,2"})

    def find(model, tier, provider="openai"):
        return table.price_for(model, provider_id=provider, service_tier=tier, at=AT).input

    assert find("mine", "flex") == find("mine", "batch") == 500_000
    assert find("mine", "priority") == find("mine", "fast") == 2_000_000
    assert find("mine", "default") == find("mine", "odd") == 1_000_000
    assert find("gpt-4o-mini", "batch") == 75_000
    assert find("gpt-4o-mini", "priority") == 250_000  # published, and not twice
    assert find("gpt-4o-mini", "flex") == 75_000  # not published: half
    assert find("gpt-4o-mini", "priority", "azure") == 300_000  # what OpenAI publishes binds nobody else
    assert find("llama-3.1-8b-instant", "flex", "groq") == 50_000


def test_prices_follow_the_calendar():
    table = PriceTable()
    before = datetime(2026, 8, 20, tzinfo=UTC).timestamp()
    first = table.price_for("gpt-5.6", provider_id="openai", at=before)
    assert table.price_for("gpt-5.6", provider_id="openai", at=AT) != first
    assert table.price_for("gpt-5.6", provider_id="openai", at=before) == first


TEXT_KEYS = {
    *("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"),
    *("output_reasoning_mtok", "requests_kcount", "web_searches_kcount", "storage_searches_kcount"),
}


@pytest.mark.parametrize(
    "provider", ["openai", "anthropic", "google", "groq", "cerebras", "deepseek", "x-ai", "perplexity"]
)
def test_every_price_agrees_with_its_source(provider):
    models = next(p.models for p in get_snapshot().providers if p.id == provider)
    moment = datetime.fromtimestamp(AT, UTC)
    table, checked = PriceTable(), 0
    for model in models:
        for usage in (Usage(1000, 100, 200, 100, 50, 40), Usage(300_001, 7, 100_000, 0, 3, 0)):
            quoted = genai_prices.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cached_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                cache_write_1h_tokens=usage.cache_write_1h_tokens,
                output_reasoning_tokens=usage.reasoning_tokens,
            )
            try:
                theirs = genai_prices.calc_price(
                    quoted, model.id, provider_id=provider, genai_request_timestamp=moment
                )
            except (LookupError, ValueError):
                continue
            if not {k for k, v in theirs.model_price.__dict__.items() if v is not None} <= TEXT_KEYS:
                continue
            ours = table.price_for(model.id, provider_id=provider, at=AT)
            if ours is None:
                continue
            assert from_pico(cost_pico(ours, usage)) == theirs.total_price, (model.id, usage)
            checked += 1
    assert checked >= 2


def test_looking_up_a_known_price_is_quick():
    table = PriceTable()
    table.price_for("gpt-4o-mini", provider_id="openai", at=AT)
    calls: list[object] = []
    for _ in range(1000):
        calls.append(table.price_for("gpt-4o-mini", provider_id="openai", at=AT))
    assert all(price is calls[0] for price in calls)
