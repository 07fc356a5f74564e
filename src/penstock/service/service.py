"""What all routes share: the running task manager and how the face was configured."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from penstock.manager.ai_task_manager import AITaskManager
from penstock.manager.engine import Manager
from penstock.service.events import Hub
from penstock.service.gateway.gateway import Gateway
from penstock.service.health import Readiness
from penstock.service.metrics import Metrics
from penstock.service.request_counts import RequestCounts
from penstock.service.task_log import tell_end
from penstock.service.tracing import trace_engine

if TYPE_CHECKING:
    from penstock.service.auth import KeyRing


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Bounds of the HTTP face. Bytes and seconds.

    A gateway call that is not streaming waits silently for at most `hold_seconds` before it is told to come
    back with its ticket, which keeps its place for `ticket_seconds`. Its reply is kept for an idempotency key
    for `idempotency_seconds`. Files of clients lie in `files_folder` (`None`: beside the store), each at most
    `max_file` long, those of a tenant `max_files` together.
    """

    max_body: int = 10_000_000
    max_bulk_line: int = 1_000_000
    hold_seconds: float = 60.0
    ticket_seconds: float = 300.0
    keep_alive_seconds: float = 10.0
    most_parked: int = 10_000
    most_followers: int = 1_000
    most_requests: int = 10_000
    max_upload: int = 1_000_000_000
    body_seconds: float = 30.0
    body_bytes_per_second: float = 1_000.0
    header_bytes: int = 32_768
    log_requests: bool = False
    idempotency_seconds: float = 86_400.0
    files_folder: str | None = None
    max_file: int = 200_000_000
    max_files: int = 2_000_000_000


@dataclass(slots=True)
class Service:
    """One task manager behind HTTP."""

    manager: AITaskManager
    keys: KeyRing
    config: ServiceConfig = field(default_factory=ServiceConfig)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """set when the service is told to stop: what waits tells its client to come again later"""
    requests: RequestCounts = field(default_factory=RequestCounts)
    readiness: Readiness = field(default_factory=Readiness)
    metrics: Metrics = field(init=False, repr=False)
    hub: Hub = field(init=False, repr=False)
    gateway: Gateway = field(init=False, repr=False)
    long_polls: int = 0

    def __post_init__(self) -> None:
        self.metrics = Metrics(self)
        self.hub = Hub(self.engine, self.config.most_followers, self.closing)
        self.gateway = Gateway(self.manager, self.config, self.closing)

    @property
    def engine(self) -> Manager:
        return self.manager.engine

    def open(self) -> None:
        """The manager runs: read the keys, and begin to watch."""
        self.keys.open(self.engine)
        self.readiness.open(self.engine)
        self.metrics.open()
        trace_engine(self.engine)
        if tell_end not in self.engine.on_end:
            self.engine.on_end.append(tell_end)


def service_of(request: Request) -> Service:
    """The service that an application was made with."""
    service: Service = request.app.state.penstock
    return service


ServiceOf = Annotated[Service, Depends(service_of)]
