"""What a graph asks a person, and the answers: interrupts and breakpoints as durable waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph import types

from penstock.integrations.langgraph.plain import plain
from penstock.model.json_text import json_text
from penstock.model.waits import EVENT, INTERRUPT
from penstock.runtime.context import TaskContext

RESUME = "__resume__"

_LONGEST = 8_000
_DECISION = {"approved", "by", "comment", "data"}


@dataclass(frozen=True, slots=True)
class Question:
    """One interrupt; a `breakpoint` takes any answer as the word to go on."""

    id: str
    value: Any
    node: str = ""
    breakpoint: bool = False
    refused: str = ""

    @classmethod
    def at_breakpoint(cls, snapshot: Any) -> Question:
        """Whether the graph may go on from where it was told to stop."""
        id = snapshot.config["configurable"]["checkpoint_id"]
        return cls(id, {"before": list(snapshot.next)}, ", ".join(snapshot.next), breakpoint=True)

    @property
    def event(self) -> str:
        return INTERRUPT + self.id

    @property
    def text(self) -> str:
        """What a person is shown, as JSON."""
        asked = self.value if isinstance(self.value, str) else json_text(self.value)
        details = {"node": self.node, "interrupt": self.id, "value": self.value}
        if self.breakpoint:
            asked, details["breakpoint"] = f"Go on with {self.node}?", True
        if self.refused:
            details["refused"] = self.refused[:_LONGEST]
        if len(json_text(details)) > _LONGEST:
            details["value"] = json_text(self.value)[:_LONGEST] + "..."
        return json_text({"question": asked[:_LONGEST], "details": details})


async def ask(context: TaskContext, questions: list[Question], tries: Counter[str]) -> dict[str, Any]:
    """The answers by the ids of the questions; the task waits, suspended, until all are there. `tries` are
    the answers that were refused in this attempt."""
    await withdraw_others(context, questions)

    async def one(question: Question) -> Any:
        again = f"/{count}" if (count := tries[question.id]) else ""
        with context.inside(f"ask/{question.id}{again}"):
            return _value((await context.event(question.event, question=question.text))["data"])

    if len(questions) == 1:
        return {questions[0].id: await one(questions[0])}
    answers = await context.gather(*(one(question) for question in questions))
    return {question.id: answer for question, answer in zip(questions, answers, strict=True)}


async def withdraw_others(context: TaskContext, questions: Sequence[Question] = ()) -> None:
    """Ask nobody any more what an earlier attempt asked, but for these: the thread was edited meanwhile."""
    task, asked = context.task, {question.event for question in questions}
    for wait in await context.services.committer.read(lambda reader: reader.awaits(task.seq)):
        event = wait.what.removeprefix(EVENT)
        if event.startswith(INTERRUPT) and event not in asked:
            context.no_longer_waits(wait.what)


def _value(data: Any) -> Any:
    """A decision on the question stands for what came with it, or for yes or no."""
    if isinstance(data, dict) and data.keys() == _DECISION:
        return data["approved"] if data["data"] is None else data["data"]
    return data


async def unanswered(snapshot: Any, saver: Any, refused: str = "") -> list[Question]:
    """The interrupts of a thread that still wait for an answer.

    LangGraph lists the last interrupt of a node until the node ends, also when its answer was taken and the
    node crashed behind it; given once more, the answer would be that of the node's next interrupt.
    """
    found: list[Question] = []
    place = snapshot.config.get("configurable", {})
    resumed: dict[str, list[Any]] | None = None
    for task in snapshot.tasks:
        inner = task.state
        if isinstance(inner, types.StateSnapshot) and inner.interrupts:
            found += await unanswered(inner, saver, refused)
            continue
        if not task.interrupts:
            continue
        if resumed is None:
            resumed = await _resumed(saver, snapshot.config)
        outer = place.get("checkpoint_ns", "")
        namespace = f"{outer}|{task.name}:{task.id}" if outer else f"{task.name}:{task.id}"
        taken = {_id(namespace, count) for count in range(len(resumed.get(task.id, ())))}
        found += [
            Question(one.id, plain(one.value), task.name, refused=refused)
            for one in task.interrupts
            if one.id not in taken
        ]
    return found


async def _resumed(saver: Any, config: Any) -> dict[str, list[Any]]:
    """The answers that tasks of a superstep have taken, by their ids."""
    saved = await saver.aget_tuple(config)
    answers: dict[str, list[Any]] = {}
    for task_id, channel, value in (saved and saved.pending_writes) or ():
        if channel == RESUME:
            answers[task_id] = value if isinstance(value, list) else [value]
    return answers


def _id(namespace: str, count: int) -> str:
    """The id of the interrupt of a node that follows `count` answered ones."""
    make = getattr(types, "_interrupt_id", None)  # its own, and not promised to stay
    return "" if make is None else str(make(namespace, count))
