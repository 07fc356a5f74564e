"""Graphs as task types: queued, limited, journaled, resumed after a crash, answered by people."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from langgraph.types import Durability, StreamMode
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.errors import ConfigurationError, InvalidTask, TaskNotFound
from penstock.integrations.langgraph.access import TURNS, engine_of, in_a_moment
from penstock.integrations.langgraph.graph_copy import copy_with
from penstock.integrations.langgraph.graph_questions import unanswered
from penstock.integrations.langgraph.graph_run import GraphOptions, GraphRun
from penstock.integrations.langgraph.graph_threads import check_thread, thread_of, turn
from penstock.integrations.langgraph.saver import PenstockSaver
from penstock.integrations.langgraph.unsaved import mend
from penstock.manager.engine import Manager
from penstock.model.states import TaskStatus
from penstock.model.task import TaskView
from penstock.model.waits import EVENT, INTERRUPT
from penstock.runtime.capture import install
from penstock.runtime.context import TaskContext
from penstock.runtime.position import current_position
from penstock.task_types.base import wrong_fields

# In seconds, for a graph that is about to ask.
PATIENCE = 2.0

_THREAD = "thread"

OURS = ("checkpoint_id", "checkpoint_ns", "checkpoint_map")


class GraphData(BaseModel):
    """Data of a task that runs a graph: its input, and optionally thread, config and context.

    Of LangGraph's config `configurable`, `recursion_limit`, `max_concurrency`, `tags`, `metadata` and
    `run_name` are taken.
    """

    model_config = ConfigDict(extra="forbid")

    input: Any = None
    thread_id: str | None = None
    config: dict[str, Any] = {}
    context: Any = None


class GraphTask:
    """A graph as a task type; what `add_graph` gives. Called with a context it is the type's handler."""

    def __init__(self, name: str, graph: Any, saver: Any, options: GraphOptions) -> None:
        self.name = name
        self.options = options
        install()
        mend()
        self._graph = copy_with(graph, saver)
        self._saver = self._graph.checkpointer

    async def __call__(self, context: TaskContext) -> Any:
        """Run the graph to its end, from where its thread stands."""
        data: Mapping[str, Any] = context.data or {}
        run = GraphRun(context, self._graph, self._saver, self.options, data)
        named = data.get("thread_id")
        if named is None and not context.task.journaled:
            return await run.result(thread_of(context.tenant, context.task_id), True, _naming(context))
        if named is None:
            return await run.result(await self._own_thread(context), own=True)
        thread = thread_of(context.tenant, str(named))
        async with turn(context, self._saver, thread):
            return await run.result(thread, own=False)

    async def _own_thread(self, context: TaskContext) -> str:
        """The task's own thread. A retry, and a fork, have the journal of another task, and so its name here:
        they go on with a copy of its thread."""
        id, tenant = context.task_id, context.tenant
        first = str(await context.step(_THREAD, _text(id), key=""))
        own, origin = thread_of(tenant, id), thread_of(tenant, first)
        if origin == own or (await self.state(id, tenant=tenant)).created_at is not None:
            return own
        try:
            await self._saver.acopy_thread(origin, own)
        except NotImplementedError:  # not every checkpointer can
            return origin
        return own

    def check(self, given: Any) -> dict[str, Any]:
        """The data of a submission as it is kept; raises `InvalidTask`."""
        try:
            data = GraphData.model_validate({} if given is None else given)
        except ValidationError as error:
            raise InvalidTask(wrong_fields(self.name, error)) from None
        known = {"configurable", "recursion_limit", "max_concurrency", "tags", "metadata", "run_name"}
        if strange := sorted(data.config.keys() - known):
            raise InvalidTask(
                f"data of {self.name}: config: {strange[0]!r} is none of {', '.join(sorted(known))}"
            )
        configurable = data.config.get("configurable") or {}
        if taken := [name for name in configurable if name in OURS or str(name).startswith("__pregel")]:
            raise InvalidTask(f"data of {self.name}: config: {taken[0]} is for the task to say")
        if "thread_id" in configurable:
            if data.thread_id not in (None, configurable["thread_id"]):
                raise InvalidTask(f"data of {self.name}: thread_id and that of config differ")
            data.thread_id = str(configurable["thread_id"])
        if data.thread_id is not None:
            check_thread(self.name, data.thread_id)
        return data.model_dump(mode="json", exclude_defaults=True)

    async def state(self, thread_id: str, *, tenant: str = "", subgraphs: bool = False) -> Any:
        """LangGraph's snapshot of a thread as it stands; its `created_at` is `None` when there is none."""
        return await self._graph.aget_state(_config_of(tenant, thread_id), subgraphs=subgraphs)

    def history(self, thread_id: str, limit: int | None = None, *, tenant: str = "") -> AsyncIterator[Any]:
        """The snapshots of a thread, newest first."""
        config = _config_of(tenant, thread_id)
        states: AsyncIterator[Any] = self._graph.aget_state_history(config, limit=limit)
        return states

    async def pending(self, thread_id: str, *, tenant: str = "") -> dict[str, Any]:
        """What a thread asks and nobody has answered: the values of its interrupts by their ids."""
        snapshot = await self.state(thread_id, tenant=tenant, subgraphs=True)
        if not snapshot.interrupts:
            return {}
        return {one.id: one.value for one in await unanswered(snapshot, self._saver)}


