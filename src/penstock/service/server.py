"""`penstock serve`: listens, runs the service, and stops without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import uvicorn

from penstock.errors import ConfigurationError, PenstockError
from penstock.manager.engine import open_store
from penstock.runtime.settings import Settings
from penstock.service.app import create_app, running
from penstock.service.building import build, clients_of, store_path
from penstock.service.config import ServerConfig
from penstock.service.connections import bounded_protocol
from penstock.service.greeting import greeting
from penstock.service.json_logs import log_to
from penstock.service.service import Service

log = logging.getLogger("penstock.server")

Signals = Callable[[Callable[[], None], Callable[[], None]], AbstractContextManager[None]]
"""Lets signals call the first function, and those that come after it the second."""


class Face(uvicorn.Server):
    """The HTTP server of one service. Leaves signals to its owner."""

    def __init__(self, config: uvicorn.Config, service: Service, grace: float) -> None:
        super().__init__(config)
        self._service = service
        self._grace = grace
        self.forced = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def ask_to_stop(self) -> None:
        """Stop accepting, and let what is under way end."""
        notify("STOPPING=1")
        log.info("stopping: calls in flight have %g seconds; ask again to leave at once", self._grace)
        self.should_exit = True

    def leave(self) -> None:
        """Leave at once; what was submitted goes on at the next start."""
        self.forced = self.should_exit = self.force_exit = True
        self._service.manager.engine.leave_now()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell what waits to come again, give calls in flight their time, and close the connections."""
        self._service.closing.set()
        engine = self._service.engine
        draining = asyncio.create_task(engine.node.drain())
        late = asyncio.get_running_loop().call_later(self._grace, engine.leave_now)
        try:
            await super().shutdown(sockets)
            if not self.forced:
                await draining
        finally:
            late.cancel()
            draining.cancel()
            with contextlib.suppress(BaseException):
                await draining


def run_server(
    config: ServerConfig,
    signals: Signals,
    tell: Callable[[str], None],
    environment: Mapping[str, str] = os.environ,
) -> bool:
    """Serve until a signal; whether it was left at once, calls in flight being cut off.

    Raises `ConfigurationError` for an address that may not be used, `StoreError`, and `OSError`.
    """
    secrets = [client.endpoint.api_key or "" for client in clients_of(config, environment)]
    secrets += [environment.get(name, "") for one in config.upstreams for name in one.headers_env.values()]
    sockets = listen(config.server.host, config.server.port)
    try:
        beyond = not all(_is_loopback(one) for one in sockets)
        if beyond:
            check_keys(config)
        service = build(config, environment, required=beyond)
        log_to(None, config.log.format, config.log.level, secrets)
        return asyncio.run(_serve(service, config, sockets, signals, tell))
    finally:
        for one in sockets:
            one.close()


async def _serve(
    service: Service,
    config: ServerConfig,
    sockets: list[socket.socket],
    signals: Signals,
    tell: Callable[[str], None],
) -> bool:
    face = Face(uvicorn_config(service, config), service, config.server.grace_seconds)
    with signals(face.ask_to_stop, face.leave):
        async with running(service):
            tell(greeting(service, config, [one.getsockname() for one in sockets]))
            notify("READY=1")
            await face.serve(sockets)
            if not face.forced:
                log.info("stopped; what waits goes on at the next start")
        return face.forced


def uvicorn_config(service: Service, config: ServerConfig) -> uvicorn.Config:
    """How uvicorn serves it: bounded in connections, header sizes and patience."""
    part = config.server
    allow_files(part.most_connections)
    app = create_app(service, docs=part.docs)
    return uvicorn.Config(
        app,
        http=bounded_protocol(part.header_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(part.trusted_proxies),
        forwarded_allow_ips=part.trusted_proxies or None,
        limit_concurrency=part.most_connections,
        timeout_keep_alive=round(part.idle_seconds),
        timeout_graceful_shutdown=max(1, round(part.grace_seconds)),
        h11_max_incomplete_event_size=part.header_bytes,
        ssl_certfile=part.tls_certificate,
        ssl_keyfile=part.tls_key,
    )


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at each address of a name. Raises `ConfigurationError`."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"{host} is no address to listen on: {error.strerror or error}") from None
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            if port == 0 and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sockets.append(_bound(family, address))
    except OSError as error:
        for one in sockets:
            one.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return sockets


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    # asyncio turns Nagle's delay off only where TCP is named; with it every answer would take 40 ms more.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(2048)
    except BaseException:
        made.close()
        raise
    made.setblocking(False)
    return made


def _is_loopback(one: socket.socket) -> bool:
    return ipaddress.ip_address(one.getsockname()[0].partition("%")[0]).is_loopback


def check_keys(config: ServerConfig) -> None:
    """Raise `ConfigurationError` when the store has no API key that could be used."""
    path = store_path(config)
    try:
        store = open_store(Settings(store=path))
    except PenstockError as error:
        raise ConfigurationError(f"the API keys cannot be read: {error}") from error
    try:
        keys = store.read(lambda reader: [one for one in reader.api_keys() if one.revoked_at is None])
    finally:
        store.close()
    if not keys:
        raise ConfigurationError(
            f"without API keys this server listens on 127.0.0.1 only, not on {config.server.host}; make one: "
            f"penstock keys add NAME --scopes submit,read --store {path}"
        )


def allow_files(connections: int) -> None:
    """Let this process have so many connections open, as far as the system allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 1_000
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def notify(state: str) -> None:
    """Tell systemd, where it started us, how we are."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with (
        contextlib.suppress(OSError, AttributeError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made,
    ):
        made.connect(address)
        made.send(state.encode())
