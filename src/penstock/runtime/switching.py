"""Switches the strategy while the system runs: what is open at once, what waits in resumable chunks, best
first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from penstock.errors import ConfigurationError
from penstock.runtime.dispatcher import Dispatcher
from penstock.runtime.reranking import (
    ASKED,
    RANKED_BY,
    REFUSED,
    Chunks,
    Told,
    begin_reranking,
    end_reranking,
    read_told,
    rerank,
    wanted_strategy,
)
from penstock.runtime.services import Services
from penstock.runtime.settings import Settings

log = logging.getLogger("penstock.dispatch")


class Switcher:
    """Puts a policy in force and ranks anew what waits. A switch that was cut off goes on at the next start,
    because the store says by what its tasks were ranked last."""

    def __init__(self, services: Services, dispatcher: Dispatcher) -> None:
        self._services = services
        self._dispatcher = dispatcher
        self._turn = 0

    async def switch(self, name: str, settings: Mapping[str, Any]) -> int:
        """Use another strategy; how many waiting tasks were ranked anew. Raises `ConfigurationError` for a
        name or a setting that there is not; nothing has changed then."""
        told = Told(name, settings)
        self._services.ranker.use(told.policy())
        self._dispatcher.open_ranks.switched()
        return await self._rerank_waiting(told)

    async def switch_as_asked(self) -> None:
        """Do what another process asks for, or tell it why not."""
        committer = self._services.committer
        asked = read_told(await committer.run(lambda store: store.setting(ASKED)))
        if asked is None:
            return
        try:
            await self.switch(asked.name, asked.settings)
        except ConfigurationError as error:
            refusal = str(error)
            log.error("the strategy stays as it is: %s", refusal)
            await committer.run(lambda store: store.set_setting(REFUSED, refusal))

    async def resume(self, settings: Settings) -> None:
        """Rank anew at a start what was ranked by another strategy, or not to the end."""
        committer = self._services.committer
        told = await committer.run(lambda store: wanted_strategy(settings, store))
        if await committer.run(lambda store: store.setting(RANKED_BY)) != told.text:
            await self._rerank_waiting(told)

    async def _rerank_waiting(self, told: Told) -> int:
        self._turn += 1
        turn, count = self._turn, 0
        committer, ranker, clock = self._services.committer, self._services.ranker, self._services.clock
        await committer.run(lambda store: begin_reranking(store, told))
        chunks = Chunks(await committer.read(lambda reader: reader.waiting_seqs()))
        while chunk := chunks.take():
            if turn != self._turn:
                return count  # another switch overtook this one
            begun, done = await committer.run(
                lambda store, seqs=chunk: (clock.monotonic(), rerank(store, ranker, seqs, clock.wall()))  # type: ignore[misc]
            )
            chunks.took(clock.monotonic() - begun)
            count += done
            await asyncio.sleep(0)
        if turn != self._turn:
            return count
        await committer.run(lambda store: end_reranking(store, told))
        if ranker.has_flows:
            flows = await committer.read(lambda reader: reader.waiting_flows())
            self._services.shares.replace(flows, clock.wall())
        self._dispatcher.notice_all()
        log.info("strategy %s is in force; %d waiting tasks were ranked anew", told.name, count)
        return count
