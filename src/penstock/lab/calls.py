"""A call: one request of a trace on its way through a replay."""

from __future__ import annotations

from penstock.lab.service import ServiceModel
from penstock.lab.setup import Unit
from penstock.lab.traces import Request
from penstock.model.standing import Standing

_NOT_YET = Standing(0.0)


class Call:
    """Everything a replay knows of one request. Instants are seconds of virtual time, -1 before they come.

    `arrival` is when it stood in line first: a call of a program waits for what it depends on; `entered` its
    place in the order of arrival. `service` is
    seconds on a slot in all, `left` the output tokens still to come; `ticket` counts its places in line.
    """

    __slots__ = (
        "arrival",
        "entered",
        "finish",
        "head_seconds",
        "left",
        "request",
        "row",
        "service",
        "standing",
        "start",
        "step_seconds",
        "step_tokens",
        "ticket",
        "token_seconds",
    )

    def __init__(self, request: Request, service: ServiceModel) -> None:
        self.request = request
        self.row = request.row
        self.arrival = self.entered = request.arrival
        self.head_seconds, self.token_seconds = service.pace(request)
        self.service = self.head_seconds + self.token_seconds * request.output
        self.left = request.output
        self.start = self.finish = -1.0
        self.step_tokens = 0
        self.step_seconds = 0.0
        self.standing = _NOT_YET
        self.ticket = 0

    def size(self, unit: Unit) -> float:
        """The true whole service, in `unit`."""
        if unit == "seconds":
            return self.service
        return self.request.output + (self.request.prompt if unit == "tokens" else 0)

    def step_size(self, unit: Unit) -> float:
        """The service of the step that just ended, in `unit`; the prompt belongs to the first step."""
        if unit == "seconds":
            return self.step_seconds
        first = self.left + self.step_tokens == self.request.output
        return self.step_tokens + (self.request.prompt if unit == "tokens" and first else 0)

    def takes_its_place(self, now: float) -> bool:
        """Whether a call set free now has a place before others that wait: it competes for the slot that the
        one before it gives back."""
        return bool(self.request.place) and self.arrival <= now

    @property
    def completion(self) -> float:
        """Seconds from arrival to end."""
        return self.finish - self.arrival

    @property
    def wait(self) -> float:
        """Seconds in line, before the start and between steps."""
        return max(0.0, self.finish - self.arrival - self.service)
