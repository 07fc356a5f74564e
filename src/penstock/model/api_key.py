"""API keys, of which only hashes are kept, and what a tenant is granted with them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, fields, replace
from typing import Any

from penstock.errors import ConfigurationError

SCOPES = ("submit", "read", "admin")
PREFIX = "pk_"
HINT_LETTERS = 7


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key: who it is for and what it allows. `digest` is the SHA-256 of the key, in hex; `hint` its first
    letters. Instants are seconds since the epoch. After a rotation the key before is good until `old_until`.
    """

    name: str
    digest: str
    hint: str
    scopes: tuple[str, ...]
    tenant: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    old_digest: str | None = None
    old_until: float | None = None

    def why_not(self, digest: str, now: float) -> str | None:
        """Why a key with this hash, which is one of this key's two, is not good now; `None` when it is."""
        if self.revoked_at is not None:
            return "revoked"
        current = hmac.compare_digest(digest, self.digest)
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        return None if current or (self.old_until is not None and now < self.old_until) else "expired"


@dataclass(frozen=True, slots=True)
class TenantTerms:
    """What a tenant is granted: requests and tokens, calls at once, money in all (pico-dollars), and its
    weight where shares are measured. `None` grants as much as anybody gets."""

    tenant: str
    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None
    budget: int | None = None
    weight: float | None = None

    @property
    def says_something(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self)[1:])

    def changed(self, **given: Any) -> TenantTerms:
        """The same with what is given and not `None`; raises `ConfigurationError` for what makes no sense."""
        told = {name: value for name, value in given.items() if value is not None}
        for name, value in told.items():
            least_wrong = -1 if name == "budget" else 0
            if not least_wrong < value < 1e18:
                raise ConfigurationError(f"{name} of tenant {self.tenant!r} must be more, not {value!r}")
        return replace(self, **told)


def new_key() -> str:
    """A key that nobody can guess: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What is kept of a key. It has 256 random bits, so that one plain hash is as good as a slow one."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def hint_of(key: str) -> str:
    """Enough of a key to tell it from others, and no more."""
    return key[:HINT_LETTERS] + "…"


def read_scopes(text: str) -> tuple[str, ...]:
    """Scopes from a text such as "submit,read"; raises `ConfigurationError`."""
    given = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [part for part in given if part not in SCOPES]
    if wrong or not given:
        what = repr(wrong[0]) if wrong else "none"
        raise ConfigurationError(f"there is no scope {what}; scopes are {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in given)
