"""The data form of a workflow: what REST takes, a planner writes and the builder makes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from penstock.errors import ConfigurationError
from penstock.model.priority import read_priority
from penstock.model.usage import LARGEST_USD

OnFailure: TypeAlias = Literal["stop", "continue"]

MOST_TOKENS = 10**15
ID_PATTERN = r"^\w[\w.:-]{0,99}$"


def _priority(value: Any) -> Any:
    try:
        return read_priority(value) if isinstance(value, int | str) else value
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


NodeId: TypeAlias = Annotated[str, Field(pattern=ID_PATTERN)]
PriorityField: TypeAlias = Annotated[int, BeforeValidator(_priority)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Whole: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]
Units: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]


class Form(BaseModel):
    """Base of the data forms: unknown fields are refused by name, so that a misspelt one is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Work(Form):
    """What a handler is to do: a task type and its data."""

    type: Annotated[str, Field(min_length=1)]
    data: Any = None


class Fallback(Form):
    """What stands in for a node that failed: a `value`, or what another handler gives for its own data."""

    value: Any = None
    type: Annotated[str, Field(min_length=1)] | None = None
    data: Any = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Fallback:
        given = self.model_fields_set
        if ("value" in given) == ("type" in given) or ("data" in given and "type" not in given):
            raise ValueError("a fallback is either a value, or a type with data")
        return self

    @property
    def work(self) -> Work | None:
        """What another handler is to do; `None`: `value` stands in."""
        return None if self.type is None else Work(type=self.type, data=self.data)


class NodeDefinition(Form):
    """One task of a workflow. `after` are ids of nodes that it needs, beside those that its data refer to.

    What is not given (`None`) is as the workflow says, or else the task type. `deadline_seconds` count from
    the start of the workflow. `on_failure` says what its failure means for the workflow; `compensate` undoes
    it when the workflow fails later, and may refer to the node's own result.
    """

    id: NodeId
    type: Annotated[str, Field(min_length=1)]
    data: Any = None
    after: tuple[str, ...] = ()
    max_retries: Whole | None = None
    retry_delay: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)] | None = None
    timeout: Seconds | None = None
    priority: PriorityField | None = None
    tenant: str | None = None
    deadline_seconds: Seconds | None = None
    pools: dict[str, Units] = {}
    fallback: Fallback | None = None
    on_failure: OnFailure | None = None
    compensate: Work | None = None
    name: str = ""
    description: str = ""
    estimated_seconds: Seconds | None = None

    def parts(self) -> Iterator[tuple[str, Any]]:
        """(path, data) of all data that may hold references to what the node needs."""
        yield "data", self.data
        if self.fallback is not None:
            yield "fallback.value", self.fallback.value
            yield "fallback.data", self.fallback.data


class WorkflowDefinition(Form):
    """Tasks with dependencies between them. Seconds count from the start of the workflow; `budget` is in USD,
    `max_tokens` counts prompts and replies: both bind all calls of all its nodes together.

    `output` says what the workflow's result is: the result of the node it names, or an object of the results
    of several by node id. Without it, those count that no other node needs.
    """

    name: str = ""
    nodes: Annotated[tuple[NodeDefinition, ...], Field(min_length=1)]
    on_failure: OnFailure = "stop"
    deadline_seconds: Seconds | None = None
    timeout: Seconds | None = None
    budget: Annotated[Decimal, Field(ge=0, le=LARGEST_USD, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[Units, Field(le=MOST_TOKENS)] | None = None
    max_concurrent: Units | None = None
    priority: PriorityField | None = None
    tenant: str | None = None
    metadata: dict[str, Any] | None = None
    output: str | tuple[str, ...] | None = None
    description: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The data form again, without what was not given; JSON."""
        form: dict[str, Any] = self.model_dump(mode="json", exclude_unset=True)
        return form
