"""Rollback: what completed is undone, the last end first, each compensation a child task of the workflow.

A child is submitted once, in the transaction that records it; a failed one keeps no other from running.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from penstock.errors import ChildFailed, InvalidTask
from penstock.model.group import MemberView
from penstock.model.references import RESULT, fill, rebuilt
from penstock.runtime.context import TaskContext
from penstock.runtime.inputs import Results
from penstock.stores.contract import Reader


async def roll_back(context: TaskContext, group: int) -> str:
    """Undo all members that completed and can be undone; what is to be said of it, "" when there was
    nothing."""
    members, results = await context.services.committer.read(lambda reader: _undoable(reader, group))
    failed = []
    for member in members:
        try:
            await _undo(context, member, results)
        except (ChildFailed, InvalidTask) as error:
            failed.append(f"{member.node!r}: {error}")
    if not members:
        return ""
    undone = f"; {len(members) - len(failed)} of {len(members)} nodes that completed were undone"
    return undone + (f", not {'; '.join(failed)}" if failed else "")


async def _undo(context: TaskContext, member: MemberView, results: Results) -> None:
    undo = json.loads(member.undo or "{}")
    await context.child(
        undo["type"],
        fill(undo["data"], results),
        key=f"undo {member.node}",
        metadata={"undoes": member.node},
        deadline=None,
    )


def _undoable(reader: Reader, group: int) -> tuple[Sequence[MemberView], Results]:
    """The members to undo, and the results that their compensations may refer to."""
    members = reader.undoable(group)
    wanted: dict[str, None] = {}
    for member in members:
        data: Any = json.loads(member.undo or "{}").get("data")
        wanted.update(dict.fromkeys(_named(data)))
    found = reader.results_of(list(wanted))
    return members, Results({id: (status, text) for id, (status, text, _) in found.items()})


def _named(data: Any) -> list[str]:
    """The ids of tasks that bound references in the data name."""
    ids: list[str] = []
    rebuilt(data, lambda reference: ids.append(reference[RESULT]))
    return ids
