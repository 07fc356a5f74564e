"""Which tasks a `TaskFilter` means."""

from __future__ import annotations

from typing import Any

from penstock.model.json_text import json_text
from penstock.stores.contract import TaskFilter
from penstock.stores.sql.session import Row, Session, as_list

# Behind every character that an id or a tag may hold.
LAST_LETTER = "\U0010ffff"


class Choosing(Session):
    """Ids by their beginnings, and filters as conditions."""

    def seq_of(self, id: str) -> int | None:
        """The task of that id or unique beginning of one; `None` when there is none, or several."""
        if not id:
            return None
        found = self.look("task_of_id", (id,)) or self.look("tasks_of_prefix", (id, id + LAST_LETTER))
        return found[0][0] if len(found) == 1 else None

    def conditions(self, where: TaskFilter) -> list[tuple[list[str], list[Any]]]:
        """Names of conditions with their parameters, one pair per status: each walks its own index."""
        names: list[str] = []
        params: list[Any] = []
        if where.ids:
            names.append("where_seqs")
            params.append(as_list(seq for id in where.ids if (seq := self.seq_of(id)) is not None))
        if where.seqs:
            names.append("where_seqs")
            params.append(as_list(where.seqs))
        if where.types:
            names.append("where_types")
            params.append(as_list(where.types))
        if where.tenant is not None:
            names.append("where_some_tenant" if where.tenant else "where_tenant")
            params.append(where.tenant)
        if where.priorities:
            names.append("where_priorities")
            params.append(as_list(where.priorities))
        if where.program is not None:
            names.append("where_program")
            params.append(where.program)
        if where.batch is not None:
            names.append("where_batch")
            params.append(where.batch)
        for tag in where.tags:
            names.append("where_tag")
            params.append(tag)
        if where.metadata:
            names.append("where_metadata")
            params.append(json_text(dict(where.metadata)))
        if not where.statuses:
            return [(names or ["where_all"], params)]
        return [
            ([*names, f"where_status_{status.value}"], params) for status in dict.fromkeys(where.statuses)
        ]

    def chosen(self, where: TaskFilter) -> list[Row]:
        """(seq, id, status, lane, batch, priority) of every task that the filter means, by seq."""
        self.flush()
        rows: list[Row] = []
        for names, params in self.conditions(where):
            rows += self.db.rows_where("chosen", names, params)
        return sorted(rows)
