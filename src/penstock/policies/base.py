"""What strategies share: what a step does to a standing, and what a strategy is unless it says otherwise."""

from __future__ import annotations

from dataclasses import replace

from penstock.model.standing import Standing


def advanced(task: Standing, service: float, seconds: float) -> Standing:
    """`task` after a step that used `service` (scarce unit) and `seconds`; its place in line is as before."""
    program = task.program
    return replace(
        task,
        attained=task.attained + service,
        seconds_left=max(0.0, task.seconds_left - seconds),
        slice_used=task.slice_used + seconds,
        started=True,
        program=program and replace(program, attained=program.attained + service),
    )


def line_time(task: Standing) -> float:
    """The instant since which a task has stood in its present line."""
    return max(task.entered_at, task.turn_at)


class Strategy:
    """Base of strategies: one line, steps do not compete, a step moves nothing but the counts.

    A strategy of one's own derives from this, has a `name`, and defines `rank(task, now)`; `rank` depends
    on its arguments alone. `penstock.testing.run_policy_suite` proves it.
    """

    name = ""
    preemptive = False

    def stepped(self, task: Standing, service: float, seconds: float, now: float) -> Standing:
        return advanced(task, service, seconds)

    def flow(self, task: Standing) -> str | None:
        return None

    def weight(self, flow: str) -> float:
        """The share of a flow, relative to others."""
        return 1.0

    def overtaken_within(self, task: Standing) -> float | None:
        """Seconds: what joins the line later than that after `task` stays behind it; `None`: no promise."""
        return None
