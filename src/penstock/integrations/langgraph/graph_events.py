"""What a graph streams, as events of its task: kind `graph`, of bounded size and number."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from penstock.integrations.langgraph.plain import plain
from penstock.model.json_text import json_text
from penstock.model.task import Notice
from penstock.runtime.context import TaskContext

SECONDS_BETWEEN = 0.1
KIND = "graph"


class GraphEvents:
    """Writes what a graph streams in batches, one transaction each; pieces of one message that follow each
    other become one event. Used on the loop's thread."""

    def __init__(self, context: TaskContext, most_bytes: int, most_events: int) -> None:
        self._task = context.task
        self._services = context.services
        self._most_bytes = most_bytes
        self._left = most_events
        self._pending: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, namespace: tuple[str, ...], mode: str, data: Any) -> None:
        """One part of the stream: `mode` is one of LangGraph's stream modes, `namespace` the path of the
        subgraph that it comes from."""
        event: dict[str, Any] = {"mode": mode}
        if namespace:
            event["path"] = list(namespace)
        if mode == "messages":
            chunk, metadata = data
            event |= {"node": metadata.get("langgraph_node"), "id": chunk.id, "data": plain(chunk)}
            if self._continues(event):
                return
        else:
            event["data"] = plain(data)
        self._add(event)

    def flush(self) -> None:
        """Hand over what is pending; in order before everything that the task writes later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending = self._pending, []
        now = self._services.clock.wall()
        notices = [
            Notice(self._task.seq, self._task.claim_no, now, KIND, self._bounded(event)) for event in pending
        ]
        if notices:
            self._services.committer.send("tell", notices)

    def end(self) -> None:
        """The same when the task has its result: in the turn of the loop in which its end goes out, and so in
        one transaction with it."""
        if self._pending:
            self._services.loop.call_soon(self.flush)

    def _add(self, event: dict[str, Any]) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        if self._left == 0:
            event = {"mode": "end", "data": "this run has told as many events as are kept of one"}
        self._pending.append(event)
        if self._timer is None:
            self._timer = self._services.loop.call_later(SECONDS_BETWEEN, self.flush)

    def _continues(self, event: dict[str, Any]) -> bool:
        """Whether this was added to the event before: the next piece of the same message."""
        last = self._pending[-1] if self._pending else {}
        if event["id"] is None or last.get("id") != event["id"] or last.get("path") != event.get("path"):
            return False
        before, after = last["data"].get("content"), event["data"].get("content")
        if not (isinstance(before, str) and isinstance(after, str)):
            return False
        if event["data"].get("tool_call_chunks") or len(before) + len(after) > self._most_bytes // 2:
            return False
        last["data"] = {**event["data"], "content": before + after}
        return True

    def _bounded(self, event: dict[str, Any]) -> dict[str, Any]:
        text = json_text(event)
        if len(text) <= self._most_bytes:
            return event
        small: dict[str, Any] = {
            name: event[name] for name in ("mode", "path", "node", "id") if name in event
        }
        if len(json.dumps(small)) > self._most_bytes:
            small = {"mode": event["mode"]}
        nodes = event["data"] if event["mode"] == "updates" and isinstance(event["data"], dict) else {}
        return {**small, "omitted": len(text), "nodes": [str(name)[:100] for name in list(nodes)[:20]]}
