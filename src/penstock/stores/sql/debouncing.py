"""Unique keys: while a task holds one, others of the key are answered with it; its data may become theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from penstock.model.task import Existing, NewTask
from penstock.stores.sql.session import WritingSession, as_list

Key = tuple[str, str | None]


@dataclass(slots=True)
class Holder:
    """The task that holds a unique key: `seq` in the store, or `place` among those being added.

    `fresh`: it waits and was never claimed, so its data may be replaced; `payload` as the store has it."""

    id: str
    position: int | None
    fresh: bool = True
    seq: int = 0
    place: int | None = None
    payload: str | None = None


def debounced(task: NewTask) -> float | None:
    """When a task starts at the earliest, its debounce counted in."""
    if task.debounce is None:
        return task.due_at
    return max(task.due_at or 0.0, task.created_at + task.debounce)


class Debouncing(WritingSession):
    """The part of `add` that looks at unique keys."""

    def holders(self, tasks: Sequence[NewTask]) -> dict[Key, Holder]:
        """The holders of the unique keys of these tasks, as far as they have not ended."""
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for task in tasks:
            if task.unique_key is not None:
                asked[task.tenant].append(task.unique_key)
        found: dict[Key, Holder] = {}
        for tenant, keys in asked.items():
            for key, seq, id, status, *_, position, claim_no, payload in self.look(
                "holders", (tenant, as_list(dict.fromkeys(keys)))
            ):
                fresh = claim_no == 0 and status != "running"
                found[tenant, key] = Holder(id, position, fresh, seq, None, payload)
        return found

    def meet(self, holder: Holder, tasks: list[NewTask], task: NewTask) -> Existing | None:
        """The answer to a task of a key that is held; `None` when it enters beside the holder."""
        if task.debounce is None:
            return Existing(holder.id, holder.position)
        if not holder.fresh:
            return None
        due_at = debounced(task)
        if holder.place is not None:
            tasks[holder.place] = replace(
                tasks[holder.place],
                payload=task.payload,
                fingerprint=task.fingerprint,
                metadata=task.metadata,
                due_at=due_at,
            )
        else:
            self._replace(holder, task, due_at)
        return Existing(holder.id, holder.position, due_at)

    def _replace(self, holder: Holder, task: NewTask, due_at: float | None) -> None:
        self.drop_texts([holder.payload])
        holder.payload = self.place(task.payload)
        self.db.do(
            "replace_waiting",
            (holder.seq, holder.payload, task.fingerprint, task.metadata, due_at, task.created_at),
        )
        self.event(holder.seq, task.created_at, "replaced", f'{{"due_at":{due_at}}}')
