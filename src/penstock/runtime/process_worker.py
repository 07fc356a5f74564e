"""What runs in a process of its own: functions that are sent here, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from penstock.errors import ConfigurationError

READY = b"ready"
WATCH_SECONDS = 1.0
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def serve(pipe: Connection) -> None:
    """Answer calls until the other end closes. Ends also when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which decides what to do
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    pipe.send_bytes(READY)
    while True:
        try:
            message = pipe.recv_bytes()
            pipe.send_bytes(_answer(message))
        except (EOFError, OSError):
            return


def _watch_parent(parent: int) -> None:
    """A function that computes for an hour must not outlive a parent that was killed."""
    process = multiprocessing.parent_process()
    signs = [] if process is None else [process.sentinel]
    while os.getppid() == parent and not wait(signs, WATCH_SECONDS):
        pass
    os._exit(1)


def _answer(message: bytes) -> bytes:
    """(whether it went well, result or error, peak of memory in bytes), pickled."""
    try:
        function, args, kwargs = pickle.loads(message)
    except Exception as error:
        why = f"{type(error).__name__}: {error}; its module must be one that another process can import"
        return _failure(ConfigurationError(f"a function could not be loaded in a process: {why}"))
    try:
        _forget_peak()
        result = function(*args, **kwargs)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return pickle.dumps((True, result, _peak()))
    except BaseException as error:
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    lines = traceback.format_exception(error)
    error.add_note("in a worker process:\n" + "".join(lines).rstrip())
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        told = pickle.dumps((False, error, _peak()))
        pickle.loads(told)  # some errors can be sent and not received
    except Exception:
        told = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}"), _peak()))
    return told


def _forget_peak() -> None:
    """Let the peak of memory begin at what is used now, where the system can."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def _peak() -> int:
    """The most memory that this process held, in bytes; 0 where nobody tells."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    usage: Any = resource.getrusage(resource.RUSAGE_SELF)
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
