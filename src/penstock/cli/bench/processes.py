"""Processes beside the bench: a function in a fresh interpreter, a simulator on a port, their memory."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from penstock.errors import PenstockError
from penstock.simulator import SimulatorConfig, serve

T = TypeVar("T")

SPAWN = get_context("spawn")


def in_fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns in an interpreter of its own, so that its memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(work, *arguments).result()


@contextlib.contextmanager
def simulator_process(config: SimulatorConfig) -> Iterator[str]:
    """A simulator in a process of its own; its base URL. It ends with this block, and with this process."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(config, theirs), name="penstock-simulator", daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    except EOFError:
        raise PenstockError("the simulator did not start") from None
    finally:
        end_process(process, ours)


def end_process(process: BaseProcess, pipe: Connection) -> None:
    """End a process that ends when its pipe closes; kill it when it has not after 5 seconds."""
    pipe.close()
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(config: SimulatorConfig, parent: Connection) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    serve(config, port=0, on_ready=parent.send)


def _end_with(parent: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os._exit(0)


def peak_bytes(pid: int | None = None) -> int | None:
    """The most memory that this or another living process has had in RAM; `None` where nobody can tell."""
    # What getrusage says of a started program includes its parent at the moment of the start.
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if pid is None and sys.platform != "win32":
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return None
