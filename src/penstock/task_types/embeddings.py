"""Vectors of texts: in as few calls as the endpoint allows, each of them journaled."""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.llm.token_estimates import estimate_text
from penstock.model.estimate import Estimate
from penstock.task_types.gatherer import Kin, Way

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext
    from penstock.task_types.base import Toolbox

MOST_TOKENS = 250_000
"""Estimated tokens of one call; providers take some 300,000."""
SMALL_INPUTS, SMALL_TOKENS = 32, 8_000
"""What a task may ask for at most to share a call with others."""

Vector = list[float]


class Wanted(NamedTuple):
    """Which vectors: of this model, with this many numbers each (`None`: as many as the model makes)."""

    model: str
    dimensions: int | None = None


async def embed(context: TaskContext, texts: Sequence[str], wanted: Wanted, toolbox: Toolbox) -> list[Vector]:
    """One vector for each text, in order. Equal texts are sent once; batches are made side by side."""
    distinct = list(dict.fromkeys(texts))
    batches = list(in_batches(distinct, toolbox.embedding_inputs))
    if len(batches) == 1:
        made = [await _batch(context, batches[0], wanted, toolbox)]
    else:
        made = await context.gather(*(_call(context, batch, wanted, toolbox) for batch in batches))
    known = dict(zip(distinct, chain.from_iterable(made), strict=True))
    return [known[text] for text in texts]


def in_batches(texts: Iterable[str], most_inputs: int, most_tokens: int = MOST_TOKENS) -> Iterator[list[str]]:
    """The texts in order, cut where the next one would be one input or some estimated tokens too many."""
    batch: list[str] = []
    tokens = 0
    for text in texts:
        size = estimate_text(text)
        if batch and (len(batch) >= most_inputs or tokens + size > most_tokens):
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += size
    if batch:
        yield batch


def estimate_of(texts: Iterable[str], model: str) -> Estimate:
    """What embedding these texts uses."""
    return Estimate(model, sum(map(estimate_text, texts)))


async def _batch(context: TaskContext, texts: list[str], wanted: Wanted, toolbox: Toolbox) -> list[Vector]:
    """One call, shared with other tasks where that is switched on and this one is small."""
    tokens = sum(map(estimate_text, texts))
    small = len(texts) <= SMALL_INPUTS and tokens <= SMALL_TOKENS
    # A strict journal takes no call whose body depends on who else was running.
    if not small or toolbox.gather_seconds <= 0 or context.options.strict_journal:
        return await _call(context, texts, wanted, toolbox)

    async def call(all_texts: list[str]) -> list[Vector]:
        return await _call(context, all_texts, wanted, toolbox)

    async def shared(model: str, dimensions: int | None, texts: list[str]) -> list[Vector]:
        task = context.task
        kin = Kin(task.tenant, task.flow, task.priority, model, dimensions)
        way = Way(call, context.off_slot, toolbox.gather_seconds, toolbox.embedding_inputs, MOST_TOKENS)
        return await toolbox.gatherer.vectors(kin, texts, tokens, way)

    made: list[Vector] = await context.step("embed", shared, wanted.model, wanted.dimensions, texts)
    return made


async def _call(context: TaskContext, texts: list[str], wanted: Wanted, toolbox: Toolbox) -> list[Vector]:
    # Base64 is a fifth of the size on the wire and in the journal; endpoints without it send numbers.
    body: dict[str, Any] = {"model": wanted.model, "input": texts, "encoding_format": "base64"}
    if wanted.dimensions is not None:
        body["dimensions"] = wanted.dimensions
    with context.validating(lambda reply: _check(reply, len(texts), wanted.dimensions)):
        reply = await toolbox.client().post("/v1/embeddings", body)
    return vectors_of(reply.body, len(texts))


def _check(reply: Any, count: int, dimensions: int | None) -> None:
    lengths = {len(vector) for vector in vectors_of(reply, count)}
    if len(lengths) != 1 or (dimensions is not None and lengths != {dimensions}):
        wanted = dimensions or "equally many"
        raise ValueError(f"its vectors have {sorted(lengths)} numbers, wanted are {wanted}")


def vectors_of(reply: Any, count: int) -> list[Vector]:
    """The vectors in the reply of an endpoint, in the order of the inputs; `ValueError` when it is none."""
    data = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(data, list) or len(data) != count or not all(isinstance(one, dict) for one in data):
        raise ValueError(f"it does not hold one embedding for each of the {count} texts")
    places = [one.get("index", place) for place, one in enumerate(data)]
    if sorted(places, key=str) != sorted(range(count), key=str):
        raise ValueError("its embeddings are not numbered from 0")
    found = dict(zip(places, data, strict=True))
    return [_vector(found[place].get("embedding")) for place in range(count)]


def _vector(value: Any) -> Vector:
    numbers: array[float]
    try:
        if isinstance(value, str):
            numbers = array("f", base64.b64decode(value, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
        else:
            numbers = array("d", value)
    except (TypeError, ValueError):
        raise ValueError("an embedding is neither numbers nor base64") from None
    if not numbers or not math.isfinite(sum(numbers)):
        raise ValueError("an embedding is empty or holds what is no number")
    return numbers.tolist()
