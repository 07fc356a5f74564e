"""Flows, programs and standings: what strategies rank by besides the task itself."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.flow_standing import FlowStanding
from penstock.model.task import NewTask, TaskStanding
from penstock.stores.sql.session import WritingSession, as_list


class Programs(WritingSession):
    """`keep_flows`, `keep_standings`, `serve_program`, and how flows and programs go with their tasks."""

    def keep_flows(self, flows: Sequence[FlowStanding]) -> None:
        self.db.many("keep_flow", [(one.flow, one.counter, one.turn, one.waiting_since) for one in flows])

    def keep_standings(self, tasks: Sequence[TaskStanding]) -> None:
        self.db.many("keep_standing", [(*one.rank, one.standing, one.seq, one.claim_no) for one in tasks])

    def serve_program(self, program: str, amount: float) -> None:
        self.db.do("serve_program", (program, amount))

    def enter_programs(self, tasks: Sequence[NewTask]) -> None:
        """Make the programs of new tasks, and add the sizes of the tasks to them."""
        rows = [(task.program, task.entered_at, task.standing) for task in tasks if task.program is not None]
        self.db.many("enter_program", rows)

    def programs_of(self, seqs: Sequence[int]) -> list[str]:
        return [program for (program,) in self.db.rows("programs_of", (as_list(seqs),))]

    def flows_of(self, seqs: Sequence[int]) -> list[str]:
        return [flow for (flow,) in self.db.rows("flows_of", (as_list(seqs),))]

    def forget_flows(self, flows: Sequence[str]) -> None:
        """Drop those of these flows of which nothing is left: no task, and no hold."""
        if flows:
            self.db.do("forget_flows", (as_list(flows),))

    def forget_programs(self, programs: Sequence[str]) -> None:
        """Drop those of these programs that no task refers to any more."""
        if programs:
            self.db.do("forget_programs", (as_list(programs),))
