"""Who asks: API keys with scopes and a tenant."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from penstock.manager.engine import Manager
from penstock.model.api_key import SCOPES, ApiKey, digest_of
from penstock.service.errors import HttpProblem
from penstock.service.granting import grant
from penstock.service.tries import Tries
from penstock.stores.contract import Reader

Scope = Literal["submit", "read", "admin"]

LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
BEARER = HTTPBearer(auto_error=False, description="An API key; also accepted in the header x-api-key.")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `tenant` "" with scope admin sees everything; everybody else only the tasks of `tenant`."""

    name: str
    tenant: str
    scopes: frozenset[str]

    @property
    def sees_all(self) -> bool:
        return "admin" in self.scopes and not self.tenant


ANYBODY = Principal("local", "", frozenset(SCOPES))


class KeyRing:
    """The keys of a service; without any, everybody on this machine may do everything, and nobody else.

    `required` asks for a key even while there is none, as a server does that listens beyond this machine.
    `hosts` are names by which it may be called without keys, besides those of this machine.
    """

    def __init__(
        self, required: bool = False, hosts: tuple[str, ...] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self.required = required
        self.tries = Tries(clock)
        self._hosts = LOCAL_NAMES | set(hosts)
        self._clock = clock
        self._version = -1
        self._keys: dict[str, ApiKey] = {}
        self._granted: frozenset[str] = frozenset()
        self._engine: Manager | None = None
        self._base: Mapping[str, Any] = {}

    # Life

    def open(self, engine: Manager) -> None:
        """The engine runs: read the keys of its store, and again whenever another process changed them."""
        self._engine = engine
        self._base = {
            "tenants": engine.settings.limits.tenants,
            "budgets": engine.settings.limits.tenant_budgets,
        }
        self.look()
        if self.look not in engine.on_change:
            engine.on_change.append(self.look)

    def look(self) -> None:
        """Read the keys again if they changed."""
        if self._engine is None or not self._engine.is_running:
            return
        version = self._engine.peek(lambda reader: reader.keys_version())
        if version != self._version:
            self._take(self._engine)
            self._version = version

    def _take(self, engine: Manager) -> None:
        def read(reader: Reader) -> Any:
            return reader.api_keys(), reader.tenant_terms()

        keys, terms = engine.peek(read)
        found = {one.digest: one for one in keys}
        found |= {one.old_digest: one for one in keys if one.old_digest is not None}
        self._keys = found
        self._granted = grant(engine, terms, self._granted, self._base)

    @property
    def needed(self) -> bool:
        """Whether requests need a key."""
        return self.required or bool(self._keys)

    # Requests

    async def principal(self, request: Request) -> Principal:
        """Who makes this request; raises `HttpProblem` 401 for a key that is missing or wrong."""
        address = request.client.host if request.client else ""
        if not self.needed:
            self._check_local(request, address)
            return ANYBODY
        return self.identify(request.headers, address)

    def identify(self, headers: Mapping[str, str], address: str) -> Principal:
        """Who has the key in these headers; raises `HttpProblem` 401, or 429 after too many wrong ones.

        A right key is never refused for the wrong ones of others behind the same address.
        """
        key = key_in(headers)
        if key is None:
            raise _refusal("missing_api_key", "this server needs an API key: Authorization: Bearer pk_...")
        digest = digest_of(key)
        known = self._keys.get(digest)
        fault = "wrong" if known is None else known.why_not(digest, self._clock())
        if known is not None and fault is None:
            scopes = SCOPES if "admin" in known.scopes else known.scopes
            return Principal(known.name, known.tenant, frozenset(scopes))
        wait = self.tries.failed(address)
        if wait:
            raise HttpProblem(
                429,
                "too_many_wrong_keys",
                "too many tries with keys that are not good; try later",
                headers={"retry-after": str(wait)},
            )
        raise _refusal("invalid_api_key", f"this API key is {fault}")

    def _check_local(self, request: Request, address: str) -> None:
        """Without keys: this machine only, called by a name of this machine (a page of another site may
        point its own name here), and not by a page of another site."""
        if address and not is_loopback(address):
            raise HttpProblem(403, "keys_needed", "without API keys this server answers its own machine only")
        if any(name in request.headers for name in FORWARDED):
            raise HttpProblem(
                403, "keys_needed", "behind a proxy this server needs API keys: penstock keys add"
            )
        host = request.headers.get("host", "")
        if _name_of(f"//{host}") not in self._hosts:
            message = f"the host {host[:100]!r} is not this machine; without API keys call it by localhost"
            raise HttpProblem(403, "unknown_host", message, param="host")
        origin = request.headers.get("origin")
        if origin is not None and _name_of(origin) not in self._hosts:
            raise HttpProblem(403, "foreign_origin", "pages of other sites may not call this server")


def allowed(scope: Scope) -> Callable[..., Coroutine[Any, Any, Principal]]:
    """A dependency: the principal of the request, who must have this scope (`HttpProblem` 403)."""

    async def dependency(
        request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
    ) -> Principal:
        principal: Principal = await request.app.state.penstock.keys.principal(request)
        if scope not in principal.scopes:
            message = f"this API key has no scope {scope}"
            raise HttpProblem(403, "scope_missing", message, param="authorization")
        return principal

    dependency.scope = scope  # type: ignore[attr-defined]
    return dependency


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key of a request: the bearer of `Authorization`, or `x-api-key`."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if given and scheme.lower() == "bearer":
        return given.strip()
    return headers.get("x-api-key") or None


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _name_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _refusal(code: str, message: str) -> HttpProblem:
    return HttpProblem(401, code, message, headers={"www-authenticate": "Bearer"})
