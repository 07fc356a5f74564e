"""What a task's rank means, in words: the strategy, and what its key stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.cli.show_text import clock_time, number, span
from penstock.model.rank import Rank
from penstock.model.standing import Standing
from penstock.policies.deadline import HOPELESS, NO_DEADLINE, Deadline
from penstock.policies.fair import STARTED_FIRST, Fair
from penstock.policies.fifo import Fifo
from penstock.policies.least_attained import LeastAttained
from penstock.policies.mlfq import MultiLevelFeedback
from penstock.policies.priority import PriorityWithAgeing
from penstock.policies.program_fifo import ProgramFifo
from penstock.policies.round_robin import IN_TURN, RoundRobin
from penstock.policies.shortest_job_first import ShortestJobFirst
from penstock.policies.shortest_program import ShortestProgram

Words = Callable[[Any, Standing, Rank, float, str], str]


def rank_words(policy: Any, task: Standing, rank: Rank, now: float, unit: str) -> str:
    """The rank that a policy gave to a task, for people; `unit` is that of sizes."""
    for kind in type(policy).__mro__:
        if kind in _WORDS:
            return _WORDS[kind](policy, task, rank, now, unit)
    return f"rank {rank.band}, {rank.key:.12g}; the lowest goes first"


def _fifo(policy: Fifo, task: Standing, rank: Rank, now: float, unit: str) -> str:
    return f"it has waited {span(now - task.entered_at)}, since {clock_time(task.entered_at)}"


def _priority(policy: PriorityWithAgeing, task: Standing, rank: Rank, now: float, unit: str) -> str:
    return (
        f"priority {task.priority}, has waited {span(now - task.entered_at)}: as if it had entered at "
        f"{clock_time(rank.key)} with priority 0 (a level counts as {span(policy.seconds_per_level)})"
    )


def _round_robin(policy: RoundRobin, task: Standing, rank: Rank, now: float, unit: str) -> str:
    if rank.band == IN_TURN:
        return f"it is in its turn, {span(task.slice_used)} of {span(policy.time_slice)} used"
    return f"it has stood in the line since {clock_time(rank.key)}"


def _size(policy: ShortestJobFirst, task: Standing, rank: Rank, now: float, unit: str) -> str:
    measure = policy.measure(task)
    size = _amount(measure, unit) if task.size else "nobody knows its size, which counts as none"
    what = "still needed, as estimated" if policy.preemptive else "estimated"
    words = f"{size} {what}" if task.size else size
    if policy.ageing == 0:
        return words
    return (
        f"{words}; has waited {span(now - task.entered_at)}: as if it had entered at {clock_time(rank.key)} "
        "with size 0"
    )


def _deadline(policy: Deadline, task: Standing, rank: Rank, now: float, unit: str) -> str:
    if rank.band == NO_DEADLINE or task.deadline is None:
        return "it has no deadline: it goes after all that can keep theirs, in the order of arrival"
    left = task.deadline - now
    when = f"in {span(left)}" if left > 0 else f"{span(-left)} ago"
    words = f"its deadline is {clock_time(task.deadline)}, {when}"
    if rank.band == HOPELESS:
        needs = f" (it would still take {span(task.seconds_left)})" if task.seconds_left else ""
        return f"{words}; it can no longer be kept{needs}, so it goes last"
    return words


def _feedback(policy: MultiLevelFeedback, task: Standing, rank: Rank, now: float, unit: str) -> str:
    return (
        f"level {min(task.level, len(policy.levels)) + 1} of {len(policy.levels) + 1}, after "
        f"{_amount(task.attained, unit)}; in that line since {clock_time(rank.key)}"
    )


def _attained(policy: LeastAttained, task: Standing, rank: Rank, now: float, unit: str) -> str:
    return f"{_whose(task)} has been served {_amount(rank.key, unit)} so far; the least goes first"


def _program(policy: ShortestProgram, task: Standing, rank: Rank, now: float, unit: str) -> str:
    return f"{_whose(task)} has {_amount(rank.key, unit)} of estimated work left; the least goes first"


def _arrival(policy: ProgramFifo, task: Standing, rank: Rank, now: float, unit: str) -> str:
    return f"{_whose(task)} came at {clock_time(rank.key)}; the earliest goes first"


def _fair(policy: Fair, task: Standing, rank: Rank, now: float, unit: str) -> str:
    inside = Rank(rank.band + STARTED_FIRST, rank.key) if rank.band < -STARTED_FIRST // 2 else rank
    started = "it has started already, so it goes before the unstarted; " if inside is not rank else ""
    return (
        f"within its tenant by {policy.inside.name}: "
        + started
        + rank_words(policy.inside, task, inside, now, unit)
    )


def _whose(task: Standing) -> str:
    return "it" if task.program is None else f"its workflow {task.program.id}"


def _amount(value: float, unit: str) -> str:
    return span(value) if unit == "seconds" else f"{number(value)} {unit}"


_WORDS: dict[type, Words] = {
    Fifo: _fifo,
    PriorityWithAgeing: _priority,
    RoundRobin: _round_robin,
    ShortestJobFirst: _size,
    Deadline: _deadline,
    MultiLevelFeedback: _feedback,
    LeastAttained: _attained,
    ShortestProgram: _program,
    ProgramFifo: _arrival,
    Fair: _fair,
}
