"""Switches the strategy while the system runs: what is open at once, what waits in resumable chunks, best
first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from penstock.errors import ConfigurationError
from penstock.runtime.admitter import Admitter
from penstock.runtime.dispatcher import Dispatcher
from penstock.runtime.reranking import (
    ASKED,
    RANKED_BY,
    REFUSED,
    Told,
    begin_reranking,
    chunks,
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

    def __init__(self, services: Services, admitter: Admitter, dispatcher: Dispatcher) -> None:
        self._services = services
        self._admitter = admitter
        self._dispatcher = dispatcher
        self._turn = 0
        self.reranked = 0

    async def switch(self, name: str, settings: Mapping[str, Any]) -> int:
        """Use another strategy; how many waiting tasks were ranked anew. Raises `ConfigurationError` for a
        name or a setting that there is not; nothing has changed then."""
        told = Told(name, settings)
        self._services.ranker.use(told.policy())
        self._rerank_open()
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

    def _rerank_open(self) -> None:
        ranker, now = self._services.ranker, self._services.clock.wall()
        for running in self._dispatcher.open.values():
            standing = running.context.footing.standing
            running.task.rank = ranker.policy.rank(standing, now)
            running.task.flow = ranker.policy.flow(standing)
        self._admitter.rearrange(
            lambda seq, step: (
                None
                if (running := self._dispatcher.open.get(seq)) is None
                else running.context.footing.caller(step)
            )
        )

    async def _rerank_waiting(self, told: Told) -> int:
        self._turn += 1
        turn, count = self._turn, 0
        committer, ranker, clock = self._services.committer, self._services.ranker, self._services.clock
        await committer.run(lambda store: begin_reranking(store, told))
        for chunk in chunks(await committer.read(lambda reader: reader.waiting_seqs())):
            if turn != self._turn:
                return count  # another switch overtook this one
            count += await committer.run(
                lambda store, seqs=chunk: rerank(store, ranker, seqs, clock.wall())  # type: ignore[misc]
            )
            self.reranked += len(chunk)
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
