"""Plans that models get wrong: each is mended without asking, repaired by showing what is wrong, or refused
with the reason. The table says which, in how many model calls."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from penstock import TaskFailed
from penstock.errors import InvalidPlan
from penstock.testing import SimulatedProvider
from penstock.workflows.plan_reading import PlanTerms, read_plan


def one(id: Any = "a", **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "name": f"Do {id}",
        "description": f"all about {id}",
        "dependencies": [],
        "estimated_time": 10,
        **more,
    }


def plan(*subtasks: Any) -> dict[str, Any]:
    return {"subtasks": list(subtasks)}


def without(name: str, id: Any = "a") -> dict[str, Any]:
    return {key: value for key, value in one(id).items() if key != name}


AB = plan(one("a"), one("b", dependencies=["a"]))
TEXT = json.dumps(AB)
CALL = one("c", tool="draw", arguments={"title": "T", "size": 3})


@dataclass(frozen=True)
class Row:
    """An answer; `shown` is what the model is shown, or `mended` what was put right, `needs` the
    plan there is."""

    name: str
    answer: Any
    shown: str = ""
    mended: str = ""
    needs: dict[str, list[str]] = field(default_factory=lambda: {"a": [], "b": ["a"]})


MENDED = [
    Row("as asked for", AB),
    Row("prose before and behind", f"Sure, here it is:\n{TEXT}\nShall I go on?"),
    Row("a code fence", f"```json\n{TEXT}\n```"),
    Row(
        "a fence amid prose, with braces in the prose", f"I use {{braces}}.\n```\n{TEXT}\n```\nSo {{there}}."
    ),
    Row("trailing commas", TEXT.replace("}]", "},]").replace("10}", "10,}")),
    Row("a bare list", json.dumps(AB["subtasks"])),
    Row("an object around it", {"plan": AB}),
    Row("called steps", {"goal": "g", "steps": AB["subtasks"]}),
    Row("the closing brace is missing", TEXT[:-1]),
    Row("another object before it", f'{{"thought": "easy"}}\n{TEXT}'),
    Row("the same plan twice", f"{TEXT}\n\n{TEXT}"),
    Row(
        "one subtask twice, word for word",
        plan(one("a"), one("a"), one("b", dependencies=["a"])),
        mended="twice",
    ),
    Row(
        "an object by id",
        {"subtasks": {"a": without("id"), "b": one("b", dependencies=["a"])}},
        mended="by id",
    ),
    Row("number ids", plan(one(1), one(2, dependencies=[1])), mended="number 1", needs={"1": [], "2": ["1"]}),
    Row("numbers with a point", plan(one(1.0), one("2", dependencies=[1.0])), needs={"1": [], "2": ["1"]}),
    Row("dependencies null", plan(one("a", dependencies=None), AB["subtasks"][1]), mended="none were given"),
    Row("dependencies missing", plan(without("dependencies"), AB["subtasks"][1]), mended="none were given"),
    Row("one dependency, no list", plan(one("a"), one("b", dependencies="a")), mended="taken as a list"),
    Row(
        "a dependency as an object",
        plan(one("a"), one("b", dependencies=[{"id": "a"}])),
        mended="object's id",
    ),
    Row("a dependency by name", plan(one("a"), one("b", dependencies=["Do A"])), mended="the name 'Do A'"),
    Row(
        "a dependency in other letters",
        plan(one("a"), one("b", dependencies=["A."])),
        mended="'A.' taken as 'a'",
    ),
    Row("a dependency twice", plan(one("a"), one("b", dependencies=["a", "a"]))),
    Row("time in words", plan(one("a", estimated_time="5 minutes"), AB["subtasks"][1]), mended="300 seconds"),
    Row("no time", plan(without("estimated_time"), AB["subtasks"][1]), mended="60 seconds"),
    Row("no id", plan({**without("id"), "name": "a"}, AB["subtasks"][1]), mended="made from its name"),
    Row(
        "an id with spaces", plan(one("a b"), one("b", dependencies=["a b"])), needs={"a-b": [], "b": ["a-b"]}
    ),
    Row("no description", plan(without("description"), AB["subtasks"][1])),
    Row("fields of its own", plan(one("a", priority="high", owner=None), AB["subtasks"][1])),
    Row("arguments as a text", plan(one("c", tool="draw", arguments='{"title": "T"}')), needs={"c": []}),
    Row(
        "a need that only the arguments name",
        plan(one("a"), one("c", tool="draw", arguments={"title": "About ${Do a}", "size": "${a}"})),
        needs={"a": [], "c": ["a"]},
    ),
    Row("no tool, said as a word", plan(one("a", tool="none", arguments={}), AB["subtasks"][1])),
]

REPAIRED = [
    Row("an empty text", " ", "the answer is empty"),
    Row("prose only", "I would begin with the data.", "no JSON object in it"),
    Row("cut in the middle of a text", TEXT[:70], "ends before its JSON does"),
    Row("cut between subtasks", TEXT[: TEXT.index('{"id": "b"')], "ends before its JSON does"),
    Row(
        "a colon is missing",
        TEXT.replace('"id":', '"id"', 1),
        "no JSON: Expecting ':' delimiter, line 1 column",
    ),
    Row("NaN", json.dumps(plan(one("a", estimated_time=float("nan")))), "NaN is no JSON number"),
    Row("Infinity", json.dumps(plan(one("a", estimated_time=float("inf")))), "Infinity is no JSON number"),
    Row("two different plans", f"{TEXT}\nor else\n{json.dumps(plan(one('z')))}", "there are 2 plans in it"),
    Row("another object", {"answer": 42}, "has no 'subtasks': it has the keys 'answer'"),
    Row("a list of words", '["collect", "write"]', "has no 'subtasks': it is a list"),
    Row("subtasks are a text", {"subtasks": "collect, write"}, "subtasks: must be a list"),
    Row("subtasks are null", {"subtasks": None}, "subtasks: must be a list, not None"),
    Row("no subtask at all", plan(), "subtasks: is empty"),
    Row("a subtask is a text", plan("collect"), "subtasks.0: must be an object, not 'collect'"),
    Row("too many", plan(*(one(f"s{n}") for n in range(9))), "there are 9; at most 8"),
    Row("a cycle of two", plan(one("a", dependencies=["b"]), one("b", dependencies=["a"])), "a → b → a"),
    Row(
        "a cycle of three behind a root",
        plan(one("r"), *(one(x, dependencies=[y, "r"]) for x, y in ("ab", "bc", "ca"))),
        "a → b → c → a",
    ),
    Row("a subtask needs itself", plan(one("a", dependencies=["a"])), "'a' needs itself: a → a"),
    Row(
        "a cycle through arguments",
        plan(one("a", dependencies=["c"]), one("c", tool="draw", arguments={"title": "${a}"})),
        "a → c → a",
    ),
    Row(
        "an unknown need", plan(one("a"), one("b", dependencies=["x"])), "no subtask 'x'; there are 'a', 'b'"
    ),
    Row(
        "a misspelt need",
        plan(one("collect"), one("b", dependencies=["colect"])),
        "no subtask 'colect'; did you mean 'collect'?",
    ),
    Row(
        "a name that two have",
        plan(one("a", name="Same"), one("b", name="Same"), one("c", dependencies=["Same"])),
        "no subtask 'Same'",
    ),
    Row("two with one id", plan(one("a"), one("a", name="Other")), "'a' is the id of subtasks.0 already"),
    Row("an id that is a list", plan(one(["a"])), "subtasks.0.id: must be a text"),
    Row("an id that is true", plan(one(True)), "subtasks.0.id: must be a text, not True"),
    Row("a name that is a list", plan(one("a", name=["x"])), "subtasks.0.name: must be a text"),
    Row(
        "neither name nor description",
        plan({"id": "a", "dependencies": []}),
        "neither a name nor a description",
    ),
    Row(
        "dependencies are a number with a point",
        plan(one("a", dependencies=1.5)),
        "must be a list of ids, not 1.5",
    ),
    Row(
        "a dependency is a list",
        plan(one("a"), one("b", dependencies=[["a"]])),
        "must be the id of a subtask",
    ),
    Row("time in odd words", plan(one("a", estimated_time="soon")), "a number of seconds, not 'soon'"),
    Row("a negative time", plan(one("a", estimated_time=-5)), "must be seconds from 0"),
    Row("a time that is a list", plan(one("a", estimated_time=[5])), "must be a number of seconds, not [5]"),
    Row("subtasks of subtasks", plan(one("a", subtasks=[one("b")])), "list all on one level"),
    Row(
        "an unknown tool", plan(one("a", tool="paint", arguments={})), "'paint' is no tool: there are 'draw'"
    ),
    Row("an argument is missing", plan(one("a", tool="draw", arguments={})), "title: Field required"),
    Row(
        "an argument of another type",
        plan(one("a", tool="draw", arguments={"title": "T", "size": "large"})),
        "arguments: size: Input should be a valid integer",
    ),
    Row("an argument too many", plan(one("a", tool="draw", arguments={"title": "T", "ink": 1})), "ink: "),
    Row(
        "arguments are no object",
        plan(one("a", tool="draw", arguments=[1])),
        "must be an object of arguments",
    ),
    Row(
        "arguments that are no JSON", plan(one("a", tool="draw", arguments="{title")), "must be a JSON object"
    ),
    Row("arguments without a tool", plan(one("a", arguments={"x": 1})), "are given, but no tool"),
    Row(
        "marks of workflows",
        plan(one("a", tool="draw", arguments={"title": {"$result": "b"}})),
        'write "${id}"',
    ),
    Row(
        "a reference to nothing",
        plan(one("a", tool="draw", arguments={"title": "${nobody}"})),
        "arguments: there is no subtask 'nobody'",
    ),
    Row(
        "a part of a text",
        plan(one("a"), one("c", tool="draw", arguments={"title": "${a/items/0}"})),
        "'a' gives a text, which has no parts",
    ),
]


def text_of(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def draw(title: str, size: int = 1) -> dict[str, str]:
    """Draw a chart."""
    return {"title": title}


@pytest.fixture
async def asked():
    """Ask for a plan with these answers; (plan as a dict, what was mended, the provider)."""
    with SimulatedProvider() as provider:
        manager = provider.manager()
        manager.tool(draw)
        async with manager:

            async def ask(*answers):
                # Whole bodies: what stands in a script may be read as a group of its pattern.
                provider.say(*(completion(text_of(a)) for a in answers))
                data = {"goal": "g", "tools": ["draw"], "max_subtasks": 8, "dry_run": True}
                id = await manager.submit_task("goal", data)
                made = await manager.wait_for_task(id, 20)
                return made["plan"]["subtasks"], made["mended"], provider

            ask.provider = provider
            yield ask


def completion(text, finish="stop"):
    message = {"role": "assistant", "content": text}
    body = {
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
    }
    return 200, body


@pytest.mark.parametrize("row", MENDED, ids=lambda row: row.name)
async def test_slips_that_can_mean_one_thing_cost_no_call(row, asked):
    subtasks, mended, provider = await asked(row.answer)
    assert {one["id"]: one["dependencies"] for one in subtasks} == row.needs
    assert row.mended in " ".join(mended)
    assert len(provider.calls) == 1
    assert all(one["name"] and one["description"] for one in subtasks)


@pytest.mark.parametrize("row", REPAIRED, ids=lambda row: row.name)
async def test_what_is_wrong_is_shown_to_the_model(row, asked):
    subtasks, _, provider = await asked(row.answer, AB)
    assert [one["id"] for one in subtasks] == ["a", "b"]
    assert len(provider.calls) == 2
    assert row.shown in provider.calls[1].text
    assert "Answer with one JSON object" in provider.calls[1].text


@pytest.mark.parametrize("row", REPAIRED, ids=lambda row: row.name)
async def test_what_stays_wrong_is_refused_with_the_reason(row, asked):
    with pytest.raises(TaskFailed, match=re.escape(row.shown)) as failed:
        await asked(row.answer, row.answer, row.answer, AB)
    assert "no usable plan answer in 3 rounds" in str(failed.value)
    assert len(asked.provider.calls) == 3


async def test_two_bad_answers_are_repaired_one_after_the_other(asked):
    subtasks, _, provider = await asked("no", plan(one("a", dependencies=["a"])), AB)
    assert len(subtasks) == 2
    assert len(provider.calls) == 3
    assert [message["role"] for message in provider.calls[2].body["messages"]] == [
        *("system", "user", "assistant", "user", "assistant", "user"),
    ]


async def test_all_that_is_wrong_is_shown_at_once(asked):
    bad = plan(one("a", dependencies=["x"], estimated_time=-1), one("a", name=7, tool="paint"), "b")
    _, _, provider = await asked(bad, AB)
    for problem in ("no subtask 'x'", "seconds from 0", "id of subtasks.0 already", "is no tool", "not 'b'"):
        assert problem in provider.calls[1].text


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (completion(TEXT[:60], "length"), "answer_cut", "was cut at the model's own limit"),
        (completion("", "content_filter"), "content_filtered", "content filter"),
    ],
)
async def test_answers_that_are_none_are_refused_by_name(reply, code, words):
    with SimulatedProvider() as provider:
        provider.say(reply, reply, reply)
        async with provider.manager() as manager:
            with pytest.raises(TaskFailed, match=words) as failed:
                await manager.plan("g", timeout=20)
            assert failed.value.reason == code
            assert len(provider.calls) == 1


async def test_an_endpoint_without_schemas_is_asked_in_the_prompt():
    no_schemas = (
        400,
        {"error": {"message": "response_format is not supported", "type": "invalid_request_error"}},
    )
    with SimulatedProvider() as provider:
        provider.say(no_schemas, completion("prose"), completion(TEXT))
        async with provider.manager() as manager:
            made = await manager.plan("g", timeout=20)
            assert [one.id for one in made.subtasks] == ["a", "b"]
            assert "It must fit this JSON schema" in provider.calls[1].body["messages"][0]["content"]
            assert len(provider.calls) == 3


def test_a_plan_that_is_given_is_judged_alike():
    with pytest.raises(InvalidPlan) as wrong:
        read_plan(
            plan(one("a", dependencies=["b"]), one("b", dependencies=["a"]), one("c", tool="x")),
            PlanTerms("g"),
        )
    assert wrong.value.code == "invalid_plan"
    assert [problem.path for problem in wrong.value.problems] == [
        "subtasks.2.tool",
        "subtasks.0.dependencies",
    ]
    assert str(wrong.value).startswith("plan: subtasks.2.tool: 'x' is no tool: there are no tools;")


def test_the_table_is_as_long_as_promised():
    rows = [*MENDED, *REPAIRED]
    assert len({row.name for row in rows}) == len(rows) >= 70
