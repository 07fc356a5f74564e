"""The journal of steps, what running tasks tell, and the exact-match cache of replies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from penstock.model.json_text import json_text
from penstock.model.step import NOTES, StepKey, StepRecord
from penstock.model.task import Notice
from penstock.stores.sql.session import WritingSession, as_list


class Journaling(WritingSession):
    """`record`, `void_step`, `tell`, `cache`."""

    def record(self, steps: Sequence[StepRecord]) -> list[bool]:
        rows = [self._step_row(step) for step in steps]
        self.db.savepoint()
        if self.db.many("record", rows) == len(steps):
            self.db.keep()
            outcomes = written = [True] * len(steps)
        else:
            self.db.undo()
            written = [self.db.do("record", row) == 1 for row in rows]
            outcomes = [
                new or bool(self.db.rows("holds_claim", (step.seq, step.claim_no)))
                for new, step in zip(written, steps, strict=True)
            ]
            for row, new in zip(rows, written, strict=True):
                if not new and row[11] is not None:
                    self.drop_content(row[11])
        for step, new in zip(steps, written, strict=True):
            if new and step.kind not in NOTES:
                self.event(step.seq, step.at, "step", _step_data(step))
        return outcomes

    def _step_row(self, step: StepRecord) -> tuple[Any, ...]:
        content, value = self.inline_or_kept(step.value)
        return (
            step.seq, step.claim_no, *step.key, step.occurrence, step.kind, step.at, step.input_tokens,
            step.output_tokens, step.cost, content, value,
        )  # fmt: skip

    def void_step(self, seq: int, key: StepKey, occurrence: int) -> bool:
        found = self.db.rows("find_step", (seq, *key, occurrence))
        for no, content in found:
            self.db.do("void_step", (no,))
            if content is not None:
                self.drop_content(content)
        return bool(found)

    def tell(self, items: Sequence[Notice]) -> list[bool]:
        listed = as_list({item.seq for item in items})
        running = set(self.db.rows("running_claims", (listed,)))
        outcomes = [(item.seq, item.claim_no) in running for item in items]
        progress: dict[int, str] = {}
        for item, landed in zip(items, outcomes, strict=True):
            if landed:
                data = json_text(item.data)
                self.event(item.seq, item.at, item.kind, data)
                if item.kind == "progress":
                    progress[item.seq] = data
                elif item.kind == "fallback":
                    self.db.do("note_fallback", (item.seq, data))
        self.db.many("set_progress", list(progress.items()))
        return outcomes

    def cache(self, tenant: str, digest: str, value: bytes, expires_at: float) -> None:
        for (content,) in self.db.rows("cached_content", (tenant, digest)):
            if content is not None:
                self.drop_content(content)
        self.db.do("cache", (tenant, digest, expires_at, *self.inline_or_kept(value)))


def _step_data(step: StepRecord) -> str:
    return json.dumps({"name": step.key.name, "kind": step.kind})