def add_graph(
    manager: Any,
    name: str,
    graph: Any,
    options: GraphOptions | None = None,
    *,
    checkpointer: Any = None,
    **details: Any,
) -> GraphTask:
    """Make a compiled graph a task type of this manager.

    research = add_graph(manager, "research", graph)
    id = await manager.submit_task("research", {"input": {"topic": "tides"}})

    Its thread is the task's id unless the data name a `thread_id`. The graph itself is not changed: a copy
    runs with a `PenstockSaver` on the manager's store, or with `checkpointer`, which has to be asynchronous;
    "own" is the one that the graph was compiled with. `details` are fields of `GraphOptions` (`stream_modes`,
    `durability`, `recursion_limit`, ...) and, as for other task types, `options` for its tasks (as
    `task_options`), `model`, `pools` and `estimate`.
    """
    settled, rest = _settled(options or GraphOptions(), details)
    if not callable(getattr(graph, "astream", None)) or not callable(getattr(graph, "copy", None)):
        raise ConfigurationError(
            f"a compiled graph is needed (builder.compile()), not {type(graph).__name__}"
        )
    engine = engine_of(manager)
    task = GraphTask(name, graph, _saver(manager, graph, checkpointer), settled)
    engine.register(name, task, run="async", check=task.check, **rest)
    return task


async def resume_graph(manager: Any, task_id: str, value: Any, interrupt_id: str | None = None) -> str:
    """Answer what a graph asks; the id of the interrupt that was answered.

    `interrupt_id` is needed when it asks several things at once. Raises `InvalidTask` when it asks nothing,
    or nothing of that id, and `TaskNotFound`. It sends the event `interrupt:ID`, as `send_event` does.
    """
    engine = engine_of(manager)
    view, asked = _asked(engine, task_id)
    begun = time.monotonic()
    # A question stands in the thread, and so in `pending`, a moment before the task waits for its answer.
    while (
        (not asked if interrupt_id is None else interrupt_id not in asked)
        and time.monotonic() - begun < PATIENCE
        and await _about_to_ask(engine, view, interrupt_id)
    ):
        await asyncio.sleep(0.02)
        view, asked = _asked(engine, task_id)
    if interrupt_id is None and len(asked) == 1:
        interrupt_id = asked[0]
    if interrupt_id is None or interrupt_id not in asked:
        what = "nothing" if not asked else f"{', '.join(asked)}; say which by interrupt_id"
        raise InvalidTask(f"task {view.id} asks {what}")
    sent = manager.send_event(view.id, INTERRUPT + interrupt_id, value)
    if inspect.isawaitable(sent):  # not with a synchronous manager
        await sent
    return interrupt_id


