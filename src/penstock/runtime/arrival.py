"""A node's arrival at its store: it signs on, takes back what an earlier process left, and recalls what that
one knew."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.runtime.caretakers import LEASE_SECONDS, POISON_AFTER
from penstock.runtime.figures import SETTING as FIGURES
from penstock.runtime.recovery import flows_as_left, restore_gate
from penstock.runtime.suspects import ASIDE_SECONDS, SUSPECT_AFTER
from penstock.stores.contract import TaskFilter, Transaction

if TYPE_CHECKING:
    from penstock.runtime.node import Node

log = logging.getLogger("penstock.node")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the node found: its own number in the store, the last control request so far, what is paused, when
    a schedule fires next, and the figures as they were left."""

    id: int
    last_control: int
    pauses: list[str]
    next_firing: float | None
    figures: str | None


def arrive(node: Node, store: Transaction) -> Arrival:
    """Sign the node on, and fill its gate, shares and estimates from the store."""
    wall, monotonic = node.clock.wall(), node.clock.monotonic()
    gone = [other.id for other in store.nodes()]  # the dispatch lock is ours: nobody else is alive
    host, pid = socket.gethostname(), os.getpid()
    id = store.join(f"{host}:{pid}", pid, host, wall, wall + LEASE_SECONDS)
    rescued = store.rescue(wall, wall, POISON_AFTER, gone)
    if rescued.count:
        log.info("took back %d tasks that an earlier process left", rescued.count)
    if aside := store.set_aside(SUSPECT_AFTER, wall + ASIDE_SECONDS):
        store.promote(wall, early=aside)  # who was to call them is gone
    asked = store.controls(0)
    if doomed := tuple(one.task for one in asked if one.kind == "cancel" and one.task is not None):
        store.cancel(TaskFilter(seqs=doomed), wall)  # asked while nobody dispatched
    last = asked[-1].no if asked else 0
    arrival = Arrival(id, last, store.pauses(), store.next_firing(), store.setting(FIGURES))
    store.set_setting("strategy", node.ranker.policy.name)  # for clients that add tasks
    node.ranker.programs.recall(store)
    flows = flows_as_left(store, node.ranker.unit)
    node.services.shares.restore(flows, store.waiting_flows(), wall)
    settled = restore_gate(node.gate, store, node.settings.limits.zone, wall, monotonic)
    node.weigher.restore(settled[-1000:])
    return arrival
