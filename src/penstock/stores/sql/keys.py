"""API keys and the terms of tenants."""

from __future__ import annotations

from penstock.model.api_key import ApiKey, TenantTerms
from penstock.stores.sql.session import Session

VERSION = "keys"


class KeyReading(Session):
    """Keys and terms as they stand."""

    def keys_version(self) -> int:
        found = self.look("setting", (VERSION,))
        return int(found[0][0]) if found else 0

    def api_keys(self) -> list[ApiKey]:
        return [
            ApiKey(name, digest, hint, tuple(scopes.split()), *rest)
            for name, digest, hint, scopes, *rest in self.look("api_keys")
        ]

    def tenant_terms(self) -> list[TenantTerms]:
        return [TenantTerms(*row) for row in self.look("tenant_terms")]


class KeyWriting(KeyReading):
    """`put_key`, `drop_key`, `put_terms`."""

    def put_key(self, key: ApiKey) -> None:
        row = (key.name, key.digest, key.hint, " ".join(key.scopes), key.tenant, key.created_at)
        self.db.do("put_key", (*row, key.expires_at, key.revoked_at, key.old_digest, key.old_until))
        self._changed()

    def drop_key(self, name: str) -> bool:
        self._changed()
        return self.db.do("drop_key", (name,)) == 1

    def put_terms(self, terms: TenantTerms) -> None:
        limits = (terms.requests_per_minute, terms.requests_per_hour, terms.tokens_per_minute)
        if terms.says_something:
            row = (terms.tenant, *limits, terms.max_concurrent, terms.budget, terms.weight)
            self.db.do("put_terms", row)
        else:
            self.db.do("drop_terms", (terms.tenant,))
        self._changed()

    def _changed(self) -> None:
        self.db.do("set_setting", (VERSION, str(self.keys_version() + 1)))
