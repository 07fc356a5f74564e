"""One attempt of a task that runs a graph: from where its thread stands to the end of the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.config import get_config
from langgraph.errors import GraphRecursionError, is_invalid_resume
from langgraph.types import Command

from penstock.errors import JournalMismatch, RecursionLimit
from penstock.integrations.langgraph.graph_copy import for_one_run, unknown_nodes
from penstock.integrations.langgraph.graph_events import GraphEvents
from penstock.integrations.langgraph.graph_questions import Question, ask, unanswered, withdraw_others
from penstock.integrations.langgraph.plain import plain
from penstock.integrations.langgraph.watched_saver import Watch, watched
from penstock.runtime.capture import capturing
from penstock.runtime.context import TaskContext


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """How graphs run as tasks. `stream_modes`: what of LangGraph's stream becomes events of the task.

    `durability`: "sync" saves each checkpoint before the next step begins, so that a crash repeats no call
    that was answered; "async" saves it beside the next step. `most_event_bytes` bounds one event,
    `most_events` those of one attempt.
    """

    stream_modes: tuple[str, ...] = ("updates",)
    durability: str = "sync"
    recursion_limit: int | None = None
    most_event_bytes: int = 8_000
    most_events: int = 2_000


class GraphRun:
    """Runs a graph on a thread of its checkpointer. What to do is read from the thread, so a crash anywhere
    is followed by the same."""

    def __init__(
        self, context: TaskContext, graph: Any, saver: Any, options: GraphOptions, data: Mapping[str, Any]
    ) -> None:
        twin, self._watch = watched(saver)
        self._context = context
        self._graph = for_one_run(graph, twin)
        self._saver = twin
        self._options = options
        self._data = data
        self._config: dict[str, Any] = {}
        self._final: Any = None
        self._tries: Counter[str] = Counter()
        self._events = GraphEvents(context, options.most_event_bytes, options.most_events)

    async def result(self, thread: str, own: bool, first: Callable[[], object] | None = None) -> Any:
        """The final state, as JSON. `own`: the thread is this task's alone. `first`: it is also a new one,
        and this is to be called before its first checkpoint is saved."""
        self._config = _config(self._data.get("config") or {}, thread, self._context.task_id, self._options)
        try:
            if first is not None:
                self._watch.begins(thread, first)
            given = self._data.get("input") if first is not None else await self._first(own)
            while (questions := await self._run(given)) is not None:
                given = await self._answers(questions)
        except BaseException:
            self._events.flush()
            raise
        self._events.end()
        return self._values()

    async def _first(self, own: bool) -> Any:
        snapshot = await self._graph.aget_state(self._config)
        if snapshot.created_at is None or not (own or await self._begun(snapshot)):
            return self._data.get("input")
        if snapshot.interrupts and (questions := await self._unanswered()):
            return await self._answers(questions)
        if await self._paused(snapshot):
            return await self._answers([Question.at_breakpoint(snapshot)])
        await self._check_nodes()
        await withdraw_others(self._context)
        return None

    async def _check_nodes(self) -> None:
        """LangGraph leaves out nodes that the graph no longer has, and would end as if all were done."""
        saved = await self._saver.aget_tuple(self._config)
        if gone := unknown_nodes(self._graph, saved.checkpoint["channel_values"]):
            raise JournalMismatch(
                f"the thread goes on with {', '.join(map(repr, gone))}, and the graph has no such node; "
                f"its nodes are {', '.join(sorted(self._graph.nodes))}. Bring the node back, or register the "
                "changed graph with another version="
            )

    async def _begun(self, snapshot: Any) -> bool:
        """Whether this task has begun on a thread that others had before it."""
        mine = {"run_id": self._context.task_id}
        if snapshot.metadata and snapshot.metadata.get("run_id") == mine["run_id"]:
            return True
        thread = {"configurable": {"thread_id": self._config["configurable"]["thread_id"]}}
        async for _ in self._saver.alist(thread, filter=mine, limit=1):
            return True
        return False

    async def _run(self, given: Any) -> list[Question] | None:
        """Run the graph until it ends (`None`) or asks."""
        try:
            with capturing(self._watch.settled), self._context.inside("graph", _narrowing(self._watch)):
                await self._stream(given)
        except GraphRecursionError as error:
            raise RecursionLimit(str(error)) from error
        except Exception as error:
            if not is_invalid_resume(error):
                raise
            questions = await self._unanswered(refused=str(error))
            self._tries.update(question.id for question in questions)
            return questions
        snapshot = await self._graph.aget_state(self._config)
        if snapshot.interrupts:
            return await self._unanswered()
        if not snapshot.next:
            self._final = snapshot.values
            return None
        await self._pause(snapshot)
        return [Question.at_breakpoint(snapshot)]

    async def _stream(self, given: Any) -> None:
        modes = list(self._options.stream_modes) or ["custom"]
        stream = self._graph.astream(
            given,
            self._config,
            context=self._data.get("context"),
            stream_mode=modes,
            durability=self._options.durability,
            subgraphs=True,
        )
        async for namespace, mode, part in stream:
            if self._options.stream_modes:
                self._events.tell(namespace, mode, part)

    async def _unanswered(self, refused: str = "") -> list[Question]:
        snapshot = await self._graph.aget_state(self._config, subgraphs=True)
        return await unanswered(snapshot, self._saver, refused)

    async def _answers(self, questions: list[Question]) -> Any:
        """What the graph goes on with, once people have answered all that it asks."""
        self._watch.others_may_save()
        if not questions:
            return None
        self._events.flush()
        answers = await ask(self._context, questions, self._tries)
        # Nodes that asked run again from their tops, and what they had paid for answers from the journal.
        self._context.recorder.reread()
        resume = {question.id: answers[question.id] for question in questions if not question.breakpoint}
        return Command(resume=resume) if resume else None

    # A breakpoint (`interrupt_before`, `interrupt_after`) leaves no trace in the thread: its state is that of
    # a graph that crashed there. So the journal says that the graph came to it.

    async def _pause(self, snapshot: Any) -> None:
        with self._context.inside(_pause_scope(snapshot)):
            await self._context.step("paused", lambda: True, key="")

    async def _paused(self, snapshot: Any) -> bool:
        with self._context.inside(_pause_scope(snapshot)):
            key = self._context.step_key("paused", (), {}, "")
            return await self._context.recorder.find(key) is not None

    def _values(self) -> Any:
        values, shown = self._final, self._graph.output_channels
        if isinstance(values, dict) and not isinstance(shown, str):
            values = {name: values[name] for name in shown if name in values}
        return plain(values)


def _pause_scope(snapshot: Any) -> str:
    return f"pause/{snapshot.config['configurable']['checkpoint_id']}"


def _config(given: Mapping[str, Any], thread: str, task_id: str, options: GraphOptions) -> dict[str, Any]:
    """LangGraph's config of the run; checkpoints bear the task's id as their `run_id`."""
    limit = options.recursion_limit
    config: dict[str, Any] = {**({} if limit is None else {"recursion_limit": limit}), **given}
    config["metadata"] = {**(given.get("metadata") or {}), "run_id": task_id}
    config["configurable"] = {**(given.get("configurable") or {}), "thread_id": thread}
    return config


def _narrowing(watch: Watch) -> Any:
    """Names the node whose code runs, as a part of the journal's scope."""

    def narrow() -> str:
        try:
            config = get_config()
        except RuntimeError:
            return ""  # between nodes
        namespace = config.get("configurable", {}).get("checkpoint_ns", "")
        if not namespace:
            return ""
        path = (config.get("metadata") or {}).get("langgraph_path", ())
        return "/" + watch.scope(namespace, _depth(path))

    return narrow


def _depth(path: Any) -> int:
    """How many pieces of a namespace belong to one graph: a `@task` called by an entrypoint or by another
    `@task` has the path of its caller in its own."""
    depth = 1
    while isinstance(path, tuple | list) and len(path) > 1 and isinstance(path[1], tuple | list):
        depth, path = depth + 1, path[1]
    return depth
