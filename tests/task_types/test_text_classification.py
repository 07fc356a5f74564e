"""TEXT_CLASSIFICATION: the category is always one of those given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import TaskFailed
from penstock.task_types.base import Toolbox
from penstock.task_types.conversation import BadAnswer
from penstock.task_types.text_classification import KIND, TextClassificationData, form_for

TOOLBOX = Toolbox(client=lambda: None, functions=None)


def data_of(*categories, **more):
    return TextClassificationData(text="some text", categories=list(categories), **more)


@pytest.mark.parametrize(
    ("given", "category"),
    [
        ("Bug", "Bug"),
        ("bug", "Bug"),
        ("  BUG ", "Bug"),
        ("'bug'.", "Bug"),
        ("feature   request", "Feature request"),
        ("FEATURE\nREQUEST", "Feature request"),
    ],
)
def test_case_spaces_and_quotes_are_forgiven(given, category):
    read = form_for(data_of("Bug", "Feature request")).read
    assert read({"category": given, "confidence": 1})["category"] == category


@pytest.mark.parametrize("given", ["Bugs", "", None, 5, ["Bug"], {"name": "Bug"}, "Bug or Feature request"])
def test_anything_else_is_not_guessed(given):
    with pytest.raises(BadAnswer, match="category"):
        form_for(data_of("Bug", "Feature request")).read({"category": given, "confidence": 1})


def test_names_that_differ_in_case_only_must_be_met_exactly():
    read = form_for(data_of("US", "us")).read
    assert read({"category": "us", "confidence": 1})["category"] == "us"
    with pytest.raises(BadAnswer):
        read({"category": "Us", "confidence": 1})


@pytest.mark.parametrize(
    ("given", "confidence"), [(0.5, 0.5), (7, 1.0), (-1, 0.0), ("0.25", 0.25), (1e400, 1.0), (10**400, None)]
)
def test_confidence_is_from_0_to_1(given, confidence):
    read = form_for(data_of("a", "b")).read
    if confidence is None:
        with pytest.raises(BadAnswer, match="confidence"):
            read({"category": "a", "confidence": given})
    else:
        assert read({"category": "a", "confidence": given})["confidence"] == confidence


@pytest.mark.parametrize("given", [None, "sure", True, float("nan"), [1]])
def test_a_confidence_that_is_no_number_is_repaired(given):
    with pytest.raises(BadAnswer, match="confidence"):
        form_for(data_of("a", "b")).read({"category": "a", "confidence": given})


@given(st.lists(st.text(min_size=1, max_size=20).filter(str.strip), min_size=2, unique=True), st.data())
def test_whatever_is_read_is_a_category(categories, draw):
    form = form_for(data_of(*categories))
    given_name = draw.draw(st.one_of(st.sampled_from(categories), st.text()))
    try:
        result = form.read({"category": given_name, "confidence": draw.draw(st.floats(allow_nan=False))})
    except BadAnswer:
        assert given_name not in categories
    else:
        assert result["category"] in categories
        assert 0 <= result["confidence"] <= 1


async def test_reasoning_and_descriptions(run_task):
    categories = {"spam": "unwanted mail", "ham": None}
    data = {
        "text": "buy now",
        "categories": categories,
        "instructions": "Adverts are spam.",
        "reasoning": True,
    }
    answer = '{"reasoning": "it sells", "category": "SPAM", "confidence": 0.8}'
    result = await run_task(KIND, data, replies=[answer])
    assert result == {"category": "spam", "confidence": 0.8, "reasoning": "it sells"}
    prompt = run_task.bodies[0]["messages"][1]["content"]
    assert "- ham\n- spam: unwanted mail\n\nAdverts are spam.\n\n<text>\nbuy now\n</text>" in prompt


async def test_a_model_that_insists_on_another_category_fails_the_task(run_task):
    data = {"text": "x", "categories": ["a", "b"]}
    with pytest.raises(TaskFailed, match="'c' is not one of 'a', 'b'"):
        await run_task(KIND, data, replies=['{"category": "c", "confidence": 1}'])
    assert len(run_task.bodies) == 3


def test_estimates_grow_with_the_text():
    short = KIND.estimate(data_of("a", "b"), TOOLBOX)
    long = KIND.estimate(KIND.read({"text": "word " * 5000, "categories": ["a", "b"]}), TOOLBOX)
    assert 0 < short.input_tokens < 300 < 4000 < long.input_tokens
    assert short.output_tokens < KIND.estimate(data_of("a", "b", reasoning=True), TOOLBOX).output_tokens
