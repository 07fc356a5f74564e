"""Schedules in the words of the AI task manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigurationError
from penstock.manager.scheduling import Timing
from penstock.manager.task_config import TaskConfig
from penstock.model.priority import Priority
from penstock.model.schedule import Missed, Schedule
from penstock.model.task_type import TaskType

if TYPE_CHECKING:
    from penstock.manager.engine import Manager
    from penstock.manager.submission import Submission

_CALLBACKS = ("callback", "error_callback", "progress_callback")


class AIScheduling:
    """The calls of an AI task manager that are about schedules."""

    engine: Manager

    if TYPE_CHECKING:

        def _submission(
            self, one: Mapping[str, Any], place: int, priority: Any, config: TaskConfig
        ) -> Submission: ...

    async def schedule(  # noqa: PLR0913 - one keyword for each thing to say
        self,
        name: str,
        when: str,
        task_type: TaskType | str,
        data: Any = None,
        *,
        zone: str = "UTC",
        jitter: float = 0.0,
        missed: Missed = "once",
        priority: Priority | int | str | None = None,
        config: TaskConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Schedule:
        """Submit such a task at every tick of `when`, in the time zone `zone`; how the schedule stands, once
        it is durable.

        `when` is such as "daily at 9:00", "every 15 minutes" or "0 9 * * MON-FRI". Each firing is up to
        `jitter` seconds late. Firings that are `missed` are let go ("skip"), made up for by one ("once") or
        each ("all"). A schedule of that name is replaced; its next tick stays unless its times are others.
        Raises `ConfigurationError` for times that make no sense, `InvalidTask` for data that the type does
        not take.
        """
        config = config or TaskConfig()
        for callback in _CALLBACKS:
            if getattr(config, callback) is not None:
                raise ConfigurationError(
                    f"{callback} lives in this process, a schedule outlives it; follow its tasks by the tag "
                    f"'schedule:{name}' or by their events"
                )
        one = {"task_type": task_type, "data": data, "metadata": metadata}
        submission = self._submission(one, 0, priority, config)
        return await self.engine.keep_schedule(name, Timing(when, zone, jitter, missed), submission)

    def schedules(self, tenant: str | None = None) -> list[Schedule]:
        """All schedules, or those of one tenant, by name."""
        return self.engine.schedules(tenant)

    async def unschedule(self, name: str, tenant: str = "") -> bool:
        """Remove a schedule; the tasks that it made stay. False: there is none."""
        return await self.engine.unschedule(name, tenant)

    async def pause_schedule(self, name: str, tenant: str = "") -> None:
        """Fire no more until `resume_schedule`. Raises `ScheduleNotFound`."""
        await self.engine.pause_schedule(name, tenant)

    async def resume_schedule(self, name: str, tenant: str = "") -> None:
        """Go on with the next tick from now; what would have fired meanwhile is not made up for."""
        await self.engine.resume_schedule(name, tenant)

    async def run_schedule_now(self, name: str, tenant: str = "") -> str:
        """Submit the schedule's task at once, beside its ticks; the task's id."""
        return await self.engine.run_schedule_now(name, tenant)
