"""EMBEDDING_GENERATION: vectors in order, in as few calls as may be, each paid once."""

import asyncio
import base64
import struct

import pytest

from penstock import TaskOptions
from penstock.errors import TaskFailed
from penstock.simulator.embeddings_wire import embed
from penstock.task_types.base import Toolbox
from penstock.task_types.embedding_generation import KIND, EmbeddingData
from penstock.task_types.embeddings import in_batches, vectors_of


def near(vector, text):
    return vector == pytest.approx(embed(text, 256), abs=1e-6)


def floats(body, dimensions=3):
    """A reply in numbers, last vector first."""
    data = [
        {"index": place, "embedding": [float(place + 1)] * dimensions} for place in range(len(body["input"]))
    ]
    return {"data": data[::-1], "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}


async def test_one_text_is_one_vector_and_many_are_many(run_task):
    one = await run_task(KIND, {"text": "a red apple"})
    assert near(one, "a red apple")
    for field in ("text", "texts"):
        many = await run_task(KIND, {field: ["a", "b", "a"]})
        assert [near(vector, text) for vector, text in zip(many, "aba", strict=True)] == [True] * 3
    assert [body["input"] for body in run_task.bodies] == [["a red apple"], ["a", "b"], ["a", "b"]]
    assert run_task.bodies[0]["model"] == "text-embedding-3-small"


async def test_model_and_dimensions_go_along(run_task):
    vector = await run_task(KIND, {"text": "a", "model": "other", "dimensions": 7})
    assert len(vector) == 7
    assert run_task.bodies[0] == {
        "model": "other",
        "input": ["a"],
        "encoding_format": "base64",
        "dimensions": 7,
    }


async def test_inputs_are_cut_into_batches(run_task):
    texts = [f"text {number}" for number in range(10)]
    vectors = await run_task(KIND, {"texts": texts}, embedding_inputs=4)
    assert sorted(len(body["input"]) for body in run_task.bodies) == [2, 4, 4]
    assert all(near(vector, text) for vector, text in zip(vectors, texts, strict=True))


async def test_a_batch_that_was_recorded_is_not_made_again(run_task):
    refusals = [(500, {"error": {"message": "not now"}})]

    def reply(body):
        return refusals.pop() if refusals and "text 5" in body["input"] else floats(body)

    texts = [f"text {number}" for number in range(9)]
    options = TaskOptions(retry_delay=0.05)
    # One at a time, in order: what came before the failure is on record when it happens.
    how = {"embedding_inputs": 2, "replies": [reply], "max_concurrent": 1}
    assert len(await run_task(KIND, {"texts": texts}, options=options, **how)) == 9
    sent = [tuple(body["input"]) for body in run_task.bodies]
    assert sent.count(("text 4", "text 5")) == 2
    assert sent.count(("text 0", "text 1")) == 1
    assert sent.count(("text 2", "text 3")) == 1


def test_batches_hold_so_many_inputs_and_tokens():
    texts = ["word " * 50] * 5 + ["x"]
    assert [len(batch) for batch in in_batches(texts, 100, most_tokens=110)] == [2, 2, 2]
    assert [len(batch) for batch in in_batches(texts, 4)] == [4, 2]
    assert list(in_batches(["word " * 500], 4, most_tokens=10)) == [["word " * 500]]
    assert list(in_batches([], 4)) == []


async def test_a_reply_in_numbers_and_in_any_order_will_do(run_task):
    assert await run_task(KIND, {"texts": ["a", "b"]}, replies=[floats]) == [[1.0] * 3, [2.0] * 3]


@pytest.mark.parametrize(
    "reply",
    [
        {"data": []},
        {"data": [{"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": []}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": ["1"]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "?"}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": None}]},
    ],
)
async def test_a_reply_that_is_none_is_not_recorded(run_task, reply):
    options = TaskOptions(retry_delay=0.01, max_retries=1)
    data = {"texts": ["a", "b"]}
    assert await run_task(KIND, data, options=options, replies=[reply, floats]) == [[1.0] * 3, [2.0] * 3]


def test_base64_is_read_as_single_precision():
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2.0)).decode()
    assert vectors_of({"data": [{"embedding": packed}]}, 1) == [[0.5, -2.0]]
    infinite = base64.b64encode(struct.pack("<f", float("inf"))).decode()
    with pytest.raises(ValueError, match="no number"):
        vectors_of({"data": [{"embedding": infinite}]}, 1)


