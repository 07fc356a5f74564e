"""One handler, run on its own: its result, the steps it recorded and the model calls it made."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from penstock.errors import TaskFailed
from penstock.manager.task_config import TaskConfig
from penstock.model.step import NOTES, StepRecord
from penstock.runtime.replies import decode_reply
from penstock.testing.simulated_provider import ProviderCall, Reply, SimulatedProvider

ONCE = TaskConfig(max_retries=0, timeout=None)


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One step as it is in the journal. `name` is what the handler called it, or method and path of a model
    call; `result` what it answers after a crash."""

    name: str
    scope: str
    result: Any


@dataclass(frozen=True, slots=True)
class HandlerRun:
    """What a handler did. `progress` are (current, total, message)."""

    result: Any
    steps: list[RecordedStep]
    calls: list[ProviderCall]
    progress: list[tuple[float, float | None, str]]

    @property
    def step_names(self) -> list[str]:
        return [step.name for step in self.steps]


async def run_handler(
    function: Callable[..., Any],
    data: Any = None,
    *,
    replies: Sequence[Reply] = (),
    provider: SimulatedProvider | None = None,
    connect: Callable[[Any], object] | None = None,
    model: type[BaseModel] | None = None,
    config: TaskConfig = ONCE,
) -> HandlerRun:
    """Run `handler(context)`, or `handler(context, data)`, as one task with its own store in memory.

    `replies` are said to its model calls (see `SimulatedProvider.say`); `connect(transport)` is called first,
    to put the handler's SDK on the gated transport. `model` validates the data as at the door. What the
    handler raises is raised here; by default it has one attempt, and no timeout.
    """
    with ExitStack() as stack:
        if provider is None:
            provider = stack.enter_context(SimulatedProvider())
        provider.say(*replies)
        calls_before = len(provider.calls)
        raised: list[Exception] = []
        progress: list[tuple[float, float | None, str]] = []
        manager = provider.manager()
        manager.register_type("handler", _watched(function, raised), data=model)
        async with manager:
            engine = manager.engine
            engine.node.on_progress = lambda task, *told: progress.append(told)
            if connect is not None:
                connect(engine.transport())
            id = await manager.submit_task("handler", data, config=config)
            try:
                result = await manager.wait_for_task(id)
            except TaskFailed:
                if raised:
                    raise raised[-1] from None
                raise
            view = await engine.get(id)
            assert view is not None
            records = await engine.read(lambda reader: reader.journal(view.seq))
        made = [one for one in records if one.kind not in NOTES]
        steps = [RecordedStep(one.key.name, one.key.scope, _value(one)) for one in made]
        return HandlerRun(result, steps, provider.calls[calls_before:], progress)


def _value(record: StepRecord) -> Any:
    if record.kind == "value":
        return json.loads(record.value)
    body = decode_reply(record.value).body
    try:
        return json.loads(body)
    except ValueError:  # a stream
        return body.decode("utf-8", "replace")


def _watched(function: Callable[..., Any], raised: list[Exception]) -> Callable[..., Any]:
    """The same function; what it raises is noted."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def watched(*args: Any) -> Any:
            try:
                return await function(*args)
            except Exception as error:
                raised.append(error)
                raise

        return watched

    @functools.wraps(function)
    def watched_plain(*args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:
            raised.append(error)
            raise

    return watched_plain
