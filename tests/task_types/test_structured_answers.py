"""Structured answers: by schema where the endpoint takes one, by prompt where not, repaired where wrong."""

import json

import pytest

from penstock import TaskFilter, TaskOptions
from penstock.errors import TaskFailed
from penstock.task_types.base import TaskKind
from penstock.task_types.conversation import BadAnswer
from penstock.task_types.json_in_text import find_object
from penstock.task_types.repository_analysis import FORM
from penstock.task_types.text_classification import KIND

DATA = {"text": "the valve leaks", "categories": ["water", "fire"]}
GOOD = '{"category": "water", "confidence": 0.9}'
NO_SCHEMAS = (400, {"error": {"message": "'response_format' of type 'json_schema' is not supported"}})


def said(body, place):
    return body["messages"][place]["content"]


async def test_the_schema_goes_to_endpoints_that_take_it(run_task):
    assert await run_task(KIND, DATA, replies=[GOOD]) == {"category": "water", "confidence": 0.9}
    (body,) = run_task.bodies
    wanted = body["response_format"]["json_schema"]
    assert body["response_format"]["type"] == "json_schema"
    assert wanted["strict"] is True
    assert wanted["schema"]["properties"]["category"]["enum"] == ["water", "fire"]
    assert wanted["schema"]["additionalProperties"] is False


async def test_an_endpoint_that_refuses_schemas_is_asked_by_prompt_and_remembered(run_task):
    def picky(body):
        return NO_SCHEMAS if "response_format" in body else GOOD

    assert (await run_task(KIND, DATA, replies=[picky]))["category"] == "water"
    assert [("response_format" in body) for body in run_task.bodies] == [True, False]
    assert '"enum": ["water", "fire"]' in said(run_task.bodies[1], 0)
    await run_task(KIND, {**DATA, "text": "another"})
    assert [("response_format" in body) for body in run_task.bodies[2:]] == [False]
    await run_task(KIND, {**DATA, "model": "another"})  # another model may well know schemas
    assert [("response_format" in body) for body in run_task.bodies[3:]] == [True, False]


async def test_the_toolbox_can_say_that_there_are_no_schemas(run_task):
    assert (await run_task(KIND, DATA, replies=[GOOD], structured_output=False))["category"] == "water"
    assert "response_format" not in run_task.bodies[0]


async def test_another_400_is_no_reason_to_ask_again(run_task):
    with pytest.raises(TaskFailed, match="too hot"):
        await run_task(KIND, DATA, replies=[(400, {"error": {"message": "too hot"}})])
    assert len(run_task.bodies) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"Sure! Here it is:\n\n```\n{GOOD}\n```\nAnything else?",
        f"I think {{hm}} the answer is {GOOD}, is it not? {{}}",
        f"  {GOOD}\n",
    ],
)
async def test_json_amid_prose_is_found(run_task, text):
    assert (await run_task(KIND, DATA, replies=[text]))["category"] == "water"
    assert len(run_task.bodies) == 1


async def test_a_wrong_answer_is_shown_with_what_is_wrong(run_task):
    bad = '{"category": "earth", "confidence": "high"}'
    assert (await run_task(KIND, DATA, replies=["what?", bad, GOOD]))["category"] == "water"
    assert len(run_task.bodies) == 3
    assert "no JSON object" in said(run_task.bodies[1], -1)
    assert said(run_task.bodies[2], -2) == bad
    problems = said(run_task.bodies[2], -1)
    assert "'earth' is not one of 'water', 'fire'" in problems
    assert "'high' is no number" in problems
    assert len(run_task.bodies[2]["messages"]) == 6


async def test_after_two_repairs_it_fails_and_a_retry_asks_only_the_last_round_again(run_task):
    id = await run_task.submit(KIND, DATA, replies=["one", "two", "three", GOOD])
    with pytest.raises(TaskFailed, match=r"no usable classification answer in 3 rounds") as failure:
        await run_task.manager_wait(id)
    assert failure.value.reason == "invalid_answer"
    assert len(run_task.bodies) == 3  # no further attempts: they would read the same answers
    again = await run_task.manager.retry(id)
    assert (await run_task.manager_wait(again))["category"] == "water"
    assert len(run_task.bodies) == 4
    assert said(run_task.bodies[3], -2) == "two"


@pytest.mark.parametrize(
    ("message", "finish", "reason", "words"),
    [
        ({"refusal": "I must not"}, "stop", "model_refused", "I must not"),
        ({}, "content_filter", "content_filtered", "content filter"),
        ({"content": '{"categ'}, "length", "answer_cut", "raise max_tokens"),
    ],
)
async def test_answers_that_are_none_fail_clearly_and_are_not_kept(
    run_task, replies, message, finish, reason, words
):
    text = message.pop("content", None)
    id = await run_task.submit(KIND, DATA, replies=[replies.chat(text, finish, **message), GOOD])
    with pytest.raises(TaskFailed, match=words) as failure:
        await run_task.manager_wait(id)
    assert failure.value.reason == reason
    assert len(run_task.bodies) == 1
    again = await run_task.manager.retry(id)
    assert (await run_task.manager_wait(again))["category"] == "water"


async def test_a_replay_takes_the_way_that_was_taken_and_pays_nothing(run_task):
    def picky(body):
        if "response_format" in body:
            return NO_SCHEMAS
        return "not JSON" if len(body["messages"]) == 2 else GOOD

    # The last step of the first life is the answer; then the result is lost and all is asked anew.
    lives = []

    async def twice(context, data, toolbox):
        result = await KIND.run(context, data, toolbox)
        lives.append(result)
        if len(lives) == 1:
            raise RuntimeError("something breaks after the answer")
        return result

    kind = TaskKind("classified", KIND.data, twice)
    options = TaskOptions(retry_delay=0.01, strict_journal=True)
    result = await run_task(kind, DATA, replies=[picky], options=options)
    assert lives == [result, result]
    plain = [body for body in run_task.bodies if "response_format" not in body]
    assert len(plain) == 2  # the bad answer and the good one, each once
    tasks = await run_task.manager.read(lambda reader: reader.tasks(TaskFilter()))
    records = await run_task.manager.read(lambda reader: reader.journal(tasks[0].seq))
    assert sorted(record.kind for record in records) == ["http", "http", "value"]


@pytest.mark.parametrize(
    "text",
    ["", "no", "[1, 2]", "5", '{"a": NaN}', '{"a": 1', "{" * 3000, '{"a":' * 100_000, "```json\n[]\n```"],
)
def test_no_object_is_found_where_there_is_none(text):
    assert find_object(text) is None


def test_an_object_is_found_as_it_is():
    value = {"a": {"b": ["}", "\ud800", "```"]}, "c": 1e5}
    assert find_object(f"so: {json.dumps(value)} and {{}}") == value


def test_a_form_names_the_fields_that_are_wrong():
    with pytest.raises(BadAnswer) as bad:
        FORM.read({"summary": " ", "purpose": 5, "maturity": "ripe"})
    text = str(bad.value)
    for field in ("summary", "purpose", "maturity", "key_features", "topics"):
        assert f"{field}: " in text


async def test_the_simulator_answers_by_schema(run_task):
    for model in ("one", "two", "three"):
        result = await run_task(KIND, {**DATA, "model": model})
        assert result["category"] in DATA["categories"]
        assert 0 <= result["confidence"] <= 1
