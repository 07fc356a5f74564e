"""SEMANTIC_SEARCH: the documents nearest in meaning to a query."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from operator import mul
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from penstock.errors import InvalidTask
from penstock.model.estimate import Estimate
from penstock.model.task_type import TaskType
from penstock.task_types.base import TaskData, TaskKind, Toolbox
from penstock.task_types.embeddings import Vector, Wanted, embed, estimate_of
from penstock.task_types.field_types import ModelName, Text, wrong

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

MANY_NUMBERS = 100_000
"""From here on a comparison takes milliseconds, and runs in the thread pool."""


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _read_id(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise wrong("must be a text that is not empty, or an integer")
    return value


class Document(TaskData):
    """What can be found. An `embedding` must be of the model that embeds the query."""

    id: Annotated[str | int, BeforeValidator(_read_id)]
    text: Text
    embedding: Annotated[list[Number], Field(min_length=1)] | None = None


class SemanticSearchData(TaskData):
    """The `top_k` best of `documents` for `query`, whose score is `min_score` (-1 to 1) at least."""

    query: Text
    documents: list[Document]
    top_k: Annotated[int, Field(strict=True, ge=1)] = 5
    model: ModelName | None = None
    dimensions: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    min_score: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = None

    @field_validator("documents")
    @classmethod
    def _unique(cls, documents: list[Document]) -> list[Document]:
        places: dict[str | int, int] = {}
        for place, document in enumerate(documents):
            first = places.setdefault(document.id, place)
            if first != place:
                raise wrong(f"{place}.id is {document.id!r}, as that of document {first}; ids are unique")
        return documents

    @model_validator(mode="after")
    def _alike(self) -> SemanticSearchData:
        length = self.dimensions
        for place, document in enumerate(self.documents):
            if document.embedding is not None:
                length = length or len(document.embedding)
                if len(document.embedding) != length:
                    raise wrong(
                        f"documents.{place}.embedding has {len(document.embedding)} numbers, not {length}"
                    )
        return self

    @property
    def texts(self) -> list[str]:
        """What there is no vector of yet: the query, then the documents that bring none."""
        return [self.query, *(one.text for one in self.documents if one.embedding is None)]


def _model(data: SemanticSearchData, toolbox: Toolbox) -> str:
    return data.model or toolbox.embedding_model


def _estimate(data: SemanticSearchData, toolbox: Toolbox) -> Estimate:
    return estimate_of(data.texts if data.documents else [], _model(data, toolbox))


async def run(context: TaskContext, data: SemanticSearchData, toolbox: Toolbox) -> list[dict[str, Any]]:
    """`[{"id", "text", "score"}]`, best first, equally good ones in the order of the documents."""
    if not data.documents:
        return []
    made = iter(await embed(context, data.texts, Wanted(_model(data, toolbox), data.dimensions), toolbox))
    query = next(made)
    vectors = [next(made) if one.embedding is None else one.embedding for one in data.documents]
    for place, vector in enumerate(vectors):
        if len(vector) != len(query):
            raise InvalidTask(
                f"documents.{place}.embedding has {len(vector)} numbers, but vectors of "
                f"{_model(data, toolbox)} have {len(query)}; leave it out, or name the model it was made with"
            )
    if len(vectors) * len(query) < MANY_NUMBERS:
        scores = cosines(query, vectors)
    else:
        scores = await context.services.in_thread(cosines, query, vectors)
    least = -1.0 if data.min_score is None else data.min_score
    good = [(-score, place) for place, score in enumerate(scores) if score >= least]
    return [
        {"id": data.documents[place].id, "text": data.documents[place].text, "score": -negative}
        for negative, place in heapq.nsmallest(data.top_k, good)
    ]


def _sumprod(left: Sequence[float], right: Sequence[float]) -> float:
    return float(sum(map(mul, left, right)))


# Python 3.12 has it, some ten times as fast.
_dot: Callable[[Sequence[float], Sequence[float]], float] = getattr(math, "sumprod", _sumprod)


def cosines(query: Vector, vectors: Sequence[Vector]) -> list[float]:
    """The cosine similarity of each vector to the query, -1 to 1; 0 where a vector is all zeros."""
    length = math.hypot(*query)
    scores = []
    for vector in vectors:
        both = length * math.hypot(*vector)
        scores.append(max(-1.0, min(1.0, _dot(query, vector) / both)) if both else 0.0)
    return scores


KIND = TaskKind(TaskType.SEMANTIC_SEARCH, SemanticSearchData, run, _estimate, _model)
