"""What a run of an agent may still use, over random conversations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.pricing import Price, estimate_cost
from penstock.task_types.agent_limits import FEWEST_OUTPUT, Purse
from penstock.task_types.chat import CHAT, chat_body, prompt_tokens


def body(messages):
    return chat_body("m", messages)


@settings(max_examples=150, deadline=None)
@given(
    most_tokens=st.none() | st.integers(1, 5_000),
    most_cost=st.none() | st.integers(0, 4_000),
    output=st.integers(1, 400),
    said=st.lists(st.tuples(st.integers(0, 400), st.floats(0.0, 1.0)), min_size=1, max_size=12),
)
def test_no_run_goes_over_where_the_provider_counts_as_we_do(most_tokens, most_cost, output, said):
    purse = Purse(most_tokens, most_cost, output, Price(input=1, output=3, cache_write=1, reasoning=3))
    messages = [{"role": "user", "content": "begin"}]
    for words, part in said:
        request = body(messages)
        stop = purse.forbids(request)
        if stop is not None:
            break
        cap = purse.cap
        assert min(output, FEWEST_OUTPUT) <= cap <= output
        prompt = purse.prompt
        made = round(cap * part)
        usage = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
        purse.book(request, {"usage": usage}, "")
        messages += [{"role": "assistant", "content": "x"}, {"role": "user", "content": "word " * words}]
        assert most_tokens is None or purse.used.total <= most_tokens
        assert most_cost is None or purse.cost <= most_cost


def test_a_provider_that_counts_more_is_believed():
    purse = Purse(1_000, None, 50)
    request = body([{"role": "user", "content": "begin"}])
    assert purse.forbids(request) is None
    purse.book(request, {"usage": {"prompt_tokens": 475, "completion_tokens": 25, "total_tokens": 500}}, "")
    assert purse.forbids(request) is None
    assert purse.cap == 25
    longer = body([*request["messages"], {"role": "user", "content": "on " * 20}])
    assert purse.forbids(longer) == "tokens"
    assert purse.prompt == pytest.approx(prompt_tokens(CHAT, longer), abs=5)


def test_free_calls_go_with_no_money():
    assert Purse(None, 0, 100, Price()).forbids(body([{"role": "user", "content": "x"}])) is None
    dear = Price(input=1, output=1)
    assert estimate_cost(dear, 10, 10) == 20
    assert Purse(None, 0, 100, dear).forbids(body([{"role": "user", "content": "x"}])) == "money"
