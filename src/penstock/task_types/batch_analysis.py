"""BATCH_ANALYSIS: many repositories in one task, side by side under the limits.

Each repository is a recorded step in a scope of its own, known by its place in the list: after a crash those
that are done answer from the journal, failed ones too, and only those under way are asked again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AliasChoices, Field, model_validator

from penstock.errors import (
    BudgetExhausted,
    CallFailed,
    ConfigurationError,
    JournalMismatch,
    Parked,
    PriceUnknown,
    StoreError,
)
from penstock.llm.refusals import Refusal
from penstock.model.estimate import Estimate
from penstock.model.task_type import TaskType
from penstock.runtime.outcomes import judge
from penstock.task_types.base import TaskData, TaskKind, Toolbox, named_model
from penstock.task_types.conversation import patient
from penstock.task_types.field_types import ModelName, TokenCap, wrong
from penstock.task_types.repository_analysis import (
    FORM,
    README_TOKENS,
    USUAL_OUTPUT,
    RepositoryInfo,
    analyse,
    question,
)
from penstock.task_types.structured import question_tokens

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext

MOST_REPOSITORIES = 10_000
LONGEST_README = 1_000_000
LARGEST_BATCH = 100_000_000

# What says nothing of one repository and stops them all; those that are done stay done for a retry.
_STOPS_ALL = (StoreError, JournalMismatch, ConfigurationError, BudgetExhausted, PriceUnknown)
_STOPPING_REFUSALS = frozenset((Refusal.AUTH, Refusal.NOT_FOUND, Refusal.QUOTA_EXHAUSTED))


class BatchRepository(RepositoryInfo):
    """A repository of a batch: its facts and its README."""

    readme: Annotated[str, Field(max_length=LONGEST_README)] | None = Field(
        default=None, validation_alias=AliasChoices("readme", "readme_content")
    )


class BatchAnalysisData(TaskData):
    """At most `parallel` repositories are open at once; how many calls run is for the limits to say."""

    repositories: Annotated[list[BatchRepository], Field(min_length=1, max_length=MOST_REPOSITORIES)]
    model: ModelName | None = None
    language: Annotated[str, Field(min_length=1, max_length=50)] | None = None
    max_readme_tokens: Annotated[int, Field(strict=True, ge=100, le=200_000)] = README_TOKENS
    max_tokens: TokenCap | None = None
    parallel: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 64

    @model_validator(mode="after")
    def _bounded(self) -> BatchAnalysisData:
        size = sum(len(one.readme or "") for one in self.repositories)
        if size > LARGEST_BATCH:
            raise wrong(f"repositories: {size:,} characters of READMEs are more than {LARGEST_BATCH:,}")
        return self


class _Batch:
    """One attempt at a batch."""

    def __init__(self, context: TaskContext, data: BatchAnalysisData, toolbox: Toolbox) -> None:
        self._context = context
        self._data = data
        self._toolbox = toolbox
        self._post = patient(context, toolbox.client().post)
        self._results: list[dict[str, Any] | None] = [None] * len(data.repositories)
        self._todo: Iterator[int] = iter(range(len(data.repositories)))
        self._done = 0
        self._stop: Exception | Parked | None = None

    async def run(self) -> list[dict[str, Any]]:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(self._results), self._data.parallel)):
                group.create_task(self._work())
        if self._stop is not None:
            raise self._stop
        results = [one for one in self._results if one is not None]
        if len(results) < len(self._results):
            raise asyncio.CancelledError  # a branch cancelled itself
        return results

    async def _work(self) -> None:
        """Take one repository after the other. When one says that all have to stop, those under way are let
        finish: they are being paid for."""
        while self._stop is None:
            place = next(self._todo, None)
            if place is None:
                return
            try:
                async with self._context.branch(f"repository.{place}"):
                    result = await self._context.step("repository", self._one, place)
            except (Exception, Parked) as error:
                self._stop_for(error)
                return
            self._results[place] = result
            self._done += 1
            self._context.progress(self._done, len(self._results), result["repo_name"])

    def _stop_for(self, error: Exception | Parked) -> None:
        if self._stop is None or isinstance(self._stop, Parked):
            self._stop = error

    async def _one(self, place: int) -> dict[str, Any]:
        repository, data = self._data.repositories[place], self._data
        asked = question(
            repository,
            repository.readme,
            model=named_model(data, self._toolbox),
            language=data.language,
            readme_tokens=data.max_readme_tokens,
            max_tokens=data.max_tokens,
        )
        try:
            found = await analyse(self._context, self._toolbox, asked, repository.name, self._post)
        except Exception as error:
            if _stops_all(error):
                raise
            said = json.loads(judge(error).as_text(self._context.attempt))
            failed = {"success": False, "error": said["message"], "error_code": said["code"]}
            return {"repo_name": repository.name, **failed}
        return {"repo_name": repository.name, "success": True, "result": found}


def _stops_all(error: Exception) -> bool:
    return isinstance(error, _STOPS_ALL) or (
        isinstance(error, CallFailed) and error.reason in _STOPPING_REFUSALS
    )


async def run(context: TaskContext, data: BatchAnalysisData, toolbox: Toolbox) -> list[dict[str, Any]]:
    """`{repo_name, success, result | error}` for each repository, in the order given."""
    return await _Batch(context, data, toolbox).run()


def estimate(data: BatchAnalysisData, toolbox: Toolbox) -> Estimate:
    """By the length of the READMEs: counting the tokens of ten thousand would hold up the door."""
    named = named_model(data, toolbox)
    empty, _cut = question(RepositoryInfo(name="repository"), None, model=named)
    each = question_tokens(empty, FORM)
    read = sum(
        min(len(one.readme or "") // 4, data.max_readme_tokens) + len(one.description or "") // 4
        for one in data.repositories
    )
    count = len(data.repositories)
    return Estimate(named, each * count + read, (data.max_tokens or USUAL_OUTPUT) * count)


KIND = TaskKind(TaskType.BATCH_ANALYSIS, BatchAnalysisData, run, estimate, named_model)
