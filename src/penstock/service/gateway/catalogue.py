"""The models that can be called here: what endpoints list, and what the settings name."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.llm.endpoint import Endpoint
from penstock.manager.ai_task_manager import AITaskManager

FRESH_SECONDS = 300.0
PATIENCE_SECONDS = 10.0


class Catalogue:
    """Asks endpoints for their lists now and then."""

    def __init__(self, manager: AITaskManager) -> None:
        self._manager = manager
        self._found: dict[str, dict[str, Any]] = {}
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    async def models(self) -> dict[str, dict[str, Any]]:
        """Every model by its id."""
        async with self._asking:
            now = self._manager.engine.clock.monotonic()
            if self._asked_at is None or now - self._asked_at > FRESH_SECONDS:
                self._found = await self._ask()
                self._asked_at = now
        return self._found

    async def _ask(self) -> dict[str, dict[str, Any]]:
        endpoints = self._manager.client.endpoints
        lists = await asyncio.gather(*(self._of(one) for one in endpoints))
        found: dict[str, dict[str, Any]] = {}
        for listed in lists:
            for model in listed:
                found.setdefault(model["id"], model)
        settings = self._manager.engine.settings
        for name in (*settings.limits.models, *settings.prices):
            if any(one.serves(name) for one in endpoints):
                found.setdefault(name, _model(name, "penstock"))
        return dict(sorted(found.items()))

    async def _of(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        owner = endpoint.name.partition("#")[0]
        if endpoint.models:
            return [_model(name, owner) for name in endpoint.models]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                body = await self._manager.client.get(endpoint, "/v1/models")
        except TimeoutError:
            return []
        data = (body or {}).get("data")
        told = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
        return [{**_model(one["id"], owner), **_plain(one)} for one in told if isinstance(one.get("id"), str)]


def _model(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    """What an endpoint says of a model, where it fits the shape that clients read."""
    kinds = {"id": str, "created": int, "owned_by": str}
    return {name: told[name] for name, kind in kinds.items() if isinstance(told.get(name), kind)}
