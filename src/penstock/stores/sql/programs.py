"""Programs: what the tasks of one workflow share."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.task import NewTask
from penstock.stores.sql.session import WritingSession, as_list


class Programs(WritingSession):
    """`serve_program`, and how programs come and go with their tasks."""

    def serve_program(self, program: str, amount: float) -> None:
        self.db.do("serve_program", (program, amount))

    def enter_programs(self, tasks: Sequence[NewTask]) -> None:
        """Make the programs of new tasks, and add the sizes of the tasks to them."""
        rows = [(task.program, task.entered_at, task.standing) for task in tasks if task.program is not None]
        self.db.many("enter_program", rows)

    def programs_of(self, seqs: Sequence[int]) -> list[str]:
        return [program for (program,) in self.db.rows("programs_of", (as_list(seqs),))]

    def forget_programs(self, programs: Sequence[str]) -> None:
        """Drop those of these programs that no task refers to any more."""
        if programs:
            self.db.do("forget_programs", (as_list(programs),))
