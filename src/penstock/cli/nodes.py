"""Which processes dispatch a store, and how to start one."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from penstock.model.batch import Batch
from penstock.stores.contract import NodeView


def alive(node: NodeView, now: float) -> bool:
    """Whether the node's lease runs and, as far as this machine can tell, its process is there."""
    return node.lease_until >= now and not (node.host == socket.gethostname() and _is_gone(node.pid))


def living(nodes: Sequence[NodeView], now: float) -> list[NodeView]:
    return [node for node in nodes if alive(node, now)]


def node_name(node: NodeView) -> str:
    return f"process {node.pid} on {node.host}"


def how_to_start(batch: Batch | None, store: str) -> str:
    """What to type so that the tasks of this store go on."""
    if batch is None:
        return f'start the program whose manager has Settings(store="{store}")'
    return f"start it with: penstock run {batch.input_path} -o {batch.output_path} --store {store}"


def _is_gone(pid: int) -> bool:
    if os.name != "posix":
        return False  # elsewhere signal 0 is no question
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