def _asked(engine: Manager, task_id: str) -> tuple[TaskView, list[str]]:
    """A task, and the ids of the interrupts for whose answers it waits."""
    view = engine.peek(lambda reader: reader.task(task_id))
    if view is None:
        raise TaskNotFound(f"there is no task {task_id}", task_id)
    waits = engine.peek(lambda reader: reader.awaits(view.seq))
    prefix = EVENT + INTERRUPT
    return view, [one.what.removeprefix(prefix) for one in waits if one.what.startswith(prefix)]


async def _about_to_ask(engine: Manager, view: TaskView, interrupt_id: str | None) -> bool:
    """Whether the thread of a running task shows a question (this one, if given)."""
    task = engine.handlers[view.type].function if view.type in engine.handlers else None
    if view.status is not TaskStatus.RUNNING or not isinstance(task, GraphTask):
        return False
    given = view.payload if isinstance(view.payload, dict) else {}
    pending = await task.pending(given.get("thread_id") or view.id, tenant=view.tenant)
    return bool(pending) if interrupt_id is None else interrupt_id in pending


def current_task() -> TaskContext:
    """The task that runs the graph of the calling node: for steps, progress and child tasks in nodes. Raises
    `ConfigurationError` outside of any task."""
    position = current_position()
    if position is None:
        raise ConfigurationError("no task runs this code; current_task() is for nodes of graphs run as tasks")
    return position.context


async def state(manager: Any, thread_id: str, type: str | None = None, *, tenant: str = "") -> Any:
    """LangGraph's snapshot of a thread: the own one of the task of that id, or one of the task type `type`
    and the tenant."""
    engine = engine_of(manager)
    if type is None:
        view = await engine.get(thread_id)
        if view is None:
            raise TaskNotFound(f"no task has the id {thread_id}; name the task type of the thread", thread_id)
        thread_id, type, tenant = view.id, view.type, view.tenant
    task = engine.handlers[type].function
    if not isinstance(task, GraphTask):
        raise ConfigurationError(f"task type {type!r} runs no graph")
    return await task.state(thread_id, tenant=tenant)


def _saver(manager: Any, graph: Any, checkpointer: Any) -> Any:
    if checkpointer is None:
        return PenstockSaver(manager)
    if checkpointer != "own":
        return checkpointer
    own = getattr(graph, "checkpointer", None)
    if own is None or isinstance(own, bool):
        raise ConfigurationError(
            "the graph was compiled without a checkpointer; leave checkpointer='own' out"
        )
    return own


def _settled(options: GraphOptions, details: dict[str, Any]) -> tuple[GraphOptions, dict[str, Any]]:
    """Options of the graph, and details of the task type."""
    mine = {name: details.pop(name) for name in GraphOptions.__dataclass_fields__ if name in details}
    modes: Any = mine.get("stream_modes", options.stream_modes)
    mine["stream_modes"] = (modes,) if isinstance(modes, str) else tuple(modes)
    options = replace(options, **mine)
    _check_words("stream_modes", options.stream_modes, get_args(StreamMode))
    _check_words("durability", [options.durability], [one for one in get_args(Durability) if one != "exit"])
    if "task_options" in details:
        details["options"] = details.pop("task_options")
    if "pools" in details:
        details["pools"] = tuple(sorted(dict(details["pools"]).items()))
    if strange := sorted(details.keys() - {"options", "model", "pools", "estimate", "version"}):
        raise ConfigurationError(f"add_graph takes no {strange[0]!r}")
    return options, details


def _check_words(name: str, words: Sequence[str], known: Sequence[str]) -> None:
    if strange := [word for word in words if word not in known]:
        raise ConfigurationError(f"{name}: {strange[0]!r} is none of {', '.join(known)}")


def _config_of(tenant: str, thread_id: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread_of(tenant, thread_id)}}


def _naming(context: TaskContext) -> Callable[[], object]:
    """Writes down, with the thread's first checkpoint, whose thread it is: what the step of `_own_thread`
    answers in a retry or a fork."""
    key, loop = context.step_key(_THREAD, (), {}, ""), context.services.loop
    send = partial(context.recorder.send, key, json.dumps(context.task_id).encode())
    return lambda: loop.call_soon_threadsafe(in_a_moment, loop, send, TURNS - 1)


def _text(text: str) -> Callable[[], Any]:
    async def get() -> str:
        return text

    return get
