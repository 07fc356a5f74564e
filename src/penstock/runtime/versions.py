"""Which of several versions of a handler a task runs on."""

from __future__ import annotations

from penstock.runtime.context import TaskContext
from penstock.runtime.handlers import Handler, Handlers


async def handler_of(handlers: Handlers, context: TaskContext) -> Handler:
    """The newest handler, or that of the version that made the task's recorded steps.

    Raises `VersionMissing` when there is none of that version.
    """
    type = context.task.type
    handler = handlers[type]
    if not handler.version and not context.options.version:
        return handler
    begun_with = await context.recorder.begun_with()
    if begun_with is not None:
        handler = handlers.of(type, begun_with)
    context.recorder.notes.version = handler.version
    return handler
