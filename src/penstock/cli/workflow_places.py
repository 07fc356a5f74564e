"""Where workflows are: in a store, or behind a server. Both tell the same."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from urllib.parse import quote

from penstock.cli.choosing import find_task
from penstock.cli.remote import Remote
from penstock.cli.show_text import iso, usd
from penstock.cli.stores import writing
from penstock.errors import ConfigurationError, InvalidWorkflow, TaskNotFound
from penstock.model.group import MemberView
from penstock.model.task import Added, Existing, TaskView
from penstock.stores.contract import Reader, Store, Transaction

if TYPE_CHECKING:
    from penstock.manager.engine import Manager
    from penstock.workflows.definition import WorkflowDefinition

Kind = Literal["json", "text", "svg"]
TYPE = "workflow"


class Place(Protocol):
    """Where a workflow is run and looked at; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def run(self, form: Any, key: str | None) -> str:
        """Start it; its id."""

    def look(self, id: str) -> dict[str, Any]:
        """How far it is: workflow, name, status, total, done, open, by_status, result, error, ..."""

    def nodes(self, id: str) -> list[dict[str, Any]]:
        """Every node: node, task_id, task_type, status, times, cost_usd, error."""

    def analysis(self, id: str, kind: Kind) -> str:
        """What took its time."""

    def budget(self, id: str) -> dict[str, Any]:
        """What it may use in all and what was booked: workflow, budget, spent, uncertain (US dollars),
        max_tokens, tokens, uncertain_tokens."""

    def adjust_budget(self, id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change `budget` or `max_tokens`; how it stands then."""


class There(Remote):
    """Behind a server."""

    def __enter__(self) -> Self:
        return self

    def run(self, form: Any, key: str | None) -> str:
        headers = {} if key is None else {"idempotency-key": key}
        return str(self.ask("POST", "/workflows", form, headers)["task_id"])

    def look(self, id: str) -> dict[str, Any]:
        told: dict[str, Any] = self.ask("GET", f"/workflows/{quote(id, safe='')}")
        if told["status"] is None:
            raise TaskNotFound(f"{id} is no workflow that has nodes", id)
        return told

    def nodes(self, id: str) -> list[dict[str, Any]]:
        return self.pages(f"/workflows/{quote(id, safe='')}/nodes?limit=1000")

    def analysis(self, id: str, kind: Kind) -> str:
        text = self.text(f"/workflows/{quote(id, safe='')}/analysis?format={kind}")
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if kind == "json" else text

    def budget(self, id: str) -> dict[str, Any]:
        told: dict[str, Any] = self.ask("GET", f"/workflows/{quote(id, safe='')}/budget")
        return told

    def adjust_budget(self, id: str, changes: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = self.ask("PATCH", f"/workflows/{quote(id, safe='')}/budget", changes)
        return told


class Here:
    """In a store that some process dispatches, or will."""

    def __init__(self, path: str | None) -> None:
        self._context: AbstractContextManager[Store] = writing(path)

    def __enter__(self) -> Self:
        self._store = self._context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def run(self, form: Any, key: str | None) -> str:
        from penstock.manager.workflow_runs import submission_of
        from penstock.runtime.reranking import policy_for

        engine = scratch_engine(form)
        engine.ranker.use(policy_for(self._store, engine.settings))
        definition = read_here(engine, form)
        task = engine.prepare(submission_of(definition, idempotency_key=key))
        (outcome,) = self._store.run(lambda tx: tx.add([task]))
        if isinstance(outcome, Added | Existing):
            return outcome.id
        raise outcome

    def look(self, id: str) -> dict[str, Any]:
        return self._store.read(lambda reader: _progress(reader, _leader(reader, id)))

    def nodes(self, id: str) -> list[dict[str, Any]]:
        found = self._store.read(lambda reader: reader.members(_leader(reader, id).seq))
        return [_node(one) for one in found]

    def analysis(self, id: str, kind: Kind) -> str:
        from penstock.manager.workflow_views import analysis_of

        found = self._store.read(lambda reader: analysis_of(reader, _leader(reader, id), time.time()))
        if kind == "json":
            return json.dumps(found.as_dict(), indent=2, ensure_ascii=False)
        return found.as_text() if kind == "text" else found.as_svg()

    def budget(self, id: str) -> dict[str, Any]:
        from penstock.manager.workflow_views import WorkflowSpending, spending_of

        def look(reader: Reader) -> dict[str, Any]:
            leader = _leader(reader, id)
            told = spending_of(reader, leader) or WorkflowSpending.nothing()
            return {"workflow": leader.id, **told.as_dict()}

        return self._store.read(look)

    def adjust_budget(self, id: str, changes: dict[str, Any]) -> dict[str, Any]:
        from penstock.manager.unset import UNSET
        from penstock.manager.workflow_budgets import BudgetChange

        change = BudgetChange.read(changes.get("budget", UNSET), changes.get("max_tokens", UNSET))

        def make(tx: Transaction) -> dict[str, Any]:
            leader = _leader(tx, id)
            return {"workflow": leader.id, **change.make(tx, leader.id, time.time())[0].as_dict()}

        return self._store.run(make)


@dataclass(frozen=True, slots=True)
class Sound:
    """A workflow with which nothing is wrong. `deepest` is the longest chain of nodes."""

    name: str
    needs: dict[str, tuple[str, ...]]

    @property
    def deepest(self) -> int:
        from penstock.workflows.cycles import in_order

        depth: dict[str, int] = {}
        for node in in_order(self.needs):
            depth[node] = 1 + max((depth[one] for one in self.needs[node]), default=0)
        return max(depth.values(), default=0)


def checked(form: Any) -> tuple[Sound, list[str]]:
    """The workflow, and those of its types that are not built in. Raises `ConfigurationError` with all that
    is wrong, a line each."""
    from penstock.workflows.compiling import needs

    engine = scratch_engine(None)
    foreign = sorted(set(_types(form)) - engine.handlers.types)
    definition = read_here(scratch_engine(form), form)
    return Sound(definition.name, {node.id: needs(node) for node in definition.nodes}), foreign


def scratch_engine(form: Any) -> Manager:
    """A manager that checks built-in types as the dispatching process would, and takes those of others that
    this workflow names as they are."""
    from penstock.manager.ai_task_manager import AITaskManager
    from penstock.manager.client import APIConfig, OpenAICompatibleClient

    engine = AITaskManager(OpenAICompatibleClient(APIConfig("")), store="memory").engine
    for type in dict.fromkeys(_types(form)):
        if type not in engine.handlers:
            engine.register(type, lambda context: None)
    return engine


def read_here(engine: Manager, form: Any) -> WorkflowDefinition:
    """The definition; raises `ConfigurationError` with all that is wrong, a line each."""
    try:
        return engine.workflows.read(form)
    except InvalidWorkflow as error:
        raise ConfigurationError(f"this is no workflow:\n{error.text}") from None


def _types(form: Any) -> Iterator[str]:
    """The types that it names, as far as they can be read."""
    nodes = form.get("nodes") if isinstance(form, dict) else None
    for node in nodes if isinstance(nodes, list) else ():
        works = [node, node.get("fallback"), node.get("compensate")] if isinstance(node, dict) else []
        for work in works:
            if isinstance(work, dict) and isinstance(type := work.get("type"), str) and type:
                yield type
                if type == TYPE:
                    yield from _types(work.get("data"))


def _leader(reader: Reader, text: str) -> TaskView:
    task = find_task(reader, text)
    if task.type != TYPE:
        raise TaskNotFound(f"task {task.id} is no workflow but a {task.type}", task.id)
    return task


def _progress(reader: Reader, leader: TaskView) -> dict[str, Any]:
    from penstock.manager.workflow_views import progress_of

    progress = progress_of(reader, leader)
    error = (leader.error or {}) if leader.status.final else {}
    name = leader.metadata.get("name") if isinstance(leader.metadata, dict) else None
    return {
        "workflow": leader.id,
        "name": name or TYPE,
        "status": leader.status.value,
        "total": progress.total,
        "done": progress.total - progress.open,
        "open": progress.open,
        "progress": progress.fraction,
        "by_status": {one: getattr(progress, one) for one in ("completed", "failed", "cancelled")},
        "stopped_by": progress.stopped_by,
        "created_at": iso(leader.created_at),
        "started_at": iso(leader.started_at),
        "completed_at": iso(leader.finished_at),
        "result": leader.result,
        "error": error.get("message"),
        "error_code": error.get("code"),
    }


def _node(one: MemberView) -> dict[str, Any]:
    error = {} if one.error is None else json.loads(one.error)
    return {
        "node": one.node,
        "task_id": one.id,
        "task_type": one.type,
        "status": one.status.value,
        "attempts": one.attempt,
        "created_at": iso(one.created_at),
        "freed_at": iso(one.freed_at),
        "started_at": iso(one.started_at),
        "completed_at": iso(one.finished_at),
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": usd(one.cost),
        "error": error.get("message"),
        "error_code": error.get("code"),
    }
