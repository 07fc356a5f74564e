"""SEMANTIC_SEARCH: the nearest documents first, with vectors made where they are missing."""

import math

import pytest

from penstock.errors import TaskFailed
from penstock.simulator.embeddings_wire import embed
from penstock.task_types.base import Toolbox
from penstock.task_types.semantic_search import KIND, SemanticSearchData, cosines

DOCUMENTS = [
    {"id": "fruit", "text": "red apples and green pears"},
    {"id": 2, "text": "engines burn diesel"},
    {"id": "tree", "text": "apples grow on trees"},
]


async def test_the_nearest_come_first(run_task):
    found = await run_task(KIND, {"query": "red apples", "documents": DOCUMENTS, "top_k": 2})
    assert [one["id"] for one in found] == ["fruit", "tree"]
    assert found[0]["text"] == "red apples and green pears"
    assert 1 >= found[0]["score"] > found[1]["score"] > 0
    assert [body["input"] for body in run_task.bodies] == [
        ["red apples", *(one["text"] for one in DOCUMENTS)]
    ]


async def test_known_embeddings_are_not_made_again(run_task):
    known = [{**one, "embedding": embed(one["text"], 256)} for one in DOCUMENTS[:2]]
    found = await run_task(KIND, {"query": "red apples", "documents": [*known, DOCUMENTS[2]]})
    assert [one["id"] for one in found] == ["fruit", "tree", 2]
    assert [body["input"] for body in run_task.bodies] == [["red apples", "apples grow on trees"]]


async def test_batches(run_task):
    documents = [{"id": number, "text": f"document {number}"} for number in range(20)]
    query = {"query": "document 13", "documents": documents, "top_k": 1}
    (best,) = await run_task(KIND, query, embedding_inputs=6)
    assert best["id"] == 13
    assert best["score"] == pytest.approx(1)
    assert sorted(len(body["input"]) for body in run_task.bodies) == [2, 6, 6, 6]


async def test_ties_keep_the_order_of_the_documents(run_task):
    documents = [{"id": str(number), "text": "the same"} for number in (3, 1, 2)]
    found = await run_task(KIND, {"query": "the same", "documents": documents})
    assert [one["id"] for one in found] == ["3", "1", "2"]


async def test_least_score_and_no_documents(run_task):
    found = await run_task(KIND, {"query": "red apples", "documents": DOCUMENTS, "min_score": 0.3})
    assert "2" not in [str(one["id"]) for one in found]
    assert found
    assert await run_task(KIND, {"query": "red apples", "documents": []}) == []
    assert len(run_task.bodies) == 1


async def test_many_numbers_are_compared_in_a_thread(run_task):
    documents = [{"id": n, "text": "x", "embedding": embed(f"word{n}", 256)} for n in range(500)]
    found = await run_task(KIND, {"query": "word77", "documents": documents, "top_k": 3})
    assert found[0]["id"] == 77


async def test_embeddings_of_another_model_are_refused(run_task):
    documents = [{"id": 1, "text": "a"}, {"id": 2, "text": "b", "embedding": [1, 2, 3]}]
    with pytest.raises(TaskFailed, match=r"documents\.1\.embedding has 3 numbers.*have 256"):
        await run_task(KIND, {"query": "a", "documents": documents})


def test_cosines():
    assert cosines([1, 0], [[2, 0], [0, 3], [-1, 0], [1, 1], [0, 0]]) == pytest.approx(
        [1, 0, -1, math.sqrt(0.5), 0]
    )


BAD = {
    "nothing": ({}, "query"),
    "no documents": ({"query": "a"}, "documents"),
    "blank query": ({"query": " ", "documents": []}, "query"),
    "query of wrong type": ({"query": ["a"], "documents": []}, "query"),
    "no list": ({"query": "a", "documents": {"id": 1}}, "documents"),
    "no id": ({"query": "a", "documents": [{"text": "x"}]}, "documents.0.id"),
    "empty id": ({"query": "a", "documents": [{"id": "", "text": "x"}]}, "documents.0.id"),
    "odd id": ({"query": "a", "documents": [{"id": 1.5, "text": "x"}]}, "documents.0.id"),
    "true as id": ({"query": "a", "documents": [{"id": True, "text": "x"}]}, "documents.0.id"),
    "no text": ({"query": "a", "documents": [{"id": 1, "text": "x"}, {"id": 2}]}, "documents.1.text"),
    "same id": (
        {"query": "a", "documents": [{"id": 1, "text": "x"}, {"id": 1, "text": "y"}]},
        "documents: 1.id",
    ),
    "more fields": (
        {"query": "a", "documents": [{"id": 1, "text": "x", "title": "t"}]},
        "documents.0.title",
    ),
    "empty embedding": (
        {"query": "a", "documents": [{"id": 1, "text": "x", "embedding": []}]},
        "documents.0.embedding",
    ),
    "no numbers": (
        {"query": "a", "documents": [{"id": 1, "text": "x", "embedding": [1, "2"]}]},
        "documents.0.embedding.1",
    ),
    "not finite": (
        {"query": "a", "documents": [{"id": 1, "text": "x", "embedding": [float("nan")]}]},
        "documents.0.embedding.0",
    ),
    "unlike lengths": (
        {
            "query": "a",
            "documents": [
                {"id": 1, "text": "x", "embedding": [1, 2]},
                {"id": 2, "text": "y"},
                {"id": 3, "text": "z", "embedding": [1]},
            ],
        },
        "documents.2.embedding",
    ),
    "unlike dimensions": (
        {"query": "a", "dimensions": 3, "documents": [{"id": 1, "text": "x", "embedding": [1, 2]}]},
        "documents.0.embedding",
    ),
    "none wanted": ({"query": "a", "documents": [], "top_k": 0}, "top_k"),
    "top_k as text": ({"query": "a", "documents": [], "top_k": "5"}, "top_k"),
    "score": ({"query": "a", "documents": [], "min_score": 2}, "min_score"),
    "unknown field": ({"query": "a", "documents": [], "topk": 5}, "topk"),
}


@pytest.mark.parametrize(("data", "field"), BAD.values(), ids=BAD)
def test_bad_data_is_refused(refused, data, field):
    assert field in refused(KIND, data).removeprefix("data of a semantic_search task: ")


def test_the_estimate_leaves_out_what_is_known():
    toolbox = Toolbox(client=lambda: None, functions=None, embedding_model="e")
    text = "some words " * 20
    bare = [{"id": 1, "text": text}, {"id": 2, "text": text}]
    known = [bare[0], {**bare[1], "embedding": [1.0]}]
    all, half = (
        KIND.estimate(SemanticSearchData(query="q", documents=documents), toolbox)
        for documents in (bare, known)
    )
    assert all.model == "e"
    assert all.input_tokens > half.input_tokens > 0
