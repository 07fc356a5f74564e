"""`penstock fork`: a copy of a task that goes on from before one of its steps."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from penstock.cli.choosing import IdArgument, find_task
from penstock.cli.show_text import print_json
from penstock.cli.stores import JsonOption, StoreOption, writing
from penstock.cli.submit import read_data
from penstock.model.task import TaskView
from penstock.model.task_type import TaskType
from penstock.stores.contract import Transaction

WORKFLOW = "workflow"


def fork(
    id: IdArgument,
    step: Annotated[
        str,
        typer.Option(
            "--step",
            help="The first step to make again: its number in `penstock show`, or its name; of a workflow "
            "the node from which on it runs anew.",
        ),
    ],
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Other data: JSON, @FILE, or - for standard input.")
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Add a copy of a task, running or not, that has its recorded steps up to but without one.

    The task itself goes on as it is.
    """
    given = None if data is None else read_data(data)
    with writing(store) as opened:
        old, new = opened.run(lambda tx: _fork(tx, id, step, given))
    if json:
        print_json({"id": old, "forked_as": new})
    else:
        typer.echo(f"{old} is forked as {new}")


def _fork(transaction: Transaction, text: str, step: str, data: Any) -> tuple[str, str]:
    from penstock.manager.forking import fork_of
    from penstock.runtime.ranking import Ranker
    from penstock.runtime.reranking import told_last

    old = find_task(transaction, text)
    if data is not None:
        _check(old, data)
    now = time.time()
    task = fork_of(transaction, old.id, _which(old, step), data, now)
    Ranker(told_last(transaction).policy()).enter(task, 0.0, 0.0, now)
    (outcome,) = transaction.add([task])
    if isinstance(outcome, BaseException):
        raise outcome
    return old.id, task.id


def _which(task: TaskView, step: str) -> int | str:
    """A number, unless a step has it for a name. A workflow's are its nodes."""
    if task.type == WORKFLOW:
        return step
    named = any(one["name"] == step for one in task.steps)
    return step if named or not step.isdecimal() else int(step)


def _check(task: TaskView, data: Any) -> None:
    """Check data of built-in types; those of types made elsewhere are taken as they are."""
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.client import APIConfig, OpenAICompatibleClient

    if task.type in set(TaskType):
        engine = AITaskManager(OpenAICompatibleClient(APIConfig("")), store="memory").engine
        engine.handlers[task.type].check(data)
