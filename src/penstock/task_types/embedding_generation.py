"""EMBEDDING_GENERATION: the vector of a text, or the vectors of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator

from penstock.model.estimate import Estimate
from penstock.model.task_type import TaskType
from penstock.task_types.base import TaskData, TaskKind, Toolbox
from penstock.task_types.embeddings import Vector, Wanted, embed, estimate_of
from penstock.task_types.field_types import ModelName, wrong

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


class EmbeddingData(TaskData):
    """One `text`, or many in `text` or `texts`; none of them empty. `dimensions`: numbers of each vector."""

    text: str | list[str] | None = None
    texts: list[str] | None = None
    model: ModelName | None = None
    dimensions: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None

    @field_validator("text", "texts", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, str):
            if not value:
                raise wrong("must not be empty")
        elif isinstance(value, list):
            if not value:
                raise wrong("must hold at least one text")
            for place, text in enumerate(value):
                if not isinstance(text, str) or not text:
                    raise wrong(f"item {place} must be a text that is not empty")
        elif value is not None:
            raise wrong("must be a text or a list of texts")
        return value

    @model_validator(mode="after")
    def _one_of_them(self) -> EmbeddingData:
        if (self.text is None) == (self.texts is None):
            raise wrong("give either text or texts")
        return self

    @property
    def all_texts(self) -> list[str]:
        given = self.texts if self.texts is not None else self.text
        return [given] if isinstance(given, str) else given or []


def _model(data: EmbeddingData, toolbox: Toolbox) -> str:
    return data.model or toolbox.embedding_model


def _estimate(data: EmbeddingData, toolbox: Toolbox) -> Estimate:
    return estimate_of(data.all_texts, _model(data, toolbox))


async def run(context: TaskContext, data: EmbeddingData, toolbox: Toolbox) -> Vector | list[Vector]:
    """A list of numbers for one text, a list of such lists, in order, for a list of texts."""
    wanted = Wanted(_model(data, toolbox), data.dimensions)
    vectors = await embed(context, data.all_texts, wanted, toolbox)
    return vectors[0] if isinstance(data.text, str) else vectors


KIND = TaskKind(TaskType.EMBEDDING_GENERATION, EmbeddingData, run, _estimate, _model)