BAD = {
    "nothing": ({}, "text"),
    "both": ({"text": "a", "texts": ["b"]}, "text"),
    "empty text": ({"text": ""}, "text"),
    "empty list": ({"texts": []}, "texts"),
    "empty item": ({"texts": ["a", ""]}, "texts"),
    "number": ({"text": 5}, "text"),
    "number in list": ({"text": ["a", 5]}, "text"),
    "null in list": ({"texts": [None]}, "texts"),
    "object": ({"texts": {"a": "b"}}, "texts"),
    "model": ({"text": "a", "model": ""}, "model"),
    "model of wrong type": ({"text": "a", "model": 4}, "model"),
    "no dimensions": ({"text": "a", "dimensions": 0}, "dimensions"),
    "dimensions as text": ({"text": "a", "dimensions": "3"}, "dimensions"),
    "dimensions true": ({"text": "a", "dimensions": True}, "dimensions"),
    "unknown field": ({"text": "a", "texst": "b"}, "texst"),
    "no object": ([], "data"),
}


@pytest.mark.parametrize(("data", "field"), BAD.values(), ids=BAD)
def test_bad_data_is_refused(refused, data, field):
    words = refused(KIND, data)
    assert words.startswith("data of a embedding_generation task: ")
    assert field in words.removeprefix("data of a embedding_generation task: ")


def test_the_estimate_is_of_all_texts(run_task):
    toolbox = Toolbox(client=lambda: None, functions=None)
    one = KIND.estimate(EmbeddingData(text="some words of text"), toolbox)
    many = KIND.estimate(EmbeddingData(texts=["some words of text"] * 100), toolbox)
    assert one.model == "text-embedding-3-small"
    assert 2 <= one.input_tokens <= 8
    assert many.input_tokens == 100 * one.input_tokens
    assert many.output_tokens == 0


# Small tasks share calls


async def gathered(run_task, count, **how):
    await run_task.start(gather_seconds=0.05, max_concurrent=count, **how)
    ids = await asyncio.gather(*(run_task.submit(KIND, {"text": f"text {n}"}) for n in range(count)))
    return ids


async def test_small_tasks_share_a_call(run_task):
    ids = await gathered(run_task, 8)
    vectors = await asyncio.gather(*map(run_task.manager_wait, ids))
    assert all(near(vector, f"text {number}") for number, vector in enumerate(vectors))
    assert len(run_task.bodies) < 8
    assert sum(len(body["input"]) for body in run_task.bodies) == 8
    assert run_task.toolbox.gatherer.shared == 8 - len(run_task.bodies)


async def test_each_task_records_its_own_vectors(run_task):
    ids = await gathered(run_task, 4)
    await asyncio.gather(*map(run_task.manager_wait, ids))

    def steps(reader):
        found = [reader.journal(reader.task(id).seq) for id in ids]
        return [[one.key.name for one in journal if one.kind == "value"] for journal in found]

    assert await run_task.manager.read(steps) == [["embed"]] * 4


async def test_a_full_round_goes_at_once(run_task):
    await run_task.start(gather_seconds=30, embedding_inputs=2)
    ids = [await run_task.submit(KIND, {"text": text}) for text in "ab"]
    assert len(await asyncio.gather(*map(run_task.manager_wait, ids))) == 2
    assert len(run_task.bodies) == 1


async def test_a_failed_shared_call_is_made_by_each(run_task):
    def reply(body):
        bad = (400, {"error": {"message": "not this", "type": "invalid_request_error"}})
        return bad if "text 0" in body["input"] else floats(body)

    ids = await gathered(run_task, 4, replies=[reply])
    done = await asyncio.gather(*map(run_task.manager_wait, ids), return_exceptions=True)
    assert isinstance(done[0], TaskFailed)
    assert done[1:] == [[1.0] * 3] * 3


async def test_a_cancelled_leader_loses_nobody(run_task, eventually):
    await run_task.start(gather_seconds=30, embedding_inputs=4)
    ids = [await run_task.submit(KIND, {"text": f"text {number}"}) for number in range(3)]
    gatherer = run_task.toolbox.gatherer
    await eventually(lambda: gatherer._open and len(next(iter(gatherer._open.values())).texts) == 3)
    leader = next(iter(gatherer._open.values())).texts[0]
    gone = next(id for number, id in enumerate(ids) if leader == f"text {number}")
    assert await run_task.manager.cancel(gone) == {gone: True}
    ids.remove(gone)
    ids += [await run_task.submit(KIND, {"text": f"more {number}"}) for number in range(2)]
    vectors = await asyncio.gather(*map(run_task.manager_wait, ids))
    assert len(vectors) == 4
    assert [len(body["input"]) for body in run_task.bodies] == [4]
    assert not gatherer._open
