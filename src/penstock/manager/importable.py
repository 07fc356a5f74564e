"""Functions that go to other processes by their name."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from penstock.errors import ConfigurationError


class Importable(functools.partial[Any]):
    """A function that is sent to a process as the name to import there.

    A decorated function cannot be sent as it is: its name stands for what the decorator made of it.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return find_function, (self.func.__module__, self.func.__qualname__)


def importable(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """What to send to processes for this function; `ConfigurationError` when they could not find it."""
    qualname = getattr(function, "__qualname__", None)
    if qualname is None or not hasattr(function, "__module__"):
        return function  # a partial, or an object that is called: sent as it is
    if "<" in qualname:
        raise ConfigurationError(
            f"function {name} cannot be sent to a process: it must stand at the top of a module that can be "
            "imported, not inside another function"
        )
    return Importable(function)


def find_function(module: str, qualname: str) -> Callable[..., Any]:
    """The function of that name, itself and not what `@task` made of it."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = getattr(found, "__task_function__", found)
    return function
