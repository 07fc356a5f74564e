"""One line in the log for each task that ends: failures for everybody, the rest for those who debug."""

from __future__ import annotations

import json
import logging

from penstock.model.states import TaskStatus
from penstock.model.task import Finish

log = logging.getLogger("penstock.tasks")


def tell_end(end: Finish) -> None:
    """A task came to its end; neither its data nor its result is told."""
    failed = end.status is TaskStatus.FAILED
    level = logging.INFO if failed else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    about = {
        "task_id": end.task.id,
        "type": end.task.type,
        "tenant": end.task.tenant,
        "status": str(end.status),
    }
    if failed and end.error:
        about["code"] = str(json.loads(end.error).get("code", ""))
    log.log(level, "%s task %s", end.task.type, end.status, extra=about)
